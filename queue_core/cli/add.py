"""`runq add` and `runq hook`: the fast way into the queue. Nothing heavy is imported here."""

from __future__ import annotations

import os
import sys
import time

from queue_core import settings as settings_module
from queue_core.admission import prepare
from queue_core.callers import caller_of, origin_of, under_hook
from queue_core.cli.options import JSON, Given, Option, Verb
from queue_core.errors import InvalidJob, StoreError, UsageError
from queue_core.home import locate
from queue_core.model import BACKOFFS, PRIORITIES, NewJob
from queue_core.service import Queue
from queue_core.sqlite.store import SqliteStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from queue_core.home import Home
    from queue_core.model import Caller, Origin, Receipt
    from queue_core.settings import Settings

HOOK_PATIENCE = 0.4  # seconds; a hook has one in all
PATIENCE = 10.0

_JOB_OPTIONS = (
    Option(name="queue", metavar="Q", help="the queue (default: default)"),
    Option(name="priority", metavar="P", choices=PRIORITIES, help="critical, high, normal or low"),
    Option(name="sequential", help="run alone: nothing of its queue beside it, order kept"),
    Option(name="after", metavar="ID", many=True, help="only after this job has succeeded"),
    Option(name="after-any", metavar="ID", many=True, help="only after this job has ended, however"),
    Option(name="after-failure", metavar="ID", many=True, help="only after this job has failed for good"),
    Option(name="delay", metavar="SECONDS", kind="number", help="not before so many seconds"),
    Option(name="at", metavar="TIME", help="not before this time, such as 2026-11-22T18:00"),
    Option(name="timeout", metavar="SECONDS", kind="number", help="end it after so many seconds"),
    Option(name="retries", metavar="N", kind="int", help="run a failed command again so often (default 3)"),
    Option(name="backoff", metavar="KIND", choices=BACKOFFS, help="how the wait between retries grows"),
    Option(name="backoff-base", metavar="SECONDS", kind="number", help="the first wait (default 10)"),
    Option(name="unique", metavar="KEY", help="while a job with this key is live, return that one instead"),
    Option(name="lock", metavar="NAME[=CAPACITY]", many=True, help="a lock it needs while it runs"),
    Option(name="cwd", metavar="DIR", help="the folder it runs in (default: this one)"),
    Option(name="env", metavar="K=V", many=True, help="set a variable for it"),
    Option(name="pass-env", metavar="NAME", many=True, help="pass a variable of this environment on to it"),
    Option(name="stdin", metavar="FILE|-", help="what it reads (default: nothing)"),
    Option(name="name", metavar="TEXT", help="what people call it"),
    Option(name="meta", metavar="K=V", many=True, help="a note of your own, to filter by"),
    Option(name="on-dead", metavar="JSON-ARGV", help="queue this command instead when it has failed for good"),
    Option(name="silent", help="print nothing"),
    JSON,
)
VERBS = {
    "add": Verb(
        name="add",
        summary="Queue a command. Prints the job's id; when it has, the job survives kill -9 and power loss.",
        options=(
            *_JOB_OPTIONS,
            Option(name="file", metavar="FILE|-", help="one JSON object, or JSON lines: all or none"),
        ),
        command=True,
        example="runq add --priority high --retries 1 -- make test\n"
        "runq add --after 7 --cwd ~/site -- ./deploy.sh\n"
        "runq add --file jobs.jsonl",
    ),
    "hook": Verb(
        name="hook",
        summary="Queue a command from a client's hook: its JSON on stdin fills {placeholders}. Silent, done in time.",
        options=_JOB_OPTIONS,
        command=True,
        more="{session_id}, {tool_input.file_path}: what the hook's JSON says there, always as one argument.\n"
        "--stdin - hands the JSON itself to the command.",
        example="runq hook --queue capture -- my-notes capture --session {session_id}",
    ),
}


