"""What the verbs share: the queue, who asks, and how an answer is given."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager

from queue_core.callers import under_hook
from queue_core.cli.options import job_id
from queue_core.cli.text import printable
from queue_core.errors import NotAllowed, QueueError, StoreBusy, UsageError
from queue_core.service import Queue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from typing import Any

    from queue_core.cli.options import Given
    from queue_core.home import Home
    from queue_core.model import Caller, Origin
    from queue_core.views import View


BESIDE = 0.5  # seconds that a verb waits for the lock for what it was not asked for


@contextmanager
def opened() -> Generator[Queue]:
    """The queue of this environment, with what hooks had to leave in the spool taken in."""
    queue = Queue.open()
    try:
        with _hurried(queue):
            _take_in_spool(queue)
        yield queue
    finally:
        with _hurried(queue):
            _close(queue)


@contextmanager
def _hurried(queue: Queue) -> Generator[None]:
    """Reading needs no lock: a verb that reads answers even while whoever holds it is stopped."""
    patience, queue.store.patience = queue.store.patience, BESIDE
    try:
        yield
    finally:
        queue.store.patience = patience


def _take_in_spool(queue: Queue) -> None:
    try:
        queue.ingest_spool()
    except QueueError as error:
        sys.stderr.write(f"runq: {error}\n")  # what was asked for does not depend on it


def _close(queue: Queue) -> None:
    """Closed under the lock, since closing the last connection checkpoints the database."""
    try:
        queue.close()
    except StoreBusy:
        pass  # whoever holds the lock has a connection as well, so this was not the last one


def caller(queue: Queue) -> Caller:
    """Who asks, as the environment tells."""
    return queue.origin().caller


def origin(queue: Queue) -> Origin:
    """Who asks, and from where."""
    return queue.origin()


def told_here(queue: Queue, jobs: Iterable[View]) -> None:
    """Whoever asked has been shown these jobs: how they ended is no news to the agent whose shell this is."""
    session = os.environ.get("CLAUDE_CODE_SESSION_ID")
    if not session or under_hook(os.environ):
        return
    from queue_core import told

    for job in jobs:
        told.mark(queue.home, session, job.get("project") or "", [(job["id"], job.get("finished_at"))])


def refuse_agents(home: Home, what: str) -> None:
    """NotAllowed where an agent's shell, or a job of an agent's, asks for what would lead around its user's rules."""
    from queue_core.cli.add import caller_here

    if caller_here(os.environ, home, hook_verb=False) == "agent":
        raise NotAllowed(f"an agent may not {what}; ask the user to do it")


def action_of(given: Given, verb: str, actions: Iterable[str]) -> str:
    """The one of a verb's actions that is wanted, `list` if none is named. UsageError for any other."""
    action = given.operands[0] if given.operands else "list"
    if action not in actions:
        *others, last = actions
        known = f"{', '.join(others)} and {last}"
        raise UsageError(f"runq {verb} knows {known}, not `{printable(action)}`; see `runq {verb} --help`")
    return action


def job_ids(given: Given, verb: str) -> tuple[int, ...]:
    """The ids among the operands, each once; UsageError if there are none or one is no number."""
    if not given.operands:
        raise UsageError(f"runq {verb} needs the id of a job: runq {verb} ID...; `runq list` shows the ids")
    return tuple(dict.fromkeys(job_id(text) for text in given.operands))


def at_most_one(given: Given, verb: str) -> str | None:
    """The one operand, if there is one; UsageError for more."""
    if len(given.operands) > 1:
        raise UsageError(f"runq {verb} takes one argument at most; `{given.operands[1]}` is too much")
    return given.operands[0] if given.operands else None


def project_of(given: Given) -> str | None:
    """The folder that `--project` means, as jobs have it; None without the flag."""
    project: str | None = given.get("project")
    return os.path.abspath(os.path.expanduser(project)) if project is not None else None


def known_queue(queue: Queue, name: str | None) -> None:
    """QueueError if a queue is named that there never was: what is shown of it would look like peace."""
    if name is None:
        return
    known = [one.name for one in queue.store.queues()]
    if name not in known:
        raise QueueError(f"there is no queue {name!r}; the queues are: {', '.join(known) or 'none yet'}")


def mind_unknown_queue(queue: Queue, name: str | None) -> None:
    """Say on stderr that there never was such a queue: an empty list of it is true, but may be a slip's."""
    try:
        known_queue(queue, name)
    except QueueError as error:
        complain(str(error))


def on_terminal() -> bool:
    """Whether a person reads along; otherwise output is plain, one line a thing, for other programs."""
    return sys.stdout.isatty()


def write_json(document: Any) -> None:
    """The one JSON document that `--json` promises."""
    from queue_core.fastjson import dumps

    sys.stdout.write(dumps(document) + "\n")


def write_lines(lines: Iterable[str]) -> None:
    """Lines on stdout."""
    sys.stdout.writelines(line + "\n" for line in lines)


def complain(sentence: str) -> None:
    """A sentence on stderr for what does not stop the verb."""
    sys.stderr.write(f"runq: {sentence}\n")


def report(given: Given, document: Any, *, rows: Sequence[str], sentences: Sequence[str]) -> None:
    """Say what a verb has changed: sentences to a person, tab-separated rows to a pipe, nothing in a hook."""
    if under_hook(os.environ):
        return
    if given.get("json"):
        write_json(document)
    else:
        write_lines(sentences if on_terminal() else rows)
