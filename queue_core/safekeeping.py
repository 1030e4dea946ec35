"""Taking backups and listing them: the built-in engine's own, for as long as its file is in the home.

(A PostgreSQL server has better ones: pg_dump, point-in-time recovery.)
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager

from queue_core import backups
from queue_core.errors import QueueError, StoreBusy, StoreError, StoreFull, UsageError
from queue_core.home import free_mib, make_folder, sync
from queue_core.settings import MIB
from queue_core.sqlite import backup as engine
from queue_core.sqlite.backup import PART
from queue_core.sqlite.flock import locked
from queue_core.value import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from queue_core.backups import Backup, Kind
    from queue_core.home import Home
    from queue_core.settings import Settings

PATIENCE = 60.0  # seconds that a person's backup waits for one that is being taken
LEFT = 3600.0  # seconds after which an unfinished file in a folder of a person's own is nobody's any more
KEPT = "kept"  # in the folder of a restore: the name of the copy that it needs only if it gets to its end


class Listed(Frozen):
    """A backup, and what a look into it found; with an `error`, in words, it cannot be restored."""

    backup: Backup
    size: int  # bytes
    jobs: int | None = None
    error: str | None = None


def listed(home: Home) -> list[Listed]:
    """Every backup in the home's folder, newest first, each read from end to end."""
    return [look(one) for one in backups.there(home)]


def look(one: Backup) -> Listed:
    """Read a backup from end to end."""
    try:
        size = os.path.getsize(one.path)
    except OSError as error:
        return Listed(backup=one, size=0, error=f"it cannot be read ({error.strerror})")
    found = engine.check(one.path)
    error = found.error or ("a newer runq has written it" if found.too_new else None)
    return Listed(backup=one, size=size, jobs=found.jobs, error=error)


def take(home: Home, clock: Callable[[], float], to: str | None = None) -> Listed:
    """Back the queue up at a person's wish, to a file of theirs or to the home's folder; rotated out by nothing.

    `clock` (seconds since the epoch) is asked when no other process is at work, so that the later one is the newer.
    """
    if not os.path.exists(home.database):
        raise QueueError(f"there is nothing to back up: {home.database} does not exist")
    if to is not None:
        return _take_to(home, clock(), os.path.abspath(to))
    with sole(home):
        return take_into(home, "manual", clock())


def _take_to(home: Home, now: float, path: str) -> Listed:
    folder = os.path.dirname(path)
    if not os.path.isdir(folder) or os.path.isdir(path):
        raise UsageError(f"--to names a file that is to be made, in a folder that is there; not {path}")
    engine.remove_unfinished(folder, before=now - LEFT)
    found = engine.save(home, path)
    one = backups.Backup(path=path, kind="manual", taken_at=now)
    return Listed(backup=one, size=os.path.getsize(path), jobs=found.jobs)


def take_into(home: Home, kind: Kind, now: float, *, ended: int | None = None) -> Listed:
    """A backup in the home's folder, whose lock the caller holds."""
    path = new_path(home, kind, now, ended=ended)
    found = engine.save(home, path)
    one = backups.Backup(path=path, kind=kind, taken_at=now, ended=ended)
    return Listed(backup=one, size=os.path.getsize(path), jobs=found.jobs)


def new_path(home: Home, kind: Kind, now: float, *, ended: int | None = None) -> str:
    """Where a new backup goes: nothing is there yet, and none of the same second has a number as high."""
    again = max((one.again + 1 for one in backups.there(home) if one.taken_at == int(now)), default=0)
    while os.path.lexists(path := f"{home.backups}/{backups.name_of(kind, now, ended=ended, again=again)}"):
        again += 1
    return path


def take_due(
    home: Home, chosen: Settings, clock: Callable[[], float], ended: Callable[[], int], *, snapshots: bool
) -> list[Listed]:
    """Take the nightly backup and (if `snapshots`) the snapshot that are due, unless another process does.

    `ended` tells how many completions there have been. QueueError says what is in the way; what was done
    until then stays, and older backups are removed only after a newer one has been checked.
    """
    if not (chosen.backup_at or (snapshots and chosen.snapshot_every)) or not os.path.exists(home.database):
        return []
    since = _begin(home, clock())
    if not (_due_kinds(home, chosen, clock(), since, ended, snapshots=snapshots)):
        return []
    taken: list[Listed] = []
    with _alone(home) as alone:
        if alone:
            _refuse_low_disk(home, chosen)
            now = clock()
            for kind, count in _due_kinds(home, chosen, now, since, ended, snapshots=snapshots):
                taken.append(take_into(home, kind, now, ended=count))
                keep = chosen.snapshot_keep if kind == "snapshot" else chosen.backup_keep
                _rotate(home, kind, keep, now=now, just_taken=taken[-1].backup.path)
    return taken


