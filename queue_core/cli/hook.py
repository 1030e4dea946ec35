"""`runq hook`: a command queued from a client's hook, whose JSON fills the template. Lean, silent, in time."""

from __future__ import annotations

import os
import sys
import time

from queue_core.admission import MAX_STDIN
from queue_core.callers import origin_of
from queue_core.cli.add import JOB_OPTIONS, caller_here, done, job_of, submit
from queue_core.cli.options import Given, Verb
from queue_core.errors import InvalidJob, UsageError
from queue_core.fastjson import loads
from queue_core.home import locate
from queue_core.shapes import is_object
from queue_core.template import fill

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from queue_core.model import NewJob

PATIENCE = 0.5  # seconds that the hook's input may take
VERBS = {
    "hook": Verb(
        name="hook",
        summary="Queue a command from a client's hook: its JSON on stdin fills {placeholders}. Silent, done in time.",
        options=JOB_OPTIONS,
        command=True,
        usage=("[options] -- TEMPLATE...",),
        more="{session_id}, {tool_input.file_path}: what the hook's JSON says there, always as one argument. "
        "--stdin - hands the JSON itself to the command.",
        example="runq hook --queue capture -- my-notes capture --session {session_id}",
    ),
}


def run_hook(given: Given) -> int:
    """`runq hook`: exit 0 or 1, never 2, which would block the client's turn."""
    environ = os.environ
    try:
        home = locate(environ)
        caller = caller_here(environ, home, hook_verb=True)
        raw, payload = _payload()
        job = _hook_job(given, raw, payload)
        session = payload.get("session_id")
        origin = origin_of(environ, caller, session=session if isinstance(session, str) else None)
        receipts = submit([job], origin, environ, home, _folder(payload), hook=True)
    except (UsageError, InvalidJob) as error:
        sys.stderr.write(f"runq: {error}\n")
        return 1
    return done(given, receipts, [job], silent=not given.get("json"))


def _folder(payload: Mapping[str, Any]) -> str:
    """Where the hook's client works, if it says so."""
    said = payload.get("cwd")
    folder = os.path.join(os.getcwd(), said) if isinstance(said, str) else os.getcwd()
    return folder if os.path.isdir(folder) else os.getcwd()


def _payload() -> tuple[bytes, dict[str, Any]]:
    """The hook's JSON; none is fine when a person types the command."""
    raw = b"" if sys.stdin is None or sys.stdin.isatty() else _read_within(PATIENCE)  # pyright: ignore[reportUnnecessaryComparison]
    try:
        payload: Any = loads(raw.decode("utf-8", "replace")) if raw.strip() else {}
    except ValueError as error:
        raise InvalidJob(f"the hook's input is not valid JSON ({error}); nothing was queued") from None
    if not is_object(payload):
        raise InvalidJob("the hook's input is JSON, but no object; nothing was queued")
    return raw, payload


def _read_within(seconds: float) -> bytes:
    """Standard input until its end, or for so long: a hook must not hang. InvalidJob for one that was cut off."""
    import select

    poll = select.poll()
    poll.register(0, select.POLLIN)
    content = b""
    give_up = time.monotonic() + seconds
    while poll.poll(max(0, int((give_up - time.monotonic()) * 1000))):
        chunk = os.read(0, 1 << 20)
        content += chunk
        if not chunk:
            return content
        if len(content) > MAX_STDIN:
            raise InvalidJob(f"the hook's input has more than {MAX_STDIN} bytes; nothing was queued")
    if content and not _is_whole(content):
        raise InvalidJob(f"the hook's input did not end within {seconds} s; nothing was queued")
    return content


def _is_whole(content: bytes) -> bool:
    """Whether it is JSON as it stands: some clients leave the pipe open behind it."""
    try:
        loads(content.decode("utf-8", "replace"))
    except ValueError:
        return False
    return True


def _hook_job(given: Given, raw: bytes, payload: Mapping[str, Any]) -> NewJob:
    return job_of(given, fill(given.command or (), payload), raw)
