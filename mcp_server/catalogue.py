"""The tools as they are published: title, hints for the client, and the keys that a reply always has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mcp.server.mcpserver.tools import Tool
from mcp_types import ToolAnnotations

from mcp_server.schemas import make_tool
from mcp_server.session import Session
from mcp_server.tools import Tools
from mcp_server.wording import for_agents
from queue_core.errors import QueueError

READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
RUNS = ToolAnnotations(destructive_hint=True, open_world_hint=True)
STOPS = ToolAnnotations(destructive_hint=True, idempotent_hint=True, open_world_hint=False)
RECEIPT = {"id": "integer", "state": "string"}
JOBS = {"jobs": "array"}


def make_tools(session: Session) -> list[Tool]:
    """The tools over one session, as this server publishes them."""
    tools = Tools(session)
    return [
        _tool(tools.enqueue, "Queue a command", RUNS, RECEIPT),
        _tool(tools.run, "Run a command", RUNS, RECEIPT),
        _tool(tools.status, "Status", READS, {}),
        _tool(tools.health, "Queue health", READS, {"level": "string", "pending": "integer"}),
        _tool(tools.list_jobs, "List jobs", READS, {**JOBS, "cursor": "string"}),
        _tool(tools.output, "Job output", READS, {"id": "integer", "text": "string", "total_bytes": "integer"}),
        _tool(tools.wait, "Wait for jobs", READS, {**JOBS, "done": "boolean"}),
        _tool(tools.cancel, "Cancel jobs", STOPS, JOBS),
        _tool(tools.dead_letter_list, "List dead letters", READS, {**JOBS, "total": "integer"}),
        _tool(tools.dead_letter_retry, "Retry dead letters", RUNS, JOBS),
        _tool(tools.dead_letter_discard, "Discard dead letters", STOPS, JOBS),
    ]


def _tool(function: Callable[..., Any], title: str, hints: ToolAnnotations, keys: dict[str, str]) -> Tool:
    return make_tool(
        function,
        title=title,
        annotations=hints,
        output_schema=_schema(keys),
        expected_errors=(QueueError,),
        wording=for_agents,
    )


def _schema(keys: dict[str, str]) -> dict[str, Any]:
    if not keys:
        return {"type": "object"}
    return {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in keys.items()},
        "required": list(keys),
    }