def _refuse_low_disk(home: Home, chosen: Settings) -> None:
    """What a worker saves unasked must not be why the next job is refused."""
    left = free_mib(home.backups) - os.path.getsize(home.database) / MIB
    if left < chosen.min_free_mb:
        raise StoreFull(
            f"a backup would leave less than `min_free_mb` = {chosen.min_free_mb:g} MiB in {home.backups}; "
            "free some space there, or keep fewer (`backup_keep`, `snapshot_keep`)"
        )


def _due_kinds(
    home: Home, chosen: Settings, now: float, since: float, ended: Callable[[], int], *, snapshots: bool
) -> list[tuple[Kind, int | None]]:
    """What is due, each with the number for its name."""
    found = backups.there(home)
    due: list[tuple[Kind, int | None]] = []
    nightly = [one.taken_at for one in found if one.kind == "nightly"]
    if backups.nightly_due(now, nightly, since=since, at=chosen.backup_at):
        due.append(("nightly", None))
    if snapshots and chosen.snapshot_every:
        count = ended()
        if backups.snapshot_due(count, found, chosen.snapshot_every, now=now):
            due.append(("snapshot", count))
    return due


def _rotate(home: Home, kind: Kind, keep: int, *, now: float, just_taken: str) -> None:
    for one in backups.rotated_out(backups.there(home), kind, keep, now=now, just_taken=just_taken):
        engine.remove(one.path)


def _begin(home: Home, now: float) -> float:
    """When backups began here; from now on, if they had not."""
    began = backups.began(home)
    if began is not None:
        return began
    os.close(_open_lock(home))
    os.utime(home.backup_lock, (now, now))
    return now


def _open_lock(home: Home) -> int:
    make_folder(home.backups)
    try:
        return os.open(home.backup_lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(
            f"no backup can be written to {home.backups} ({error.strerror}); make it a folder that you can write to"
        ) from None


@contextmanager
def _alone(home: Home) -> Generator[bool]:
    """Whether this process is the one that takes backups now; for as long as the block runs."""
    descriptor = _open_lock(home)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _tidy(home)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)


@contextmanager
def sole(home: Home) -> Generator[None]:
    """The same, waiting for whoever does it now. StoreBusy when that takes too long."""
    os.close(_open_lock(home))
    try:
        with locked(home.backup_lock, PATIENCE):
            _tidy(home)
            yield
    except StoreBusy:
        raise StoreBusy("another process is taking a backup; try again when it has done so") from None


def tidy(home: Home) -> None:
    """Remove what a killed process has left half-made, if nobody is at work."""
    if _half_made(home) or os.path.lexists(home.restoring):
        with _alone(home):
            pass


def _tidy(home: Home) -> None:
    """Whoever holds the lock is the only one at work here."""
    import shutil  # 5 ms, on the path of `runq status`

    for name in _half_made(home):
        engine.remove(f"{home.backups}/{name}")
    forget_unneeded(home)
    shutil.rmtree(home.restoring, ignore_errors=True)


def _half_made(home: Home) -> list[str]:
    try:
        return [name for name in os.listdir(home.backups) if name.startswith(".") and PART in name]
    except OSError:
        return []


def note_kept(home: Home, path: str) -> None:
    """Before a restore keeps the database as it is: while this note is there, the copy is of no use to anybody."""
    note = f"{make_folder(home.restoring)}/{KEPT}"
    descriptor = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(os.fsencode(os.path.basename(path)))


def need_kept(home: Home) -> None:
    """From here on the database is changed: its copy stays, whatever happens, a loss of power included."""
    try:
        os.unlink(f"{home.restoring}/{KEPT}")
    except FileNotFoundError:
        return
    sync(home.restoring)


def forget_unneeded(home: Home) -> None:
    """Remove the copy of a restore that has come to its end, whichever way, before it changed anything."""
    if unused := _kept_for_nothing(home):
        engine.remove(unused)


def _kept_for_nothing(home: Home) -> str | None:
    try:
        with open(f"{home.restoring}/{KEPT}", "rb") as file:
            path = f"{home.backups}/{os.path.basename(os.fsdecode(file.read()))}"
    except OSError:
        return None
    one = backups.described(path)
    return path if one and one.kind == "before-restore" else None


# what went wrong when nobody was looking


def note_failure(home: Home, error: str | None) -> None:
    """Remember why the last backup that a worker wanted to take failed; None: it did not."""
    path = home.path("backup-failed")
    try:
        if error is None:
            os.unlink(path)
            return
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(error)  # it may name a path that is no UTF-8
    except OSError:
        pass  # a disk that is full is told of anyway


def failure(home: Home) -> str | None:
    """Why the last backup that a worker wanted to take failed; None if it did not."""
    try:
        with open(home.path("backup-failed"), encoding="utf-8", errors="backslashreplace") as file:
            return file.read() or None
    except OSError:
        return None
