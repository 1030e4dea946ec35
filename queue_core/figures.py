"""Figures: what was queued, how it ended, how long it waited and ran, in a window of time. Pure.

The store counts (`Counts`); here that becomes the report which people, programs and agents are shown.
"""

from __future__ import annotations

import math

from queue_core.errors import InvalidJob, UsageError
from queue_core.submission import time_of
from queue_core.value import Frozen
from queue_core.views import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, TypeVar

    from queue_core.model import JobState

    View = dict[str, Any]
    K = TypeVar("K")

DAY = 86400.0  # seconds
EARLIEST = 1e8  # seconds since the epoch (1973): whoever says 24 has forgotten the unit
SPANS = {"m": 60.0, "h": 3600.0, "d": DAY}
MOST_TIMED = 20_000  # attempts of which the waits and run times are looked at: the newest
MOST_PROGRAMS = 20  # that are listed; the others are summed up
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
ENDS: tuple[JobState, ...] = ("succeeded", "dead", "cancelled")


class Work(Frozen):
    """Whose figures they are: a queue, and in it a program, or a handler (then `program` is empty)."""

    queue: str
    program: str
    handler: str | None


class Attempted(Frozen):
    """The attempts of one kind of work that ended with one outcome."""

    work: Work
    outcome: str
    failed: bool
    count: int
    retries: int  # those of jobs that had been attempted before
    seconds: float  # that they ran, all together


class Timed(Frozen):
    """One attempt's times in seconds; None where there is none (it could not start, or nobody saw its end)."""

    work: Work
    waited: float | None
    ran: float | None


class Counts(Frozen):
    """What the store found in the window, all of one moment."""

    added: Sequence[tuple[Work, int]]
    ended: Sequence[tuple[Work, JobState, int]]
    attempted: Sequence[Attempted]
    timed: Sequence[Timed]  # the newest, at most as many as were asked for
    now: Mapping[str, int]  # jobs by state, at the end of the window
    kept_ended: int  # ended jobs that there are, of all queues and times


class Kept(Frozen):
    """What pruning spares: jobs that ended since then (seconds since the epoch), if they are not more than `count`."""

    since: float
    count: int


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: the smallest value that at least this share (0..1] of all values do not exceed.

    `ordered` ascends and is not empty. It is always one of the values: no interpolation.
    """
    return ordered[max(1, math.ceil(round(share * len(ordered), 9))) - 1]


def spread(values: Iterable[float | None]) -> dict[str, float | None]:
    """Median, 90th and 99th percentile and the longest, in seconds; nulls if there is no value."""
    ordered = sorted(value for value in values if value is not None)
    return {name: round(percentile(ordered, share), 3) if ordered else None for name, share in SHARES.items()}


class Tally:
    """The figures of one kind of work, or of several together, as they are summed up."""

    def __init__(self) -> None:
        self.jobs: dict[str, int] = dict.fromkeys(("added", *ENDS), 0)
        self.outcomes: dict[str, int] = {}
        self.failed = self.retries = 0
        self.seconds = 0.0
        self.timed: list[Timed] = []

    @property
    def attempts(self) -> int:
        return sum(self.outcomes.values())

    def count(self, more: Attempted) -> None:
        """Add attempts."""
        self.outcomes[more.outcome] = self.outcomes.get(more.outcome, 0) + more.count
        self.failed += more.failed * more.count
        self.retries += more.retries
        self.seconds += more.seconds

    def view(self) -> View:
        """As it is shown. `retry_rate` is the share of attempts that were retries; null without attempts."""
        return {
            "jobs": self.jobs,
            "attempts": self.attempts,
            "outcomes": dict(sorted(self.outcomes.items())),
            "failed": self.failed,
            "retries": self.retries,
            "retry_rate": round(self.retries / self.attempts, 4) if self.attempts else None,
            "waited": spread(one.waited for one in self.timed),
            "ran": spread(one.ran for one in self.timed),
            "ran_in_all": round(self.seconds, 3),
        }


def report(found: Counts, *, since: float, until: float, queue: str | None, kept: Kept) -> View:
    """The whole report. Times are RFC 3339, durations seconds; a job is counted as what it is now.

    `complete` is false if pruning may have taken jobs of the window, which begins before what is kept, or there
    are as many ended jobs as are kept at all.
    """
    queues, programs = _tallies(found, lambda work: work.queue), _tallies(found, _program)
    everything = _together(queues.values())
    hours = (until - since) / 3600
    return {
        "since": rfc3339(since),
        "until": rfc3339(until),
        "hours": round(hours, 4),
        "queue": queue,
        "complete": since >= kept.since and found.kept_ended < kept.count,
        "timed_attempts": len(found.timed),
        "all_timed": len(found.timed) >= everything.attempts,
        **everything.view(),
        "jobs_per_hour": {name: round(count / hours, 2) for name, count in everything.jobs.items()},
        "queues": {name: queues[name].view() for name in sorted(queues)},
        **_by_program(programs),
        "now": dict(found.now),
    }


def _by_program(tallies: Mapping[tuple[str, str], Tally]) -> View:
    """Those that kept the machine busiest, each for itself, and the others together."""

    def busiest(item: tuple[tuple[str, str], Tally]) -> tuple[object, ...]:
        (key, tally) = item
        return -tally.seconds, -tally.attempts, -tally.jobs["added"], key

    ordered = sorted(tallies.items(), key=busiest)
    listed, others = ordered[:MOST_PROGRAMS], ordered[MOST_PROGRAMS:]
    return {
        "programs": [
            {"program": program or None, "handler": handler or None, **tally.view()}
            for (program, handler), tally in listed
        ],
        "other_programs": {"programs": len(others), **_together(one for _, one in others).view()} if others else None,
    }


def _program(work: Work) -> tuple[str, str]:
    return work.program, work.handler or ""


def _tallies(found: Counts, key_of: Callable[[Work], K]) -> dict[K, Tally]:
    tallies: dict[K, Tally] = {}

    def of(work: Work) -> Tally:
        return tallies.setdefault(key_of(work), Tally())

    for work, count in found.added:
        of(work).jobs["added"] += count
    for work, state, count in found.ended:
        of(work).jobs[state] += count
    for attempted in found.attempted:
        of(attempted.work).count(attempted)
    for timed in found.timed:
        of(timed.work).timed.append(timed)
    return tallies


def _together(tallies: Iterable[Tally]) -> Tally:
    total = Tally()
    for one in tallies:
        for name, count in one.jobs.items():
            total.jobs[name] += count
        for outcome, count in one.outcomes.items():
            total.outcomes[outcome] = total.outcomes.get(outcome, 0) + count
        total.failed += one.failed
        total.retries += one.retries
        total.seconds += one.seconds
        total.timed += one.timed
    return total


def beginning(since: float | str, now: float) -> float:
    """Where a window begins: a time (seconds since the epoch, or a text), or a span before now such as 24h.

    UsageError for what is neither, or has not come yet.
    """
    span = _span(since) if isinstance(since, str) else None
    try:
        begin = now - span if span is not None else time_of(since)
    except InvalidJob:
        begin = math.nan
    if not EARLIEST <= begin < now:
        raise UsageError(f"since is a span such as 90m, 24h or 7d, or a time in the past, not {since!r}")
    return begin


def _span(text: str) -> float | None:
    """`90m` in seconds; None if it is no span."""
    number, unit = text[:-1], text[-1:]
    if unit not in SPANS or not (number.isascii() and number.isdigit() and len(number) < 10):
        return None
    return int(number) * SPANS[unit]
