"""The user asked on the spot about a command that no rule covers, where the client can put a question to them.

A job is prepared (what the rules say of it), the user is shown exactly that, and what is stored afterwards is
compared with what was shown: programs are found through links, which may point elsewhere by the time of the answer.
These are the SDK's resolvers: it runs them before a tool, more than once for one call, so they change nothing.
"""

import inspect
import os
import time
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import anyio.to_thread
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.resolve import AcceptedElicitation, DeclinedElicitation, Elicit, ElicitationResult, Resolve
from mcp_types import ClientCapabilities
from pydantic import BaseModel, ConfigDict, Field

from mcp_server.question import question_about
from mcp_server.session import Session
from queue_core import rules
from queue_core.model import Admission, NewJob, Origin, Receipt
from queue_core.policy import Rule
from queue_core.submission import new_job
from queue_core.value import replace

DECLINE_UNREAD = frozenset({"codex-mcp-client"})  # `codex exec` 0.169.0, measured
UNSHOWN = "this client cannot show the user the whole command, so they were not asked"

Said = Literal["once", "always", "no", "nothing"]


# What the user is offered. Titles, docstrings and descriptions of these go into the form that the client shows: Claude
# Code has one row for a description.


class Answer(BaseModel):
    """Whether the command may run."""

    answer: str = Field(title="Let it run?")


class OnceOrNo(Answer):
    """Whether the command may run."""

    model_config = ConfigDict(title="Let it run?")

    answer: Literal["once", "no"] = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        title="Let it run?", description="once: let it run this time. no: refuse it."
    )


class OnceAlwaysOrNo(Answer):
    """Whether the command may run."""

    model_config = ConfigDict(title="Let it run?")

    answer: Literal["once", "always", "no"] = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        title="Let it run?", description="once: this time. always: from now on, exactly this. no: refuse it."
    )


class Shown(NamedTuple):
    """What the user is shown, if anything."""

    question: str | None = None
    admission: Admission | None = None
    folder: str = ""  # the real path of where it would run
    rule: Rule | None = None  # what "always" writes; None: it is not offered
    at: float = 0.0  # by the monotonic clock
    unshown: bool = False  # there was a question, which the client would not have shown in full


class Consent(NamedTuple):
    """What the user has said, and to what."""

    said: Said
    shown: Shown


def consent_to(names: tuple[str, ...], **usual: Any) -> Callable[..., Any]:
    """A resolver that finds out whether the user consents to the job that a tool's arguments of these names make.

    `usual` stands in for those that are not given.
    """

    async def prepare(ctx: Context[Any, Any], **given: Any) -> Shown:
        if not can_show(ctx.client_capabilities):
            return Shown()
        session: Session = ctx.request_context.lifespan_context
        fields = usual | {name: value for name, value in given.items() if value is not None}
        look = lambda: _prepared(session, client_of(ctx), name_of(ctx), fields)  # noqa: E731
        return await anyio.to_thread.run_sync(look, abandon_on_cancel=True)

    # The SDK hands arguments over by the names in the signature.
    by_name = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names]
    context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Context[Any, Any])
    prepare.__signature__ = inspect.Signature([context, *by_name])  # pyright: ignore[reportFunctionMemberAccess]

    async def ask(shown: Annotated[Shown, Resolve(prepare)]) -> Elicit[Answer] | Answer:
        if shown.question is None:
            return Answer(answer="nothing")
        return Elicit(shown.question, form(always=shown.rule is not None))

    async def consent(
        ctx: Context[Any, Any],
        shown: Annotated[Shown, Resolve(prepare)],
        result: Annotated[ElicitationResult[Answer], Resolve(ask)],
    ) -> Consent:
        unread = isinstance(result, DeclinedElicitation) and _declines_unread(ctx)
        return Consent("nothing" if unread else said(result), shown)

    return consent


def form(*, always: bool) -> type[Answer]:
    """What the user may choose from."""
    return OnceAlwaysOrNo if always else OnceOrNo


def said(result: ElicitationResult[Answer]) -> Said:
    """What an answer means. One that was cancelled says nothing."""
    if isinstance(result, DeclinedElicitation):
        return "no"
    if not isinstance(result, AcceptedElicitation):
        return "nothing"
    match result.data.answer:
        case "once" | "always" | "nothing" as chosen:
            return chosen
        case _:
            return "no"