def run_add(given: Given) -> int:
    """`runq add`."""
    environ = os.environ
    home = locate(environ)
    caller = _caller(environ, home, hook_verb=False)
    jobs = _jobs_of_file(given) if given.get("file") is not None else [_job(given, given.command or (), None)]
    receipts = _submit(jobs, origin_of(environ, caller), environ, home, os.getcwd())
    silent = given.get("silent") or under_hook(environ)
    return _done(given, receipts, jobs, silent=bool(silent))


def run_hook(given: Given) -> int:
    """`runq hook`: exit 0 or 1, never 2, which would block the client's turn."""
    environ = os.environ
    try:
        home = locate(environ)
        caller = _caller(environ, home, hook_verb=True)
        raw, payload = _payload()
        job = _hook_job(given, raw, payload)
        session = payload.get("session_id")
        origin = origin_of(environ, caller, session=session if isinstance(session, str) else None)
        folder = payload.get("cwd")
        folder = folder if isinstance(folder, str) and os.path.isdir(folder) else os.getcwd()
        receipts = _submit([job], origin, environ, home, folder)
    except (UsageError, InvalidJob) as error:
        sys.stderr.write(f"runq: {error}\n")
        return 1
    return _done(given, receipts, [job], silent=not given.get("json"))


def _submit(
    jobs: Sequence[NewJob], origin: Origin, environ: Mapping[str, str], home: Home, folder: str
) -> list[Receipt]:
    """Store jobs; a hook's go to the spool when the database cannot take them in time (no receipts then)."""
    chosen = settings_module.load(home, environ)
    admissions = prepare(jobs, origin, settings=chosen, home=home, environ=environ, folder=folder, now=time.time())
    hook = origin.caller == "hook"
    try:
        return _queue(home, chosen, environ, HOOK_PATIENCE if hook else PATIENCE).admit(admissions)
    except StoreError:
        if not hook:
            raise
        from queue_core import spool
        from queue_core.home import prepare as prepare_home

        prepare_home(home)
        spool.leave(home, admissions, now=time.time())
        return []


def _queue(home: Home, chosen: Settings, environ: Mapping[str, str], patience: float) -> Queue:
    return Queue(SqliteStore(home, patience=patience), home, chosen, environ)


def _caller(environ: Mapping[str, str], home: Home, *, hook_verb: bool) -> Caller:
    def of_job(job_id: int) -> Caller | None:
        return SqliteStore(home).caller_of(job_id)

    return caller_of(environ, hook_verb=hook_verb, caller_of_job=of_job)


def _job(given: Given, argv: tuple[str, ...], stdin: bytes | None) -> NewJob:
    """The job that the options ask for."""
    values = dict(given.values)
    stdin_path = None
    source = values.pop("stdin", None)
    if source == "-":
        stdin = sys.stdin.buffer.read() if stdin is None else stdin
    elif source is not None:
        stdin, stdin_path = None, os.path.abspath(os.path.expanduser(source))
    made: dict[str, Any] = {
        key: tuple(value) if type(value) is list else value
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
            "after",
            "after_any",
            "after_failure",
        )
    }
    for key in ("after", "after_any", "after_failure"):
        if key in values:
            made[key] = tuple(_needed(text) for text in values[key])
    for key in ("env", "meta"):
        if key in values:
            made[key] = dict(_pair(key, text) for text in values[key])
    if "lock" in values or "at" in values or "on_dead" in values:
        made.update(_rarer(values))
    return NewJob(argv=argv, stdin=stdin, stdin_path=stdin_path, **made)


def _rarer(values: Mapping[str, Any]) -> dict[str, Any]:
    from queue_core.submission import lock, time_of

    made: dict[str, Any] = {}
    if "lock" in values:
        made["locks"] = tuple(lock(text) for text in values["lock"])
    if "at" in values:
        made["at"] = time_of(values["at"])
    if "on_dead" in values:
        made["on_dead"] = _json_argv(values["on_dead"])
    return made


