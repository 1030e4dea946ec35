"""A small MCP server over real stdio, to be started as a process: `python sample_server.py TRACE_FILE`.

It writes what happens to it into TRACE_FILE, a line each, so that a test sees the lifespan from outside.
"""

import logging
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.subscriptions import InMemorySubscriptionBus, ResourceUpdated, ToolsListChanged
from mcp_types import ToolAnnotations
from pydantic import Field

from mcp_server.schemas import make_tool
from mcp_server.stdio import run_stdio

TRACE_FILE = sys.argv[1]
RELAXED = ToolAnnotations(read_only_hint=True)
ANY_OBJECT = {"type": "object"}
CHANGES = InMemorySubscriptionBus()


def trace(event: str) -> None:
    with open(TRACE_FILE, "a", encoding="utf-8") as file:
        print(event, file=file)


@asynccontextmanager
async def lifespan(_: MCPServer[Any]) -> AsyncIterator[None]:
    trace("started")
    try:
        yield
    finally:
        trace("ended")


async def echo(text: Annotated[str, Field(description="What to say.")]) -> dict[str, Any]:
    """Say it again."""
    return {"text": text}


def surrogate() -> dict[str, Any]:
    """Text that is no text."""
    return {"text": "a\udcffb"}


def big(size: int) -> dict[str, Any]:
    """Much text."""
    return {"text": "x" * size}


def chatter() -> dict[str, Any]:
    """Print where only frames may go."""
    print("stray words on stdout", flush=True)
    return {"read": sys.stdin.read()}


async def hesitate() -> dict[str, Any]:
    """Answer a moment after the input has ended."""
    await anyio.sleep(0.02)
    return {"said": "well"}


async def wait_long() -> dict[str, Any]:
    """Wait in the event loop."""
    trace("waiting")
    await anyio.sleep(30)
    return {}


def block_long() -> dict[str, Any]:
    """Wait in a thread."""
    trace("blocking")
    threading.Event().wait(30)
    return {}


async def change(uri: str) -> dict[str, Any]:
    """Tell of changes."""
    await CHANGES.publish(ToolsListChanged())
    await CHANGES.publish(ResourceUpdated(uri=uri))
    return {}


def lose() -> dict[str, Any]:
    """Fail over a file whose name is no UTF-8."""
    raise ToolError("There is no file a\udcffb.")


def main() -> None:
    logging.basicConfig(level="INFO", stream=sys.stderr, format="%(message)s")
    functions = (echo, surrogate, lose, big, chatter, hesitate, wait_long, block_long, change)
    tools = [make_tool(fn, annotations=RELAXED, output_schema=ANY_OBJECT) for fn in functions]
    run_stdio(
        MCPServer("sample", version="1", lifespan=lifespan, tools=tools, subscriptions=CHANGES),
        changes=CHANGES,
    )


if __name__ == "__main__":
    main()
