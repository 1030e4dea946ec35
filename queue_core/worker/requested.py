"""What the store and the home hold for one worker: what is due, which claims are its own, what it is to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from queue_core.errors import QueueError, StoreBusy, StoreFull
from queue_core.liveness import asked_to_leave

if TYPE_CHECKING:
    from queue_core.jobs import Orphan
    from queue_core.service import Queue
    from queue_core.worker.options import Mode


class Requested(NamedTuple):
    """What one look has found."""

    trouble: QueueError | None  # that kept schedules from queueing what is due
    more_is_due: bool  # of schedules
    due: float | None  # when the next scheduled job is
    mine: list[Orphan]  # this worker's claims, with who wants them cancelled
    asked: Mode | None  # how this worker is to leave


def look(queue: Queue, worker: str, begun: float, fire: bool) -> Requested:
    """Queue what schedules have due (`fire`), and see what is asked, which can be read where nothing can be written.

    The next due time is asked for from the turn's beginning on: nothing falls between it and the claim.
    What schedules queue rings the bell, and is claimed in the next turn.
    """
    trouble, more = None, False
    try:
        more = fire and queue.schedules.fire_due()
    except (StoreBusy, StoreFull) as error:
        trouble = error
    due = queue.store.next_due(begun)
    mine = [one for one in queue.store.running(queue.host) if one.worker == worker]
    return Requested(trouble, more, due, mine, asked_to_leave(queue.home, worker))