def _needed(text: str) -> int:
    from queue_core.cli.options import job_id

    return job_id(text)


def _pair(option: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--{option} takes NAME=VALUE, not {text!r}")
    return name, value


def _json_argv(text: str) -> tuple[str, ...]:
    from queue_core.fastjson import loads
    from queue_core.shapes import is_texts

    try:
        words: Any = loads(text)
    except ValueError:
        words = None
    if not is_texts(words) or not words:
        raise UsageError(f'--on-dead takes a JSON list of texts such as \'["notify", "failed"]\', not {text!r}')
    return tuple(words)


def _jobs_of_file(given: Given) -> list[NewJob]:
    """The jobs of a JSON-lines file; the error names the line, and nothing of the file is stored."""
    if given.command is not None:
        raise UsageError("give either --file or a command behind `--`, not both")
    from queue_core.cli.files import read_jobs

    return read_jobs(given.get("file"))


def _payload() -> tuple[bytes, dict[str, Any]]:
    """The hook's JSON; none is fine when a person types the command."""
    from queue_core.fastjson import loads
    from queue_core.shapes import is_object

    raw = b"" if sys.stdin.isatty() else _read_within(0.5)
    try:
        payload: Any = loads(raw.decode("utf-8", "replace")) if raw.strip() else {}
    except ValueError as error:
        raise InvalidJob(f"the hook's input is not valid JSON ({error}); nothing was queued") from None
    if not is_object(payload):
        raise InvalidJob("the hook's input is JSON, but no object; nothing was queued")
    return raw, payload


def _read_within(seconds: float) -> bytes:
    """Standard input until its end, or until nothing comes for so long: a hook must not hang."""
    import select

    poll = select.poll()
    poll.register(0, select.POLLIN)
    chunks: list[bytes] = []
    while poll.poll(int(seconds * 1000)):
        chunk = os.read(0, 1 << 20)
        if not chunk:
            break
        chunks.append(chunk)
    return b"".join(chunks)


def _hook_job(given: Given, raw: bytes, payload: Mapping[str, Any]) -> NewJob:
    from queue_core.template import fill

    return _job(given, fill(given.command or (), payload), raw)


def _done(given: Given, receipts: Sequence[Receipt], jobs: Sequence[NewJob], *, silent: bool) -> int:
    if not silent:
        _say(given, receipts, jobs)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # committed: the interpreter's tidying up would only cost 2 ms


def _say(given: Given, receipts: Sequence[Receipt], jobs: Sequence[NewJob]) -> None:
    if given.get("json"):
        from queue_core.fastjson import dumps

        shown = [{"id": one.id, "state": one.state, "existing": one.existing} for one in receipts]
        sys.stdout.write(dumps(shown[0] if given.get("file") is None and shown else shown) + "\n")
        return
    if not receipts:
        sys.stderr.write(
            "The queue is busy: the job is in the spool, and queued as soon as the queue can be written to.\n"
        )
    for receipt, job in zip(receipts, jobs, strict=False):  # fewer, when they went to the spool
        if sys.stdout.isatty():
            sys.stdout.write(_sentence(receipt, job) + "\n")
        else:
            sys.stdout.write(f"{receipt.id}\n")
            if receipt.state == "held":
                sys.stderr.write(_sentence(receipt, job) + "\n")


def _sentence(receipt: Receipt, job: NewJob) -> str:
    from queue_core.cli.text import quoted

    command = quoted(job.argv)
    if receipt.existing:
        return f"Job {receipt.id} with the same unique key is {receipt.state}; nothing was added."
    if receipt.state == "held":
        return f"Job {receipt.id} waits for a person's approval: runq approve {receipt.id} ({command})"
    return f"Queued job {receipt.id} ({receipt.state}): {command}. `runq status {receipt.id}` tells how it goes."
