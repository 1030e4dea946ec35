"""`runq add`, and what `runq hook` shares with it: the fast way into the queue. Nothing heavy is imported here."""

from __future__ import annotations

import os
import sys
import time

from queue_core import errors
from queue_core import settings as settings_module
from queue_core.admission import prepare
from queue_core.callers import caller_of, origin_of, under_hook
from queue_core.home import locate
from queue_core.intake import admit
from queue_core.model import NewJob
from queue_core.sqlite.inlet import SqliteInlet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from queue_core.cli.given import Given
    from queue_core.home import Home
    from queue_core.model import Caller, Origin, Receipt
    from queue_core.settings import Settings

HOOK_PATIENCE = 0.4  # seconds; a hook has one in all
PATIENCE = 10.0


def run_add(given: Given) -> int:
    """`runq add`."""
    environ = os.environ
    home = locate(environ)
    caller = caller_here(environ, home, hook_verb=False)
    jobs = _jobs_of_file(given) if given.get("file") is not None else [job_of(given, given.command or (), None)]
    origin = origin_of(environ, caller)
    receipts = submit(jobs, origin, environ, home, os.getcwd(), hook=under_hook(environ))
    silent = given.get("silent") or under_hook(environ)
    return done(given, receipts, jobs, silent=bool(silent))


def submit(
    jobs: Sequence[NewJob],
    origin: Origin,
    environ: Mapping[str, str],
    home: Home,
    folder: str,
    *,
    hook: bool,
    chosen: Settings | None = None,
) -> Sequence[Receipt]:
    """Store jobs; under a hook they go to the spool when the database cannot take them in time (no receipts then)."""
    chosen = chosen or settings_module.load(home, environ)
    patience = HOOK_PATIENCE if hook else PATIENCE
    if origin.caller == "agent" and not hook:  # a hook has no time for a second look; the store refuses it too
        _refuse_when_full(home, chosen, jobs, patience)
    now = time.time()
    try:
        admissions = prepare(jobs, origin, settings=chosen, home=home, environ=environ, folder=folder, now=now)
    except errors.Denied as refused:
        _note_refusal(home, patience, origin, str(refused), now)
        raise
    try:
        return admit(SqliteInlet(home, patience), home, chosen, admissions, now)
    except errors.StoreError:
        if not hook:
            raise
        from queue_core import spool
        from queue_core.home import prepare as prepare_home

        prepare_home(home)
        spool.leave(home, admissions, now=now)
        return []


def _note_refusal(home: Home, patience: float, origin: Origin, why: str, now: float) -> None:
    from queue_core.intake import note_refusal
    from queue_core.sqlite.store import SqliteStore

    note_refusal(SqliteStore(home, patience=patience), origin, why, now)


def _refuse_when_full(home: Home, chosen: Settings, jobs: Sequence[NewJob], patience: float) -> None:
    from queue_core.intake import refuse_when_full
    from queue_core.sqlite.store import SqliteStore

    refuse_when_full(SqliteStore(home, patience=patience).waiting(), jobs, chosen)


def caller_here(environ: Mapping[str, str], home: Home, *, hook_verb: bool) -> Caller:
    """Who asks. Inside a queued job whose database cannot be read, nobody is taken for more than an agent."""

    def of_job(job_id: int) -> Caller | None:
        from queue_core.sqlite.store import SqliteStore

        try:
            return SqliteStore(home, patience=HOOK_PATIENCE).caller_of(job_id)
        except errors.StoreError:
            return None

    return caller_of(environ, hook_verb=hook_verb, caller_of_job=of_job)


def job_of(given: Given, argv: tuple[str, ...], stdin: bytes | None) -> NewJob:
    """The job that the options ask for."""
    values = dict(given.values)
    stdin_path = None
    source = values.pop("stdin", None)
    if source == "-":
        stdin = sys.stdin.buffer.read() if stdin is None else stdin
    elif source is not None:
        stdin, stdin_path = None, os.path.abspath(os.path.expanduser(source))
    made: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownArgumentType]
        for key, value in values.items()
        if key
        not in (
            "silent",
            "json",
            "file",
            "env",
            "meta",
            "lock",
            "at",
            "on_dead",
            "arguments",
            "after",
            "after_any",
            "after_failure",
        )
    }
    for key in ("after", "after_any", "after_failure"):
        if key in values:
            from queue_core.cli.options import job_id

            made[key] = tuple(job_id(text) for text in values[key])
    for key in ("env", "meta"):
        if key in values:
            made[key] = dict(_pair(key, text) for text in values[key])
    if "lock" in values or "at" in values or "on_dead" in values or "arguments" in values:
        from queue_core.cli.rarer import rarer

        made.update(rarer(values))
    return NewJob(argv=argv, stdin=stdin, stdin_path=stdin_path, **made)


def _pair(option: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise errors.UsageError(f"--{option} takes NAME=VALUE, not {text!r}")
    return name, value


def _jobs_of_file(given: Given) -> Sequence[NewJob]:
    """The jobs of a JSON-lines file; the error names the line, and nothing of the file is stored."""
    if given.command is not None:
        raise errors.UsageError("give either --file or a command behind `--`, not both")
    from queue_core.job_files import read_jobs

    return read_jobs(given.get("file"))


def done(given: Given, receipts: Sequence[Receipt], jobs: Sequence[NewJob], *, silent: bool) -> int:
    """Say what became of the jobs and end. They are stored: whatever cannot be said is no reason to fail."""
    try:
        if not silent:
            _say(given, receipts, jobs)
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, AttributeError, ValueError):  # closed, full, or none at all
        pass
    os._exit(0)  # committed: the interpreter's tidying up would only cost 2 ms


def _say(given: Given, receipts: Sequence[Receipt], jobs: Sequence[NewJob]) -> None:
    if given.get("json") or sys.stdout.isatty() or any(one.state == "held" for one in receipts) or not receipts:
        from queue_core.cli.receipts import say

        say(given, receipts, jobs)
    else:
        sys.stdout.write("".join([f"{one.id}\n" for one in receipts]))
