"""Stopping running commands without any worker: through their keeper, or, if that is dead, by hand."""

from __future__ import annotations

from queue_core.errors import KeeperError
from queue_core.keeper import protocol, records, verdict
from queue_core.keeper.ending import end_orphan

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as sockets
    from collections.abc import Collection

    from queue_core.jobs import Orphan
    from queue_core.keeper.processes import Lock
    from queue_core.service import Queue

PATIENCE = 2.0  # seconds for a keeper to answer, which takes it milliseconds


def stop_claims(queue: Queue, ids: Collection[int]) -> None:
    """Begin the end of these running jobs' commands, and settle those whose worker is dead."""
    by_keeper: dict[str, list[Orphan]] = {}
    for claim in queue.store.running():
        if claim.job in ids and not claim.handler:  # a function's worker sees the mark, and has been rung for
            by_keeper.setdefault(claim.keeper, []).append(claim)
    for keeper, claims in by_keeper.items():
        if not _keeper_took(queue.home.keeper(keeper), claims):
            for one in claims:
                end_alone(queue, (one.job, one.claim), keeper, one.token)
    queue.recover()


def _keeper_took(keeper_dir: str, claims: Collection[Orphan]) -> bool:
    """Ask a keeper to end all of these: TERM, CONT, grace, KILL. False if it is gone.

    One that does not answer in time is stopped or overloaded; what was sent lies in its socket.
    """
    try:
        with protocol.connect(keeper_dir, PATIENCE) as connection:
            asked = [protocol.encode(protocol.end((one.job, one.claim), "cancelled")) for one in claims]
            connection.sendall(b"".join(asked))
            _hear(connection, len(claims))
    except protocol.KeeperGone:
        return False
    except (KeeperError, OSError):
        return protocol.alive(keeper_dir)
    return True


def _hear(connection: sockets.socket, replies: int) -> None:
    lines = protocol.Lines()
    while replies > 0 and (data := connection.recv(65536)):
        replies -= len(lines.feed(data))


def end_alone(queue: Queue, claim: protocol.Claim, keeper: str, token: str | None) -> None:
    """End a command that lives on without its keeper; nothing happens to any other. Blocks until it is over."""
    run_dir = queue.home.run(*claim)
    what, record = verdict.look(run_dir, queue.home.keeper(keeper), token)
    if what == verdict.ALONE and record is not None and record.start is not None:
        end_orphan(record.start, token, queue.settings.grace, lock=_lock_of(run_dir, keeper))


def _lock_of(run_dir: str, keeper: str) -> Lock | None:
    """The claim's lock, unless a command has put another claim's record there: whoever holds that is not ended."""
    own = records.read_own(run_dir, keeper)
    return records.lock_of(run_dir) if own and own.start else None
