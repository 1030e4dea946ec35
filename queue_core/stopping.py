"""Stopping running commands without any worker: through their keeper, or, if that is dead, by hand."""

from __future__ import annotations

from queue_core.errors import KeeperError
from queue_core.keeper import protocol, verdict
from queue_core.keeper.ending import end_orphan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from queue_core.model import Orphan
    from queue_core.service import Queue

PATIENCE = 5.0  # seconds for a keeper to answer


def stop_claims(queue: Queue, ids: Collection[int]) -> None:
    """Begin the end of these running jobs' commands, and settle those whose worker is dead."""
    wanted = [claim for claim in queue.store.running(queue.host) if claim.job in ids]
    for claim in wanted:
        _stop_one(queue, claim)
    queue.recover()


def _stop_one(queue: Queue, claim: Orphan) -> None:
    """TERM, CONT, grace, KILL: the keeper's work; an orphaned session is ended by ourselves."""
    try:
        protocol.ask(queue.home.keeper(claim.keeper), protocol.end((claim.job, claim.claim), "cancelled"), PATIENCE)
    except KeeperError:
        end_alone(queue, (claim.job, claim.claim), claim.keeper, claim.token)


def end_alone(queue: Queue, claim: protocol.Claim, keeper: str, token: str | None = None) -> None:
    """End a command that lives on without its keeper; nothing happens to any other."""
    what, record = verdict.look(queue.home.run(*claim), queue.home.keeper(keeper))
    if what == verdict.ALONE and record is not None and record.start is not None:
        end_orphan(record.start, token, queue.settings.grace)
