"""Quotas: how many jobs of one project or session may wait, and how often jobs may start. Pure.

Only loaded where somebody has set one.
"""

from __future__ import annotations

from queue_core.errors import QuotaFull
from queue_core.value import Frozen

WINDOW = 60.0  # seconds in which starts are counted: a start at t counts until t + WINDOW, and no longer


class Quotas(Frozen):
    """How many waiting jobs one project, and one session, may have; None: as many as the queue takes."""

    project: int | None = None
    session: int | None = None


class QueueLimits(Frozen):
    """What one queue's own table of settings says; None: as every queue, and no limit of starts."""

    parallelism: int | None = None
    starts_per_minute: int | None = None

    def __str__(self) -> str:
        starts = f"{self.starts_per_minute}/min" if self.starts_per_minute else ""
        return ",".join(part for part in (str(self.parallelism or ""), starts) if part)


def refuse_excess(what: str, setting: str, *, waiting: int, new: int, quota: int) -> None:
    """QuotaFull if so many more jobs are more than this project or session (`what`) may have waiting."""
    if not new or waiting + new <= quota:
        return
    jobs = f"{waiting} waiting job{'' if waiting == 1 else 's'}"
    if waiting >= quota:
        reached = f"which is its quota (`{setting}`)" if waiting == quota else f"and its quota (`{setting}`) is {quota}"
    else:
        reached = f"and {new} more would exceed its quota of {quota} (`{setting}`)"
    raise QuotaFull(
        f"this {what} has {jobs}, {reached}; nothing was stored. Wait until some have ended, or cancel some"
    )


def rest_end(until: float | None, now: float) -> float | None:
    """When a rest that was to last until then is over; None if it is. Times in seconds since the epoch.

    No rest lasts longer than a minute from now, even if the clock was set back meanwhile.
    """
    return None if until is None or until <= now else min(until, now + WINDOW)
