"""Settling ends one by one, for when they could not be settled together: one of them must not cost the others."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from queue_core.errors import QueueError
from queue_core.jobs import Outcome, Settlement
from queue_core.value import replace
from queue_core.worker.threads import on_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from queue_core.model import JobState
    from queue_core.service import Queue

log = logging.getLogger("runq.worker")


async def settle_each(
    queue: Queue, ended: Sequence[Settlement], report: Callable[[Settlement, JobState | None], None]
) -> list[Settlement]:
    """Settle these; the ones that the store does not take now, to be tried again."""
    left: list[Settlement] = []
    for one in ended:
        try:
            report(one, await on_thread(_settle, queue, one))
        except QueueError:
            left.append(one)
        except Exception:
            log.exception("job %d: how it ended could not be recorded", one.job)
    return left


def _settle(queue: Queue, one: Settlement) -> JobState | None:
    try:
        return _record(queue, one)
    except QueueError:
        raise
    except Exception as error:
        log.exception("job %d: how it ended is recorded without what was said about it", one.job)
        return _record(queue, replace(one, outcome=_bare(one.outcome, type(error).__name__)))


def _record(queue: Queue, one: Settlement) -> JobState | None:
    (state,) = queue.store.settle(
        [one], now=queue.clock(), chance=queue.chance, permanent_exit_codes=queue.settings.permanent_exit_codes
    )
    return state


def _bare(outcome: Outcome, why: str) -> Outcome:
    """An outcome without anything that comes from outside."""
    return Outcome(
        kind=outcome.kind,
        exit_code=outcome.exit_code,
        signal=outcome.signal,
        error=f"what was said about its end could not be kept ({why}); `runq logs` has it",
        permanent=outcome.permanent,
        started_at=outcome.started_at,
        finished_at=outcome.finished_at,
    )
