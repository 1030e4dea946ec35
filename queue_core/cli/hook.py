"""`runq hook`: a command queued from a client's hook, whose JSON fills the template. Lean, silent, in time."""

from __future__ import annotations

import os
import sys

from queue_core import errors, settings
from queue_core.callers import origin_of
from queue_core.cli import payload
from queue_core.cli.add import caller_here, done, job_of, submit
from queue_core.home import locate
from queue_core.template import fill

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from queue_core.cli.given import Given
    from queue_core.home import Home
    from queue_core.model import NewJob, Origin, Receipt


def run_hook(given: Given) -> int:
    """`runq hook`: exit 0 or 1, never 2, which would block the client's turn."""
    environ = os.environ
    try:
        home = locate(environ)
        caller = caller_here(environ, home, hook_verb=True)
        raw, said = payload.read()
        session = said.get("session_id")
        origin = origin_of(environ, caller, session=session if isinstance(session, str) else None)
        if given.command is None and not given.values.keys() - {"silent", "json"}:
            return _capture(given, raw, said, origin, home)
        job = _hook_job(given, raw, said)
        receipts = submit([job], origin, environ, home, _folder(said), hook=True)
    except (errors.UsageError, errors.InvalidJob) as error:
        sys.stderr.write(f"runq: {error}\n")
        return 1
    return done(given, receipts, [job], silent=not given.get("json"))


def _capture(given: Given, raw: bytes, said: Mapping[str, Any], origin: Origin, home: Home) -> int:
    """Queue what the user's settings say for this event, all in one transaction; nothing if they say nothing."""
    chosen = settings.load(home, os.environ)
    if not chosen.capture:
        return 0
    from queue_core.captures import jobs_for

    def store(some: Sequence[NewJob]) -> Sequence[Receipt]:
        return submit(some, origin, os.environ, home, _folder(said), hook=True, chosen=chosen)

    jobs, complaints = jobs_for(chosen.capture, said, raw)
    receipts: Sequence[Receipt] = []
    try:
        receipts = store(jobs) if jobs else []
    except errors.InvalidJob:  # of one of them, which keeps no other from the queue
        if len(jobs) == 1:
            raise
        complaints += _each(store, jobs)
    if not complaints:
        return done(given, receipts, jobs, silent=not given.get("json"))
    sys.stderr.writelines([f"runq: {complaint}\n" for complaint in complaints])
    return 1


def _each(store: Callable[[Sequence[NewJob]], object], jobs: Sequence[NewJob]) -> list[str]:
    """Store every job that can be; what is wrong with the others."""
    wrong: list[str] = []
    for job in jobs:
        try:
            store([job])
        except errors.InvalidJob as error:
            wrong.append(str(error))
    return wrong


def _folder(said: Mapping[str, Any]) -> str:
    """Where the hook's client works, if it says so."""
    named = said.get("cwd")
    folder = os.path.join(os.getcwd(), named) if isinstance(named, str) else os.getcwd()
    return folder if os.path.isdir(folder) else os.getcwd()


def _hook_job(given: Given, raw: bytes, said: Mapping[str, Any]) -> NewJob:
    return job_of(given, fill(given.command or (), said), raw)
