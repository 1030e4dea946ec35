"""The user asked about a job that is stored and held, by way of its task: the same question as on the spot.

Nothing of it is kept but how many questions were answered. A question is made anew whenever the task is looked at or
an answer comes, and its key is made of what it shows: an answer counts for exactly that, whichever server hears it.
Only `run` makes tasks, so what cannot be asked of `run` (dependencies, functions, files as input) is not asked about.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from typing import Any, NamedTuple

from mcp.server.elicitation import render_elicitation_schema
from mcp.server.mcpserver.resolve import AcceptedElicitation, CancelledElicitation, DeclinedElicitation
from mcp_types import ElicitRequest, ElicitRequestFormParams, ElicitResult

from mcp_server import asking
from mcp_server.question import question_about
from mcp_server.session import Session
from queue_core.errors import Denied, InvalidTransition
from queue_core.fastjson import dumps
from queue_core.jobs import Job, Task
from queue_core.judge import Judge
from queue_core.model import Admission, NewJob, Origin, Retry
from queue_core.policy import Rule
from queue_core.value import replace

MOST_OF_HASH = 16  # hexadecimal digits; it tells questions apart, and hides nothing


class Question(NamedTuple):
    """What a task's user is asked, and under which key an answer to it comes."""

    key: str
    text: str
    folder: str  # the real path of where it would run
    rule: Rule | None  # what "always" writes; None: it is not offered

    @property
    def form(self) -> type[asking.Answer]:
        """What the user may choose from."""
        return asking.form(always=self.rule is not None)

    def request(self) -> dict[str, Any]:
        """The same as the client is to put it to its user."""
        params = ElicitRequestFormParams(message=self.text, requested_schema=render_elicitation_schema(self.form))
        return ElicitRequest(params=params).model_dump(by_alias=True, mode="json", exclude_none=True)


def question_on(session: Session, task: Task, it: Job, client: str | None) -> Question | None:
    """What there is to ask about a task's job; None if it is not held, or a terminal is the place for it. Blocks.

    `client` is the name of the one that would put it to its user; None: it cannot.
    """
    if client is None or it.state != "held" or task.dismissed or it.handler is not None or it.stdin_path is not None:
        return None
    if os.path.realpath(it.executable) != it.program:
        return None  # another program would run than the one that is shown
    queue = session.queue
    if not session.may_ask or Judge(queue.home, queue.settings).why_not_approved(it) is not None:
        return None
    asked = replace(it, timeout=None) if it.timeout == queue.settings.agent_timeout else it  # what nobody has asked for
    admission = _as_admitted(asked, queue.store.input(it.id))
    folder = os.path.realpath(it.cwd)
    rule = asking.rule_for(session, admission, folder)
    text = question_about(admission, folder, always=rule is not None, client=client)
    if text is None:
        return None
    return Question(_key(task, it, text), text, folder, rule)


def _as_admitted(it: Job, given: bytes | None) -> Admission:
    """A stored job as it was when it was asked for, as far as `run` can say it."""
    job = NewJob(
        argv=it.argv,
        env={name: it.env.get(name, "") for name in it.own_env},
        stdin=given,
        queue=it.queue,
        priority=it.priority,
        sequential=it.sequential,
        timeout=it.timeout,
        locks=tuple((name, None) for name in it.locks),
        unique=it.unique_key,
    )
    return Admission(
        job=job,
        origin=Origin(caller=it.caller, session=it.session, project=it.project),
        program=it.program,
        executable=it.executable,
        cwd=it.cwd,
        env=it.env,
        retry=Retry(retries=it.retries),
        timeout=it.timeout,
        held=it.reason,
        on_dead=it.on_dead,
    )


def _key(task: Task, it: Job, text: str) -> str:
    """Another one for each question: of another text, after an answer, or on another run of the job."""
    shown = dumps([text, it.claim, it.attempts_before, it.approved_at, it.rejected_at])
    return f"approval-{task.answers}-{hashlib.sha256(shown.encode(errors='replace')).hexdigest()[:MOST_OF_HASH]}"


def said_to(question: Question, response: object) -> asking.Said:
    """What the user has said to it; ValueError for what is no answer to it."""
    result = ElicitResult.model_validate(response)
    if result.action == "decline":
        return asking.said(DeclinedElicitation())
    if result.action == "cancel":
        return asking.said(CancelledElicitation())
    return asking.said(AcceptedElicitation(data=question.form.model_validate(result.content)))


def answer(session: Session, task: Task, it: Job, question: Question, said: asking.Said, by: Origin) -> None:
    """Do as the user has said, unless another answer was quicker, or it has been decided in a terminal. Blocks.

    `by` is who they are.
    """
    queue, person = session.queue, replace(by, caller="person")
    if not queue.store.answer_task(task.id, answers=task.answers, dismissed=said == "nothing"):
        return
    with suppress(InvalidTransition, Denied):
        if said == "no":
            queue.reject([it.id], by=person)
        elif said != "nothing":
            if said == "always" and question.rule is not None:
                queue.allow(question.rule, by=person)
            queue.approve([it.id], by=person, folders={it.id: question.folder})
