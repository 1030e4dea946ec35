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
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.resolve import AcceptedElicitation, DeclinedElicitation, Elicit, ElicitationResult, Resolve
from pydantic import BaseModel, ConfigDict, Field

from mcp_server.session import Session
from mcp_server.text import quoted
from queue_core import rules, views
from queue_core.model import Admission, NewJob, Origin, Receipt
from queue_core.policy import Rule
from queue_core.submission import new_job
from queue_core.value import replace

LONGEST_QUESTION = 4000  # characters; what is longer nobody reads in a dialog, so it is held

Said = Literal["once", "always", "no", "nothing"]


# What the user is offered. Titles and docstrings of these go into the form that the client shows.


class Answer(BaseModel):
    """Whether the command may run."""

    answer: str = Field(title="Let it run?")


class OnceOrNo(Answer):
    """once: let it run this time. no: refuse it."""

    model_config = ConfigDict(title="Let it run?")

    answer: Literal["once", "no"] = Field(title="Let it run?")  # pyright: ignore[reportIncompatibleVariableOverride]


class OnceAlwaysOrNo(Answer):
    """once: let it run this time. always: from now on, too. no: refuse it."""

    model_config = ConfigDict(title="Let it run?")

    answer: Literal["once", "always", "no"] = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        title="Let it run?"
    )


class Shown(NamedTuple):
    """What the user is shown, if anything."""

    question: str | None = None
    admission: Admission | None = None
    folder: str = ""  # the real path of where it would run
    rule: Rule | None = None  # what "always" writes; None: it is not offered
    at: float = 0.0  # by the monotonic clock


class Consent(NamedTuple):
    """What the user has said, and to what."""

    said: Said
    shown: Shown


def consent_to(names: tuple[str, ...], **usual: Any) -> Callable[..., Any]:
    """A resolver that finds out whether the user consents to the job that a tool's arguments of these names make.

    `usual` stands in for those that are not given.
    """

    async def prepare(ctx: Context[Any, Any], **given: Any) -> Shown:
        if not _can_show(ctx):
            return Shown()
        session: Session = ctx.request_context.lifespan_context
        fields = usual | {name: value for name, value in given.items() if value is not None}
        look = lambda: _prepared(session, client_of(ctx), fields)  # noqa: E731
        return await anyio.to_thread.run_sync(look, abandon_on_cancel=True)

    # The SDK hands arguments over by the names in the signature.
    by_name = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names]
    context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Context[Any, Any])
    prepare.__signature__ = inspect.Signature([context, *by_name])  # pyright: ignore[reportFunctionMemberAccess]

    async def ask(shown: Annotated[Shown, Resolve(prepare)]) -> Elicit[Answer] | Answer:
        if shown.question is None:
            return Answer(answer="nothing")
        return Elicit(shown.question, OnceAlwaysOrNo if shown.rule is not None else OnceOrNo)

    async def consent(
        shown: Annotated[Shown, Resolve(prepare)], result: Annotated[ElicitationResult[Answer], Resolve(ask)]
    ) -> Consent:
        return Consent(_said(result), shown)

    return consent


def _said(result: ElicitationResult[Answer]) -> Said:
    if isinstance(result, DeclinedElicitation):
        return "no"
    if not isinstance(result, AcceptedElicitation):
        return "nothing"
    match result.data.answer:
        case "once" | "always" | "nothing" as said:
            return said
        case _:
            return "no"


def _can_show(ctx: Context[Any, Any]) -> bool:
    """Whether the client puts questions to its user, as a form."""
    capabilities = ctx.client_capabilities
    found = capabilities.elicitation if capabilities is not None else None
    return found is not None and (found.form is not None or found.url is None)


def client_of(ctx: Context[Any, Any]) -> str | None:
    """The client's name and version, as it says."""
    params = ctx.session.client_params
    return f"{params.client_info.name} {params.client_info.version}"[:200] if params else None


def _prepared(session: Session, client: str | None, fields: dict[str, Any]) -> Shown:
    if not session.may_ask:
        return Shown()
    job, origin = new_job(fields), session.origin(client)
    (admission,) = session.queue.considered([job], origin, folder=session.folder)
    if admission.held is None:
        return Shown()
    folder = os.path.realpath(admission.cwd)
    rule = _rule_for(session, admission, folder)
    question = question_about(admission, folder, always=rule is not None)
    if len(question) > LONGEST_QUESTION:
        return Shown()
    return Shown(question, admission, folder, rule, time.monotonic())


def _rule_for(session: Session, admission: Admission, folder: str) -> Rule | None:
    """The rule that says exactly this command and nothing else, if that can be said and would do."""
    job = admission.job
    if job.stdin is not None or job.on_dead:
        return None  # a rule says nothing of what the input is, nor of what takes over
    if rules.load_or_ask(session.queue.home.rules_file)[1] is not None:
        return None
    return rules.exact_rule(job.argv, program=admission.program, cwd=folder, env=job.env)


