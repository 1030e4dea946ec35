"""What the tools' arguments may be: types with their checks, whose errors name what to give instead."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from queue_core.errors import QueueError
from queue_core.shapes import is_list
from queue_core.submission import time_of

MOST_IDS = 500
DAY = 86_400.0  # seconds
MOST_DAYS = 100_000.0
LARGEST_ID = 2**63 - 1


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, int | str) and not isinstance(value, bool) else value


def _possible(job_id: int) -> int:
    if not 0 < job_id <= LARGEST_ID:
        raise ValueError("a job's id is a positive whole number; `list_jobs` shows them")
    return job_id


def _each_once(ids: list[int] | None) -> list[int] | None:
    if ids is None:
        return None
    if not 0 < len(ids) <= MOST_IDS:
        raise ValueError(f"give 1 to {MOST_IDS} ids")
    return list(dict.fromkeys(ids))


def _cursor(value: Any) -> Any:
    given = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(given, str) and not (given.isascii() and given.isdigit() and len(given) < 19):
        raise ValueError("give the cursor of an earlier list_jobs")
    return given


def _as_steps(value: Any) -> Any:
    """One command where several may be given: to most, an argv is a list of words."""
    return [value] if is_list(value) and value and isinstance(value[0], str) else value


def _days(value: Any) -> Any:
    """Days, or a point in time as ISO 8601, which is what some models prefer."""
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        pass
    try:
        return (time.time() - time_of(value)) / DAY
    except QueueError:
        return -1.0


def _sensible(days: float | None) -> float | None:
    if days is not None and not 0 <= days <= MOST_DAYS:
        raise ValueError("give a number of days, such as 7 or 0.5")
    return days


Cursor = Annotated[str | None, BeforeValidator(_cursor)]
JobId = Annotated[int, AfterValidator(_possible)]
Ids = Annotated[list[JobId], BeforeValidator(_as_list), AfterValidator(_each_once)]
SomeIds = Annotated[list[JobId] | None, BeforeValidator(_as_list), AfterValidator(_each_once)]
Needs = Annotated[list[JobId] | None, BeforeValidator(_as_list)]
Steps = Annotated[list[list[str]] | None, BeforeValidator(_as_steps)]
OlderThan = Annotated[float | None, BeforeValidator(_days), AfterValidator(_sensible), Field(description="Days")]
State = Literal["held", "blocked", "scheduled", "available", "running", "succeeded", "dead", "cancelled"]
Priority = Literal["critical", "high", "normal", "low"]
Bulk = Literal["retry", "discard"]
Backoff = Literal["exponential", "linear", "fibonacci", "immediate"]