def can_show(capabilities: ClientCapabilities | None) -> bool:
    """Whether the client puts questions to its user, as a form."""
    found = capabilities.elicitation if capabilities is not None else None
    return found is not None and (found.form is not None or found.url is None)


def _declines_unread(ctx: Context[Any, Any]) -> bool:
    """Whether a "decline" of this client's is not its user's: it gives one without showing them the question."""
    return name_of(ctx) in DECLINE_UNREAD


def client_of(ctx: Context[Any, Any] | ServerRequestContext[Any, Any]) -> str | None:
    """The client's name and version, as it says."""
    params = ctx.session.client_params
    return f"{params.client_info.name} {params.client_info.version}"[:200] if params else None


def name_of(ctx: Context[Any, Any] | ServerRequestContext[Any, Any]) -> str:
    """The client's name alone, by which its ways are known; empty if it says none."""
    params = ctx.session.client_params
    return params.client_info.name if params else ""


def _prepared(session: Session, client: str | None, name: str, fields: dict[str, Any]) -> Shown:
    if not session.may_ask:
        return Shown()
    job, origin = new_job(fields), session.origin(client)
    (admission,) = session.queue.considered([job], origin, folder=session.folder)
    if admission.held is None:
        return Shown()
    folder = os.path.realpath(admission.cwd)
    rule = rule_for(session, admission, folder)
    question = question_about(admission, folder, always=rule is not None, client=name)
    if question is None:
        return Shown(unshown=True)
    return Shown(question, admission, folder, rule, time.monotonic())


def rule_for(session: Session, admission: Admission, folder: str) -> Rule | None:
    """The rule that says exactly this command and nothing else, if that can be said and would do."""
    job = admission.job
    if job.stdin is not None or job.on_dead:
        return None  # a rule says nothing of what the input is, nor of what takes over
    if rules.load_or_ask(session.queue.home.rules_file)[1] is not None:
        return None
    return rules.exact_rule(job.argv, program=admission.program, cwd=folder, env=job.env)


# -- what follows from the answer --------------------------------------------------------------------------


def enqueue(
    session: Session, job: NewJob, origin: Origin, consent: Consent, task: str | None = None
) -> tuple[Receipt, str | None]:
    """Store a job as the user has decided; and what there is to say of that. Blocks. ToolError if they said no.

    `task` is the id by which the client is to follow it.
    """
    queue, person = session.queue, replace(origin, caller="person")
    if consent.said == "no":
        queue.decline(job.argv, by=person)
        raise ToolError("The user was asked and said no, so nothing was queued; do not try it in another way.")
    (admission,) = queue.considered([job], origin, folder=session.folder)
    if admission.held is None or consent.said == "nothing":
        receipt = _admitted(session, admission, task)
        return receipt, UNSHOWN if consent.shown.unshown and receipt.state == "held" else None
    if not _same(admission, consent.shown):
        return _admitted(session, admission, task), "it is no longer what the user was shown"
    if consent.said == "always" and consent.shown.rule is not None:
        queue.allow(consent.shown.rule, by=person)
        (anew,) = queue.considered([job], origin, folder=session.folder)
        receipt = _admitted(session, anew, task)
        held = receipt.state == "held"
        return receipt, "the user's new rule does not cover it yet" if held else "the user allows this from now on"
    return _approved(session, admission, person, task)


def _admitted(session: Session, admission: Admission, task: str | None) -> Receipt:
    return session.queue.admit([replace(admission, task=task)])[0]


def _approved(session: Session, admission: Admission, person: Origin, task: str | None) -> tuple[Receipt, str | None]:
    receipt = _admitted(session, admission, task)
    if receipt.existing:  # another job, which the user was not shown
        return receipt, None
    ((_, state),) = session.queue.approve([receipt.id], by=person)
    return replace(receipt, state=state), "the user has approved it"


def _same(now: Admission, shown: Shown) -> bool:
    """Whether it is the very job that was shown; when it is due, counted from now, and the reason do not matter."""
    if shown.admission is None or os.path.realpath(now.cwd) != shown.folder:
        return False
    return replace(now, due_at=None, held=None) == replace(shown.admission, due_at=None, held=None)
