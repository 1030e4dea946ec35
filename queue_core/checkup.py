"""Whether the database is sound: looked at soon after a start, beside the work that has begun.

Every page is read (0.07 s for 124 MB), so that damage is told before it spreads and while good backups are
there. Workers and servers come and go by the minute: who finds that another has looked within the hour, since
this machine was booted, leaves it at that, for damage comes with crashes of machines and with failing disks.
"""

from __future__ import annotations

import os
from contextlib import suppress

from queue_core.keeper.processes import boot_id
from queue_core.sqlite import damage
from queue_core.sqlite.diagnosis import quick_check
from queue_core.sqlite.engine import identity
from queue_core.sqlite.wording import damaged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from queue_core.home import Home

EVERY = 3600.0  # seconds
MARK = "checked"  # when somebody looked last
LONGEST = 30.0  # seconds; what is not finished by then says nothing


def look_if_due(home: Home, now: float) -> str | None:
    """Look, unless another process has of late; what is wrong, with the way out. QueueError, OSError: it cannot be."""
    if not _is_due(home, now):
        return None
    try:
        return look(home)
    except BaseException:  # it said nothing, so it is the next one's turn
        with suppress(OSError):
            os.unlink(home.path(MARK))
        raise


def look_again(home: Home) -> None:
    """Look where it was found damaged before: it may have been mended. QueueError, OSError: it cannot be."""
    if damage.refusal(home):
        look(home)


def look(home: Home) -> str | None:
    """Look now. A database that is found damaged is not written to any more."""
    file = identity(home.database)
    if file is None:
        return None
    # A read that fails once can look like damage: it counts when it is found again, through another connection.
    found = quick_check(home, seconds=LONGEST) and quick_check(home, seconds=LONGEST)
    if identity(home.database) != file:
        return None
    if found is None:
        damage.forget(home)
        return None
    with suppress(OSError):  # where nothing can be noted, it is said at least
        damage.note(home, file, found)
    return problem(home) or str(damaged(home, found))


def problem(home: Home) -> str | None:
    """What the last look found, in words, with the newest good backup; None if all was well."""
    refused = damage.refusal(home)
    return str(refused) if refused else None


def _is_due(home: Home, now: float) -> bool:
    """Whether it is this process's turn; another that asks meanwhile finds that it is not its."""
    path, boot = home.path(MARK), boot_id()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        looked = file.read() == boot.encode() and 0 <= now - os.fstat(descriptor).st_mtime < EVERY
        if not looked:
            file.seek(0)
            file.truncate()
            file.write(boot.encode())
            file.flush()
            os.utime(descriptor, (now, now))
    return not looked
