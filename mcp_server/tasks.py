"""The extension `io.modelcontextprotocol/tasks`: for clients that declare it, `run` becomes a task.

A task is a job with a name that cannot be guessed, stored by the transaction that stores the job. This server keeps
nothing of it: whichever one is asked looks at the queue, so a task outlives the server that has made it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import anyio.to_thread
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.extension import Extension, MethodBinding
from mcp.server.mcpserver import require_client_extension
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_NAME_HEADER
from mcp_types import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    RequestParams,
)
from pydantic import ValidationError

from mcp_server import approving, asking, task_states
from mcp_server.replies import View
from mcp_server.session import Session
from mcp_server.wording import for_agents
from queue_core import views
from queue_core.errors import QueueError, UnknownJob, UnknownTask
from queue_core.jobs import Job, Task
from queue_core.model import LIVE, Origin

T = TypeVar("T")

IDENTIFIER: Final = "io.modelcontextprotocol/tasks"
GET, UPDATE, CANCEL = METHODS = ("tasks/get", "tasks/update", "tasks/cancel")
VERSIONS: Final = frozenset({"2026-07-28"})
ID_BYTES: Final = 20
DONE: Final[View] = {"resultType": "complete"}


def new_id() -> str:
    """A task's id: whoever has it may follow the job, so nobody shall guess it."""
    return secrets.token_hex(ID_BYTES)


def declared(ctx: ServerRequestContext[Any, Any]) -> bool:
    """Whether the client follows tasks, as it says with this very request."""
    capabilities = ctx.session.client_capabilities
    extensions = capabilities.extensions if capabilities else None
    return ctx.protocol_version in VERSIONS and IDENTIFIER in (extensions or {})


class Begun(CallToolResult):
    """What a tool leaves to the extension instead of a result: the task that its call has become."""

    task: View


def begun(session: Session, task_id: str, job_id: int) -> Begun:
    """The task of a job that is stored. Blocks."""
    state = task_states.begun(session.queue.job(job_id), now=session.queue.clock())
    return Begun(content=[], task={"resultType": "task", "taskId": task_id, **state})


class TaskParams(RequestParams):
    """Which task is meant."""

    task_id: str


class UpdateParams(TaskParams):
    """Answers to what the task has asked, by the keys of the questions."""

    input_responses: dict[str, Any]


class Tasks(Extension):
    """Tasks over one session's queue."""

    identifier = IDENTIFIER

    def __init__(self, session: Session) -> None:
        self._session = session

    def methods(self) -> Sequence[MethodBinding]:
        """What a client can ask of a task, in the only era that has them so."""
        return (
            MethodBinding(GET, TaskParams, self._get, VERSIONS),
            MethodBinding(UPDATE, UpdateParams, self._update, VERSIONS),
            MethodBinding(CANCEL, TaskParams, self._cancel, VERSIONS),
        )

    async def intercept_tool_call(
        self, params: CallToolRequestParams, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        """Answer with the task where a call has become one."""
        result = await call_next(ctx)
        return result.task if isinstance(result, Begun) else result

    async def middleware(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """What the SDK leaves to extensions: who does not declare tasks may not ask for news of them (there are none:

        tasks are polled), and a request's header has to name the task that its body names.
        """
        if ctx.method in METHODS:
            _refuse_another_name(ctx)
        notifications: object = (ctx.params or {}).get("notifications")
        if ctx.method == "subscriptions/listen" and isinstance(notifications, dict) and "taskIds" in notifications:
            require_client_extension(ctx, IDENTIFIER)
        return await call_next(ctx)

    async def _get(self, ctx: ServerRequestContext[Any, Any], params: TaskParams) -> View:
        require_client_extension(ctx, IDENTIFIER)
        asks = _who_asks(ctx)
        return await _asked(lambda: self._state(params.task_id, asks))

    async def _update(self, ctx: ServerRequestContext[Any, Any], params: UpdateParams) -> View:
        require_client_extension(ctx, IDENTIFIER)
        by, asks = asking.client_of(ctx), _who_asks(ctx)
        await _asked(lambda: self._answer(params, self._session.origin(by), asks))
        return DONE

    async def _cancel(self, ctx: ServerRequestContext[Any, Any], params: TaskParams) -> View:
        require_client_extension(ctx, IDENTIFIER)
        by = asking.client_of(ctx)
        await _asked(lambda: self._end(params.task_id, self._session.origin(by)))
        return DONE

    # On threads: the queue blocks.

    def _found(self, task_id: str) -> tuple[Task, Job]:
        queue = self._session.queue
        task = queue.task(task_id)
        queue.settle_leftovers()  # it may have ended with its worker
        return task, queue.job(task.job)

    def _state(self, task_id: str, asks: str | None) -> View:
        """How it stands; `client` is the name of one that puts questions to its user."""
        queue = self._session.queue
        task, it = self._found(task_id)
        question = approving.question_on(self._session, task, it, asks)
        # Before the view is made: what a task that is completed says of its successors is said for good.
        standing = queue.standings([it.id]).get(it.id, it.state) if it.escalated_to else it.state
        state = task_states.described(
            it,
            queue.view_of(it),
            standing=standing,
            questions={question.key: question.request()} if question else {},
            now=queue.clock(),
            keep_days=queue.settings.keep_days,
        )
        self._session.told([views.summary(it)] if state["status"] in ("completed", "cancelled") else [])
        return {**DONE, "taskId": task.id, **state}

    def _answer(self, params: UpdateParams, by: Origin, asks: str | None) -> None:
        """What is no answer to the question that is open is left; so is one that comes after another."""
        task, it = self._found(params.task_id)
        question = approving.question_on(self._session, task, it, asks)
        if question is None or question.key not in params.input_responses:
            return
        try:
            said = approving.said_to(question, params.input_responses[question.key])
        except ValidationError:
            sentence = f"The answer under {question.key} is none of those offered; nothing was done."
            raise MCPError(INVALID_PARAMS, sentence) from None
        approving.answer(self._session, task, it, question, said, by)

    def _end(self, task_id: str, by: Origin) -> None:
        """Cancel the job, or whoever works on in its place."""
        queue = self._session.queue
        _, it = self._found(task_id)
        chain = queue.store.chain(it.id) if it.escalated_to else []
        live = [one.id for one in chain if one.state in LIVE]
        queue.cancel(live or [it.id], by)


def _who_asks(ctx: ServerRequestContext[Any, Any]) -> str | None:
    """The client, if it can put a question to its user: where it could not, what it answers is not its user's."""
    return asking.name_of(ctx) if asking.can_show(ctx.session.client_capabilities) else None


def _refuse_another_name(ctx: ServerRequestContext[Any, Any]) -> None:
    """Over HTTP, whoever stands between routes a request by this header."""
    named = ctx.request.headers.get(MCP_NAME_HEADER) if ctx.request is not None else None
    if named is not None and named != (ctx.params or {}).get("taskId"):
        raise MCPError(HEADER_MISMATCH, f"The header {MCP_NAME_HEADER} does not name the task of the request's body.")


async def _asked(look: Callable[[], T]) -> T:
    """The result of a look at the queue on a thread; what is wrong is said in words."""
    try:
        return await anyio.to_thread.run_sync(look, abandon_on_cancel=True)
    except (UnknownTask, UnknownJob):
        raise MCPError(INVALID_PARAMS, "There is no such task; `list_jobs` shows the jobs there are.") from None
    except QueueError as error:
        raise MCPError(INTERNAL_ERROR, for_agents(str(error))) from error