def question_about(admission: Admission, folder: str, *, always: bool) -> str:
    """What the user is shown. Every line that the agent chose is one quoted text, which cannot begin another line."""
    job = admission.job
    lines = [
        "An agent asks runq to run a command, outside of the agent's own sandbox and permissions.",
        f"Asked because: {quoted(admission.held or '')[1:-1]}",
        "",
        *_command(job.argv, admission.program),
        f"in the folder: {quoted(folder)}",
    ]
    if job.env:
        lines += ["with the environment changed:", *(f"  {quoted(f'{name}={job.env[name]}')}" for name in job.env)]
    if job.stdin is not None:
        lines += [f"with the input: {_input(job.stdin)}"]
    lines += _terms(admission)
    for step in admission.on_dead:
        lines += ["", "If that fails for good, next:", *_command(step.argv, step.executable)]
    lines += ["", "once: let it run this time."]
    if always:
        lines += ["always: let it run, and write a rule for exactly this program, arguments, folder and environment."]
    return "\n".join([*lines, "no: refuse it."])


def _input(given: bytes) -> str:
    """All of it; of one that no question has room for, enough to make the question too long."""
    return quoted(given[: 4 * LONGEST_QUESTION].decode(errors="replace"))  # a character has 4 bytes at most


def _terms(admission: Admission) -> list[str]:
    """When, how often and beside what it would run, as far as that is not the usual."""
    job, attempts = admission.job, admission.retry.retries + 1
    at = views.rfc3339(job.at)
    needs = {"success": job.after, "end": job.after_any, "failure": job.after_failure}
    locks = ", ".join(quoted(_lock(*lock)) for lock in job.locks)
    terms = [
        f"not before {at}" if at else "",
        f"not before {job.delay:.10g} s from now" if job.delay else "",
        *(f"after the {end} of job {', '.join(map(str, ids))}" for end, ids in needs.items() if ids),
        f"up to {attempts} attempts" if attempts > 1 else "",
        f"at most {job.timeout:.10g} s an attempt" if job.timeout is not None else "",
        f"queue {quoted(job.queue)}" if job.queue != "default" else "",
        f"priority {job.priority}" if job.priority != "normal" else "",
        "alone in its queue" if job.sequential else "",
        f"locks {locks}" if locks else "",
        f"unique key {quoted(job.unique)}" if job.unique is not None else "",
    ]
    told = "; ".join(filter(None, terms))
    return [f"terms: {told}"] if told else []


def _lock(name: str, capacity: int | None) -> str:
    return name if capacity is None else f"{name}={capacity}"


def _command(argv: tuple[str, ...], program: str) -> list[str]:
    words = [f"  {quoted(word)}" for word in argv]
    return ["the command, an argument a line:", *words, f"which is the program: {quoted(program)}"]


# -- what follows from the answer --------------------------------------------------------------------------


def enqueue(session: Session, job: NewJob, origin: Origin, consent: Consent) -> tuple[Receipt, str | None]:
    """Store a job as the user has decided; and what there is to say of that. Blocks. ToolError if they said no."""
    queue, person = session.queue, replace(origin, caller="person")
    if consent.said == "no":
        queue.decline(job.argv, by=person)
        raise ToolError("The user was asked and said no, so nothing was queued; do not try it in another way.")
    (admission,) = queue.considered([job], origin, folder=session.folder)
    if admission.held is None or consent.said == "nothing":
        return queue.admit([admission])[0], None
    if not _same(admission, consent.shown):
        return queue.admit([admission])[0], "it is no longer what the user was shown"
    if consent.said == "always" and consent.shown.rule is not None:
        queue.allow(consent.shown.rule, by=person)
        receipt = queue.enqueue([job], origin, folder=session.folder)[0]
        held = receipt.state == "held"
        return receipt, "the user's new rule does not cover it yet" if held else "the user allows this from now on"
    return _approved(session, admission, person)


def _approved(session: Session, admission: Admission, person: Origin) -> tuple[Receipt, str | None]:
    receipt = session.queue.admit([admission])[0]
    if receipt.existing:  # another job, which the user was not shown
        return receipt, None
    ((_, state),) = session.queue.approve([receipt.id], by=person)
    return replace(receipt, state=state), "the user has approved it"


def _same(now: Admission, shown: Shown) -> bool:
    """Whether it is the very job that was shown; when it is due, counted from now, and the reason do not matter."""
    if shown.admission is None or os.path.realpath(now.cwd) != shown.folder:
        return False
    return replace(now, due_at=None, held=None) == replace(shown.admission, due_at=None, held=None)
