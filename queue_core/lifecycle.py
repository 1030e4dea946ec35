"""A job's life: everything that affects states and transitions lives in this file.

`TRANSITIONS` is the one table; an event that is not in it raises. `decide` says what follows from the
end of an attempt; the stores carry its answer out, fenced by the claim's lease token. The schema
repeats the table as a constraint, and the diagram in docs/architecture.md is generated from it.
"""

from __future__ import annotations

from queue_core import errors
from queue_core.model import ENDED, LIVE
from queue_core.value import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Literal

    from queue_core.jobs import Outcome
    from queue_core.model import Condition, JobState, Retry

# Where an event allows several next states, what else is known of the job picks one (see `entry_state`).
TRANSITIONS: dict[tuple[JobState, str], tuple[JobState, ...]] = {
    ("held", "approve"): ("available", "scheduled", "blocked"),
    ("held", "reject"): ("cancelled",),
    ("held", "abandon"): ("cancelled",),
    ("held", "cancel"): ("cancelled",),
    ("blocked", "unblock"): ("available", "scheduled"),
    ("blocked", "abandon"): ("cancelled",),
    ("blocked", "cancel"): ("cancelled",),
    ("scheduled", "due"): ("available",),
    ("scheduled", "cancel"): ("cancelled",),
    ("available", "claim"): ("running",),
    ("available", "hold"): ("held",),
    ("available", "cancel"): ("cancelled",),
    ("running", "succeed"): ("succeeded",),
    ("running", "fail"): ("scheduled",),
    ("running", "exhaust"): ("dead",),
    ("running", "interrupt"): ("available",),
    ("running", "stop"): ("cancelled",),
    ("dead", "replay"): ("available",),
    ("dead", "discard"): ("cancelled",),
    ("cancelled", "replay"): ("available",),
    ("succeeded", "replay"): ("available",),
}
ENTRY_STATES: tuple[JobState, ...] = ("available", "scheduled", "blocked", "held")


def next_state(state: JobState, event: str, wanted: JobState | None = None, *, job_id: int | None = None) -> JobState:
    """The state that `event` leads to; InvalidTransition (which names the job, if given) when the table has none."""
    targets = TRANSITIONS.get((state, event))
    if targets is None or (wanted is not None and wanted not in targets):
        raise errors.InvalidTransition(state, event, job_id)
    return wanted or targets[0]


def entry_state(*, held: bool, unmet: int, due_at: float | None, now: float) -> JobState:
    """Where a job goes that is new, approved or unblocked: the first thing it still has to wait for."""
    if held:
        return "held"
    if unmet:
        return "blocked"
    if due_at is not None and due_at > now:
        return "scheduled"
    return "available"


def dependency(
    condition: Condition, state: JobState, successors: Collection[JobState] = ()
) -> Literal["met", "open", "never"]:
    """Whether a job that waits for another in this state may go on, has to wait, or never can.

    A dead job is no final failure for those that wait for its success: it may yet be replayed. The success of
    any of its `successors` (those it was handed over to, and theirs; only their states matter) is its own.
    """
    if condition == "any":
        return "met" if state in ENDED else "open"
    if condition == "success":
        if "succeeded" in (state, *successors):
            return "met"
        return "never" if {state, *successors} == {"cancelled"} else "open"
    if state == "dead":
        return "met"
    return "never" if state in ("succeeded", "cancelled") else "open"


def standing(state: JobState, successors: Collection[JobState]) -> JobState:
    """How a job stands for those who wait for its end: a dead one that was handed over, as its successors do."""
    if state != "dead":
        return state
    if "succeeded" in successors:
        return "succeeded"
    alive: list[JobState] = [one for one in successors if one in LIVE]
    return alive[0] if alive else "dead"


class Decision(Frozen):
    """What follows from an attempt's end: an event of the table, its target, and what goes with it."""

    event: str
    state: JobState
    counted: bool = True  # whether the attempt uses up one of those that the job may make
    due_at: float | None = None
    reason: str | None = None


SUCCEEDED = Decision(event="succeed", state="succeeded")


def decide(
    outcome: Outcome,
    *,
    failures: int,
    retry: Retry,
    cancel_requested: bool,
    now: float,
    chance: float = 0.0,
    permanent_exit_codes: Collection[int] = (),
    escalate_after: int | None = None,
) -> Decision:
    """What becomes of a running job whose attempt ended as `outcome`.

    `failures` counts those before this attempt since the job was queued or replayed; `chance` (0..1)
    is the randomness of the jitter; `escalate_after` the failures after which another command takes over.
    A success is a success even if a cancel came too late for it.
    """
    if outcome.success:
        return SUCCEEDED
    if cancel_requested:
        return Decision(event="stop", state="cancelled", counted=outcome.kind != "never_started", reason="cancelled")
    if outcome.kind in ("never_started", "interrupted"):
        return Decision(event="interrupt", state="available", counted=False)
    if outcome.kind == "spawn_failed" or outcome.permanent or outcome.exit_code in permanent_exit_codes:
        return Decision(event="exhaust", state="dead", reason=describe(outcome))
    if failures >= retry.retries:
        return Decision(event="exhaust", state="dead", reason=describe(outcome))
    if escalate_after is not None and failures + 1 >= escalate_after:
        times = "1 failure" if not failures else f"{failures + 1} failures"
        return Decision(event="exhaust", state="dead", reason=f"{describe(outcome)} (given up after {times})")
    from queue_core.backoff import delay  # adding a job needs this file, but no delays

    due = now + delay(retry, failures + 1, chance)
    return Decision(event="fail", state="scheduled", due_at=due, reason=describe(outcome))


def describe(outcome: Outcome) -> str:
    """An attempt's end in words, for `error`."""
    if outcome.error:
        return outcome.error
    if outcome.kind == "exited":
        return f"exited with code {outcome.exit_code}"
    if outcome.kind == "signalled":
        return f"ended by signal {outcome.signal}"
    return {
        "timed_out": "ran longer than its time-out",
        "lost": "lost: its keeper or the machine died while it ran",
    }.get(outcome.kind, outcome.kind)


def diagram() -> str:
    """The table as a Mermaid state diagram, as docs/architecture.md shows it."""
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f"  [*] --> {state}" for state in ENTRY_STATES]
    for (source, event), targets in TRANSITIONS.items():
        lines += [f"  {source} --> {target}: {event}" for target in targets]
    lines += [f"  {state} --> [*]: prune" for state in ENDED]
    return "\n".join([*lines, "```"])


if __name__ == "__main__":
    import sys

    sys.stdout.write(diagram() + "\n")
