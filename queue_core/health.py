"""How full the queue is: ok, warning, error. From capacity alone; all else is a `problem` in words."""

from __future__ import annotations

from queue_core import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Level = Literal["ok", "warning", "error"]

WARNING_AT = 0.8
ERROR_AT = 1.0
OVERFLOW = 10  # persons and hooks may fill the queue to this many times its capacity

EXIT_CODES: dict[Level, int] = {"ok": 0, "warning": 1, "error": 2}


def usage(pending: int, capacity: int) -> float:
    """Waiting jobs as a share of the capacity (1.0 is full)."""
    return pending / capacity


def level(pending: int, capacity: int) -> Level:
    """ok below 80 % of the capacity, warning from 80 %, error from 100 %."""
    share = usage(pending, capacity)
    if share >= ERROR_AT:
        return "error"
    return "warning" if share >= WARNING_AT else "ok"


def limit_for(caller: str, capacity: int) -> int:
    """How many waiting jobs there may be after this caller has added its own."""
    return capacity if caller == "agent" else capacity * OVERFLOW


def refuse_overflow(pending: int, caller: str, jobs: int, capacity: int) -> None:
    """QueueFull if so many more jobs are more than this caller may have waiting."""
    limit = limit_for(caller, capacity)
    if jobs and pending + jobs > limit:
        raise errors.QueueFull(
            f"the queue is full: {pending} jobs wait and this caller may fill it to {limit}; "
            "nothing was stored. Wait for jobs to end, cancel some, or ask the user to raise `capacity`"
        )
