"""What a client can read and subscribe to: the status, the dead letters, each job and its output."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ResourceNotFoundError
from mcp.server.subscriptions import ResourceUpdated, SubscriptionBus

from mcp_server import replies
from mcp_server.session import Session
from queue_core.errors import QueueError
from queue_core.model import LIVE, Filter
from queue_core.sqlite import reads
from queue_core.views import text_of

T = TypeVar("T")

STATUS, DEAD_LETTERS, JOB, OUTPUT = (
    "queue://status",
    "queue://dead-letters",
    "queue://jobs/{job_id}",
    "queue://jobs/{job_id}/output",
)
QUIET = 0.1  # seconds between two announcements: a burst of changes is told once
MOST_WATCHED = 500  # live jobs whose every change is told
OUTPUT_BUDGET = 64 * 1024  # bytes


def add_resources(server: MCPServer[Any], session: Session) -> None:
    """Register the four resources."""

    @server.resource(STATUS, title="Queue status", mime_type="application/json")
    async def status() -> str:  # pyright: ignore[reportUnusedFunction]
        """Counts by state, queues, worker and health."""
        return await _json(lambda: session.queue.status_view())

    @server.resource(DEAD_LETTERS, title="Dead letters", mime_type="application/json")
    async def dead_letters() -> str:  # pyright: ignore[reportUnusedFunction]
        """Jobs that failed for good, newest first, with the reason."""
        return await _json(lambda: session.queue.list_view(Filter(states=("dead",), limit=100)))

    @server.resource(JOB, title="A job", mime_type="application/json")
    async def job(job_id: str) -> str:  # pyright: ignore[reportUnusedFunction]
        """One job with its attempts."""
        return await _json(lambda: session.queue.job_view(_id(job_id)))

    @server.resource(OUTPUT, title="A job's output", mime_type="text/plain")
    async def output(job_id: str) -> str:  # pyright: ignore[reportUnusedFunction]
        """The end of what the job's latest attempt wrote: untrusted text."""
        file = await _asked(lambda: session.queue.output(_id(job_id)))
        return replies.clean(text_of(file.read(max(0, file.size - OUTPUT_BUDGET), OUTPUT_BUDGET)))


def _id(text: str) -> int:
    """A resource's id, checked here: the SDK would call a text an internal error."""
    if not (text.isascii() and text.isdigit()):
        raise ResourceNotFoundError(f"A job's id is a positive whole number, not {text!r}.")
    return int(text)


async def _asked(look: Callable[[], T]) -> T:
    """A look at the queue on a thread; what is wrong with it reaches the client in words."""
    try:
        return await anyio.to_thread.run_sync(look)
    except QueueError as error:
        raise ResourceNotFoundError(str(error)) from error


async def _json(look: Callable[[], dict[str, Any]]) -> str:
    return json.dumps(replies.without_nulls(await _asked(look)))


@asynccontextmanager
async def publish_changes(session: Session, bus: SubscriptionBus) -> AsyncGenerator[Session]:
    """The session's lifespan, with every change of the queue announced on the bus."""
    async with session.lifespan(), anyio.create_task_group() as tasks:
        tasks.start_soon(_announce, session, bus)
        yield session
        tasks.cancel_scope.cancel()


async def _announce(session: Session, bus: SubscriptionBus) -> None:
    states: dict[int, str] = {}
    while True:
        if not await session.changed(60.0):
            continue
        now = await _watched(session, states)
        for job_id in sorted(
            {job_id for job_id in now.keys() | states.keys() if now.get(job_id) != states.get(job_id)}
        ):
            await bus.publish(ResourceUpdated(JOB.format(job_id=job_id)))
            await bus.publish(ResourceUpdated(OUTPUT.format(job_id=job_id)))
        states = {job_id: state for job_id, state in now.items() if state in LIVE}
        await bus.publish(ResourceUpdated(STATUS))
        await bus.publish(ResourceUpdated(DEAD_LETTERS))
        await anyio.sleep(QUIET)


async def _watched(session: Session, before: dict[int, str]) -> dict[int, str]:
    """The states of the live jobs, and of those that were live when last looked at."""
    page = await session.read(reads.jobs(Filter(states=LIVE, limit=MOST_WATCHED)))
    now: dict[int, str] = {job.id: job.state for job in page.jobs}
    gone = tuple(job_id for job_id in before if job_id not in now)
    if gone:
        now.update(await session.read(reads.states_of(gone)))
    return now
