"""Which backups there are, when the next is due, which go: the rules and the names, apart from the copying.

A backup says in its name what it is and when it was taken, so that a look into the folder is all that
anybody needs; nothing of what a queue holds is in a name.
"""

from __future__ import annotations

import os
import re
import stat
from datetime import UTC, datetime, timedelta

from queue_core.value import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import tzinfo
    from typing import Literal

    from queue_core.home import Home

    Kind = Literal["nightly", "snapshot", "manual", "before-restore"]

FRESH = 23 * 3600.0  # seconds: within these of a nightly backup no other is taken, whatever the clock does
STALE = 48 * 3600.0  # seconds after which a nightly backup is missed

_NAME = re.compile(
    r"(?:(nightly|manual|before-restore)|(snapshot)-(\d{1,18}))-(\d{4}-\d\d-\d\dT\d{6}Z)(?:-(\d{1,6}))?\.db", re.ASCII
)
_STAMP = "%Y-%m-%dT%H%M%SZ"


class Backup(Frozen):
    """One file, as its name describes it; a file that is somebody's own has the kind `manual`."""

    path: str
    kind: Kind
    taken_at: float  # seconds since the epoch
    ended: int | None = None  # a snapshot's: how many completions there had been
    again: int = 0  # how many others, of whatever kind, were taken before it in the same second

    @property
    def name(self) -> str:
        """The file's name, without its folder."""
        return os.path.basename(self.path)


def name_of(kind: Kind, taken_at: float, *, ended: int | None = None, again: int = 0) -> str:
    """The name for a backup; `again` numbers those of one second."""
    first = f"{kind}-{ended}" if ended is not None else kind
    stamp = datetime.fromtimestamp(int(taken_at), UTC).strftime(_STAMP)  # of a float, it would round up
    return f"{first}-{stamp}{f'-{again + 1}' if again else ''}.db"


def described(path: str) -> Backup | None:
    """What a file's name says of it; None if it is no backup's."""
    found = _NAME.fullmatch(os.path.basename(path))
    if found is None:
        return None
    try:
        taken_at = datetime.strptime(found[4], _STAMP).replace(tzinfo=UTC).timestamp()
    except ValueError:  # such as the thirteenth month
        return None
    kind: Kind = found[1] or found[2]  # pyright: ignore[reportAssignmentType]
    again = max(0, int(found[5]) - 1) if found[5] else 0
    return Backup(path=path, kind=kind, taken_at=taken_at, ended=int(found[3]) if found[3] else None, again=again)


def there(home: Home) -> list[Backup]:
    """The backups in the home's folder, by the dates in their names, the latest first; none if there is no folder.

    Files alone: to read from a link or a FIFO of such a name could take for ever.
    """
    try:
        names = os.listdir(home.backups)
    except OSError:
        return []
    found = (one for name in names if (one := described(f"{home.backups}/{name}")) and _is_file(one.path))
    return sorted(found, key=_moment, reverse=True)


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:  # it was rotated out meanwhile
        return False


def _moment(one: Backup) -> tuple[float, int]:
    return one.taken_at, one.again


def newest_first(backups: Iterable[Backup], *, now: float) -> list[Backup]:
    """In the order in which they can be relied on: what is dated in the future was taken by a wrong clock, so last."""
    return sorted(backups, key=lambda one: (one.taken_at <= now, _moment(one)), reverse=True)


def worth_restoring(backups: Iterable[Backup], *, now: float) -> list[Backup]:
    """Those that a restore picks from unasked: not the state that another restore has left on purpose."""
    return [one for one in newest_first(backups, now=now) if one.kind != "before-restore"]


def nightly_due(now: float, taken: Sequence[float], *, since: float, at: str, zone: tzinfo | None = None) -> bool:
    """Whether a nightly backup is due: `at` ("HH:MM", "" for never) has passed since the newest one.

    `taken` are the times of the nightly backups that there are, `since` is when backups began here (what
    counts while there are none), `zone` None the local time. Within 23 hours of a backup, before or after
    it, none is due: so the hour that comes twice in autumn, or a clock that is set back, makes no second
    one; one from a future that is further away was taken by a wrong clock, and does not count.
    """
    if not at or any(abs(now - one) < FRESH for one in taken):
        return False
    newest = max((one for one in taken if one <= now), default=since if since < now + FRESH else 0.0)
    return newest < last_time(now, at, zone)


def last_time(now: float, at: str, zone: tzinfo | None = None) -> float:
    """When the clock last showed `at` ("HH:MM"), in seconds since the epoch."""
    hour, minute = at.split(":")
    local = datetime.fromtimestamp(now, zone)
    last = local.replace(hour=int(hour), minute=int(minute), second=0, microsecond=0, fold=0)
    return (last if last.timestamp() <= now else last - timedelta(days=1)).timestamp()


def snapshot_due(ended: int, backups: Iterable[Backup], every: int, *, now: float) -> bool:
    """Whether so many jobs (`every`, 0 for never) have ended since the newest snapshot.

    Fewer than there were then means that the count has begun anew.
    """
    newest = next((one for one in newest_first(backups, now=now) if one.kind == "snapshot"), None)
    since = ended - (newest.ended or 0 if newest else 0)
    return every > 0 and (since >= every or since < 0)


def rotated_out(
    backups: Iterable[Backup], kind: Kind, keep: int, *, now: float, just_taken: str | None = None
) -> list[Backup]:
    """Those of a kind that are beyond the `keep` newest. Manual and before-restore backups are a person's to remove.

    The one at the path `just_taken` stays, whatever a clock that was set has made of its rank.
    """
    if kind in ("manual", "before-restore"):
        return []
    beyond = newest_first((one for one in backups if one.kind == kind), now=now)[keep:]
    return [one for one in beyond if one.path != just_taken]


def missed(now: float, backups: Iterable[Backup], *, since: float, at: str) -> float | None:
    """For how many seconds there has been no nightly backup, if that is too long (see `nightly_due` for the future)."""
    nightly = (one.taken_at for one in backups if one.kind == "nightly")
    newest = max((one for one in nightly if one < now + FRESH), default=since)
    return now - newest if at and now - newest > STALE else None


def began(home: Home) -> float | None:
    """When backups began in this home (the lock of its folder is made once); None if they have not."""
    try:
        return os.stat(home.backup_lock).st_mtime
    except OSError:
        return None
