"""What the SDK's server does not publish as it should be: the newest jobs, arguments with titles, unknown tools."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolResult, InputRequiredResult
from mcp_types import Prompt as ListedPrompt
from mcp_types import Resource as ListedResource

from mcp_server.resources import JOBS, Title
from mcp_server.text import quoted

PATIENCE = 2.0  # seconds for the newest jobs: a queue that cannot be read just now delays no session's start
LONGEST_NAME = 60  # characters of a tool's name that is repeated


class Published(MCPServer[Any]):
    """An MCPServer that lists the newest jobs as resources, so that people can pick one (`@` in most clients)."""

    newest: Callable[[], Awaitable[list[Title] | None]]
    tool_names: tuple[str, ...]

    async def list_resources(self) -> list[ListedResource]:
        """The fixed ones, and behind them the newest jobs; without those where the queue cannot be read."""
        newest: list[Title] | None = None
        with anyio.move_on_after(PATIENCE):
            newest = await self.newest()
        return [*await super().list_resources(), *map(_listed, newest or ())]

    async def list_prompts(self) -> list[ListedPrompt]:
        """As the SDK has it, which knows no titles for arguments."""
        prompts = await super().list_prompts()
        for prompt in prompts:
            for argument in prompt.arguments or ():
                argument.title = argument.name.replace("_", " ").capitalize()
        return prompts

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """The same; a tool that there is not is a protocol error, as the specification has it, and no result."""
        if name not in self.tool_names:
            there_are = ", ".join(self.tool_names)
            raise MCPError(INVALID_PARAMS, f"There is no tool {quoted(name[:LONGEST_NAME])}; there are {there_are}.")
        return await super().call_tool(name, arguments, context)


def _listed(job: Title) -> ListedResource:
    return ListedResource(uri=f"{JOBS}{job.id}", name=f"job-{job.id}", title=job.title, mime_type="application/json")
