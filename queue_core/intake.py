"""The last step in: prepared jobs into the store, and whoever waits for them woken.

`runq add` and `runq hook` come here directly, past `service` and its many verbs, so that a hook loads
only what it needs; everybody else comes here through `Queue.enqueue`.
"""

from __future__ import annotations

from queue_core import changes, errors
from queue_core.callers import scope_of
from queue_core.health import refuse_overflow
from queue_core.home import free_mib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from queue_core.home import Home
    from queue_core.model import Admission, NewJob, Origin, Receipt
    from queue_core.settings import Settings
    from queue_core.store import Inlet, Store


LEAST_FREE = 2  # MiB that are never for new work: the ballast's, and as much again for it to be laid
LONGEST_NOTE = 2000  # characters of what was refused that the audit trail keeps


def admit(inlet: Inlet, home: Home, chosen: Settings, admissions: Sequence[Admission], now: float) -> Sequence[Receipt]:
    """Store jobs, all or none; durable when it returns. QueueFull, StoreBusy, StoreFull leave nothing."""
    refuse_low_disk(home, chosen)
    receipts = inlet.enqueue(
        admissions,
        now=now,
        capacity=chosen.capacity,
        parallelism=chosen.parallelism,
        quotas=chosen.quotas,
        within=scope_of(admissions[0].origin, chosen.isolation) if admissions else None,
    )
    _wake_others(inlet, home)
    return receipts


def _wake_others(inlet: Inlet, home: Home) -> None:
    """What is durable by now is no error, whatever this meets, or somebody would store it again."""
    try:
        if not changes.ring(home, "work", "watch"):
            inlet.leave_tidy()
    except Exception:  # who was not woken looks by itself
        return


def refuse_when_full(pending: int, jobs: Sequence[NewJob], chosen: Settings) -> None:
    """QueueFull for an agent that may add nothing, before it is told what it may not run.

    A job with a unique key may be there already: that is for the store to say.
    """
    refuse_overflow(pending, "agent", sum(job.unique is None for job in jobs), chosen.capacity)


def note_refusal(store: Store, by: Origin, why: str, now: float) -> None:
    """Note in the audit trail what was refused; that it was is told in any case."""
    text = why[:LONGEST_NOTE].encode("utf-8", "backslashreplace").decode()  # a word may be no UTF-8
    try:
        store.note("denied", by=by, now=now, about=text)
    except (errors.StoreBusy, errors.StoreFull):
        pass


def refuse_low_disk(home: Home, chosen: Settings) -> None:
    """New work waits while the disk is nearly full, so that what is accepted can still be finished.

    However little the user wants kept free: of the room that a spent ballast has left, nothing is for new work.
    """
    free = free_mib(home.data)
    if free < least_free(chosen):
        kept = (
            f"`min_free_mb` = {chosen.min_free_mb:g}"
            if free < chosen.min_free_mb
            else f"the {LEAST_FREE} kept for how jobs end"
        )
        raise errors.StoreFull(
            f"only {int(free)} MiB are free where the queue lives ({home.data}), less than {kept}; "
            "free some space and try again"
        )


def least_free(chosen: Settings) -> float:
    """MiB of free disk below which new jobs are refused."""
    return max(chosen.min_free_mb, LEAST_FREE)
