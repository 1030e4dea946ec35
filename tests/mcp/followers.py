"""A client that declares the tasks extension, and what a task has to look like on the wire."""

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import anyio
import pytest
from mcp.client import Client
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, Implementation, Request, Result
from pydantic import ConfigDict, TypeAdapter

from mcp_server.server import make_server
from mcp_server.session import Session
from mcp_server.tasks import IDENTIFIER
from tests.mcp.places import INFO, Place

LIMIT = 240
ANYTHING: TypeAdapter[Any] = TypeAdapter(dict[str, Any])
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
BELONGS = {"input_required": "inputRequests", "completed": "result", "failed": "error"}  # to each status
TASK = {"resultType", "taskId", "status", "statusMessage", "createdAt", "lastUpdatedAt", "ttlMs"}


class Created(Result):
    """A task instead of a result."""

    model_config = ConfigDict(extra="allow")

    result_type: Literal["task"] = "task"  # pyright: ignore[reportIncompatibleVariableOverride]


class Following(ClientExtension):
    """Declares the extension, and hands the task over as it came."""

    identifier = IDENTIFIER

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return [ResultClaim(result_type="task", model=Created, resolve=self._resolve)]

    async def _resolve(self, created: Created, _: ClaimContext) -> CallToolResult:
        task = created.model_dump(by_alias=True, mode="json")
        return CallToolResult(content=[], structured_content={"id": 0, "state": "task", "task": task})


class AskOfTask(Request[dict[str, Any], str]):
    """`tasks/get`, `tasks/update` or `tasks/cancel`."""

    name_param = "taskId"


@asynccontextmanager
async def follower(
    place: Place,
    *,
    user: Any = None,
    extensions: Sequence[ClientExtension] | None = None,
    mode: Any = "auto",
    environ: Mapping[str, str] | None = None,
    name: str = INFO.name,
) -> AsyncGenerator[Client]:
    """A client of a server in this process; `user` answers what it is asked on the spot."""
    session = Session({**place.environ, **(environ or {})})
    server, _ = make_server(session)
    declared = [Following()] if extensions is None else extensions
    info = Implementation(name=name, version=INFO.version)
    try:
        with anyio.fail_after(LIMIT):
            async with Client(
                server, mode=mode, elicitation_callback=user, client_info=info, extensions=declared
            ) as client:
                yield client
    finally:
        session.close()


async def begin(client: Client, *argv: str, **arguments: Any) -> str:
    """The id of the task that `run` becomes."""
    result = await client.call_tool("run", {"argv": list(argv), **arguments})
    assert not result.is_error, result.content
    assert result.structured_content is not None
    created: dict[str, Any] = result.structured_content["task"]
    check_created(created)
    return created["taskId"]


async def request(client: Client, method: str, **params: Any) -> dict[str, Any]:
    return await client.session.send_request(AskOfTask(method=f"tasks/{method}", params=params), ANYTHING)


async def look(client: Client, task: str) -> dict[str, Any]:
    """The task as it is now."""
    found = await request(client, "get", taskId=task)
    check(found)
    assert found["taskId"] == task
    return found


async def until(client: Client, task: str, *statuses: str) -> dict[str, Any]:
    """The task as soon as it has one of these statuses."""
    with anyio.fail_after(LIMIT):
        while (found := await look(client, task))["status"] not in statuses:
            await anyio.sleep(0.02)
    return found


async def answer(client: Client, task: str, key: str, answer: str | None = None, action: str = "accept") -> None:
    """What a user says to a question; it is acknowledged, whatever comes of it."""
    response = {"action": action} | ({"content": {"answer": answer}} if answer else {})
    assert_acknowledged(await request(client, "update", taskId=task, inputResponses={key: response}))


def assert_acknowledged(result: dict[str, Any]) -> None:
    assert {key: value for key, value in result.items() if key != "_meta"} == {"resultType": "complete"}


async def refusal(client: Client, method: str, **params: Any) -> MCPError:
    with pytest.raises(MCPError) as refused:
        await request(client, method, **params)
    return refused.value


def question(found: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The one question that a task asks, with its key."""
    ((key, asked),) = found["inputRequests"].items()
    assert asked["method"] == "elicitation/create"
    assert set(asked["params"]) == {"mode", "message", "requestedSchema"} and asked["params"]["mode"] == "form"
    return key, asked["params"]


# -- the shape, as the extension's schema has it -----------------------------------------------------------


def check_created(task: dict[str, Any]) -> None:
    """A CreateTaskResult: flat, and with nothing that belongs to a later status."""
    assert set(task) - {"_meta"} == TASK | {"pollIntervalMs"}
    assert task["resultType"] == "task" and task["status"] in ("working", "input_required")
    assert task["ttlMs"] is None
    _check_common(task)


def check(task: dict[str, Any]) -> None:
    """A GetTaskResult: what belongs to its status, and nothing else."""
    more = {BELONGS[task["status"]]} if task["status"] in BELONGS else set[str]()
    ended = task["status"] in ("completed", "cancelled", "failed")
    assert set(task) - {"_meta"} == TASK | more | (set[str]() if ended else {"pollIntervalMs"}), task
    assert task["resultType"] == "complete"
    assert (task["ttlMs"] is None) != ended or isinstance(task["ttlMs"], int)
    if "result" in task:
        assert set(task["result"]) == {"resultType", "content", "structuredContent", "isError"}
        assert {"id", "state"} <= set(task["result"]["structuredContent"])  # as the tool's output schema wants it
    _check_common(task)


def _check_common(task: dict[str, Any]) -> None:
    assert re.fullmatch(r"[0-9a-f]{32,}", task["taskId"])
    assert TIME.fullmatch(task["createdAt"]) and TIME.fullmatch(task["lastUpdatedAt"])
    assert task["createdAt"] <= task["lastUpdatedAt"]
    assert task["statusMessage"]
    if "pollIntervalMs" in task:
        assert isinstance(task["pollIntervalMs"], int) and 500 <= task["pollIntervalMs"] <= 5000
