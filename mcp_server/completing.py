"""What a client may offer while its user types: ids, queues and states, for resources and prompts."""

from __future__ import annotations

from typing import Any

import anyio.to_thread
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    Completion,
    CompletionArgument,
    CompletionContext,
    PromptReference,
    ResourceTemplateReference,
)

from mcp_server.resources import JOB, OUTPUT
from mcp_server.session import Session
from mcp_server.wording import for_agents
from queue_core.errors import QueueError
from queue_core.jobs import Filter
from queue_core.model import STATES

MOST_OFFERED = 100  # the protocol's own limit


def add_completions(server: MCPServer[Any], session: Session) -> None:
    """Answer `completion/complete`; what there is nothing to say of gets an empty list."""

    @server.completion()
    async def complete(  # pyright: ignore[reportUnusedFunction]
        ref: PromptReference | ResourceTemplateReference, argument: CompletionArgument, _: CompletionContext | None
    ) -> Completion:
        try:
            found = await anyio.to_thread.run_sync(lambda: _candidates(session, ref, argument), abandon_on_cancel=True)
        except QueueError as error:
            raise MCPError(INTERNAL_ERROR, for_agents(str(error))) from error
        fitting = [one for one in found if one.startswith(argument.value)]
        return Completion(values=fitting[:MOST_OFFERED], total=len(fitting), has_more=len(fitting) > MOST_OFFERED)


def _candidates(
    session: Session, ref: PromptReference | ResourceTemplateReference, argument: CompletionArgument
) -> list[str]:
    """Everything that could stand there, the likeliest first. Blocks."""
    if isinstance(ref, ResourceTemplateReference):
        return _ids(session) if ref.uri in (JOB, OUTPUT) and argument.name == "job_id" else []
    match argument.name:
        case "job_id":
            return _ids(session)
        case "queue":
            return [queue.name for queue in session.queue.store.queues()]
        case "state":
            return list(STATES)
        case _:
            return []


def _ids(session: Session) -> list[str]:
    """Newest first."""
    return [str(job_id) for job_id in reversed(session.queue.ids(Filter()))]
