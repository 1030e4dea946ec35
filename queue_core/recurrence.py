"""Recurrence: when a schedule is due, and what becomes of due times that nobody was there for. Pure."""

from __future__ import annotations

from queue_core.errors import UsageError
from queue_core.value import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from queue_core.jobs import ScheduleRow

GRACE = 60.0  # seconds: a due time that lies further back counts as missed
SHORTEST, LONGEST = 1.0, 3650 * 86400.0  # seconds of an interval

# The fields of a cron line, in their order, and what each may hold.
FIELDS = {
    "minute": "minutes are 0 to 59",
    "hour": "hours are 0 to 23",
    "day-of-month": "days of the month are 1 to 31, or L for the last one",
    "month": "months are 1 to 12, or JAN to DEC",
    "day-of-week": "days of the week are 0 to 7 (0 and 7 are Sunday), or SUN to SAT",
}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_JUST_BEFORE = 1e-6  # seconds: what lies further apart than this is told apart


class Firing(Frozen):
    """What a look at a due schedule has to do: so many jobs, and when to look again (None: never)."""

    jobs: int
    next_at: float | None


def decide(row: ScheduleRow, now: float, *, limit: int) -> Firing:
    """What becomes of the due times from the schedule's `next_at` up to `now`.

    `all` makes a job of each (the `limit` oldest now, the others by the next decision); `once` makes one of them
    together; `skip` makes one if the latest is no more than `GRACE` seconds past, and else nothing. A `next_at` that
    lies too far ahead, since the clock was set back, is put right.
    """
    if row.next_at is None or row.next_at > now:
        return Firing(jobs=0, next_at=_put_right(row, now))
    if row.missed == "all":
        return _each(row, row.next_at, now, limit)
    if row.missed == "skip" and row.next_at < now - GRACE:
        latest = following(row, now - GRACE - _JUST_BEFORE)
        return Firing(jobs=int(latest is not None and latest <= now), next_at=following(row, now))
    return Firing(jobs=1, next_at=following(row, now))


def _put_right(row: ScheduleRow, now: float) -> float | None:
    """When a schedule that is not due is so next: earlier than was decided under a clock that was set back since.

    Not if that was by no more than `GRACE` seconds: a clock that is corrected a little makes nothing due twice.
    """
    if row.next_at is None or row.decided_at <= now + GRACE:
        return row.next_at
    later = following(row, now)
    return row.next_at if later is None else min(row.next_at, later)


def _each(row: ScheduleRow, first: float, now: float, limit: int) -> Firing:
    jobs, due = 0, first
    while jobs < limit:
        jobs += 1
        later = following(row, due)
        if later is None or later > now:
            return Firing(jobs=jobs, next_at=later)
        due = later
    return Firing(jobs=jobs, next_at=due)


def following(row: ScheduleRow, after: float) -> float | None:
    """The first due time later than `after`, in seconds since the epoch; None if there is none for 50 years.

    An interval's due times are counted from when the schedule was added (and back from there, for a clock that was
    ahead then and was set back). A cron line's follow the clock of its time zone: a fixed time that a change of that
    clock leaves out comes as soon as the clock goes on, and one that comes twice counts once, while lines with `*` in
    the minute or the hour simply follow the clock.
    """
    if row.every is not None:
        turn = int((after - row.created_at) // row.every) + 1
        due = row.created_at + turn * row.every
        return due if due > after else row.created_at + (turn + 1) * row.every
    return _following_cron(row.cron or "", time_zone(row.zone), after)


def _following_cron(line: str, zone: ZoneInfo, after: float) -> float | None:
    from datetime import datetime

    from cronsim import CronSim, CronSimError

    try:
        # In an hour that comes twice, cronsim starts with its first coming, which may lie before `after`.
        for due in CronSim(line, datetime.fromtimestamp(after, zone)):
            if due.timestamp() > after:
                return due.timestamp()
    except (CronSimError, ValueError, OverflowError):
        return None  # no month that it names has such a day, or there is no calendar for that time
    return None


def check_cron(line: str) -> str:
    """A cron line with single spaces; UsageError names the field that is wrong, and what it may hold."""
    from datetime import UTC, datetime

    from cronsim import CronSim, CronSimError

    words = line.split()
    if len(words) != len(FIELDS) or len(line) > 1000:
        raise UsageError(
            f"a cron line has five fields (minute hour day-of-month month day-of-week), not {len(words)};"
            " quote it as one argument, such as '30 3 * * MON-FRI'"
        )
    for number, (name, text) in enumerate(zip(FIELDS, words, strict=True)):
        alone = ["*" if number != other else text for other in range(len(words))]
        try:
            CronSim(" ".join(alone), datetime(2000, 1, 1, tzinfo=UTC))
        except (CronSimError, ValueError):
            raise UsageError(
                f"the {name} field (`{text}`) of the cron line `{' '.join(words)}` is not valid; {FIELDS[name]}"
                " (ranges go up: 8-18; lists: 0,30; steps: */15)"
            ) from None
    return " ".join(words)


def time_zone(name: str) -> ZoneInfo:
    """The time zone of this name; UsageError if there is none."""
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise UsageError(
            f"there is no time zone {name!r}; give one by its IANA name, such as Europe/Berlin or UTC"
        ) from None


def seconds_of(every: str | float) -> float:
    """An interval in seconds, from a number or a text such as 90s, 15m, 2h, 1d; UsageError."""
    text = str(every).strip()
    number, unit = (text[:-1], _UNITS[text[-1]]) if text[-1:] in _UNITS else (text, 1)
    plain = number.replace(".", "", 1)
    seconds = float(number) * unit if plain.isascii() and plain.isdigit() and len(plain) < 20 else 0.0
    if not SHORTEST <= seconds <= LONGEST:
        raise UsageError(f"an interval is such as 90, 90s, 15m, 2h or 1d, from 1 s to 3650 d, not {text[:40]!r}")
    return seconds


def interval(seconds: float) -> str:
    """An interval as it could be typed: `15m`."""
    unit = next((unit for unit in "dhm" if seconds % _UNITS[unit] == 0), "s")
    return f"{seconds / _UNITS[unit]:.10g}{unit}"
