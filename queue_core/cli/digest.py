"""`runq digest`: what an agent is told of its project's jobs when a session starts, and at every prompt. Lean."""

from __future__ import annotations

import os
import sys
import time

from queue_core import told
from queue_core.callers import under_hook
from queue_core.cli import payload
from queue_core.cli.options import Given, Verb
from queue_core.digest import words
from queue_core.errors import QueueError, SettingsError
from queue_core.home import locate, prepare
from queue_core.sqlite.news import look
from queue_core.value import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from queue_core.home import Home
    from queue_core.sqlite.news import Look

FIRST_LOOK = 86_400.0  # seconds that a project's very first digest goes back
VERBS = {
    "digest": Verb(
        name="digest",
        summary="Tell an agent, from a hook at SessionStart and UserPromptSubmit, what of its project's jobs finished, "
        "failed for good or waits for approval since it last looked. Each thing is told once; without news nothing is "
        "printed. It reads the hook's JSON on stdin and never fails under a hook.",
        more="What hooks have captured (in the queue `capture`) and went well is told when a session starts, or beside "
        "other news. "
        "Typed by hand it shows what an agent of this folder would be told now, and remembers nothing.",
        example="runq digest",
    ),
}


def run_digest(given: Given) -> int:
    """`runq digest`: under a hook nothing that goes wrong is the session's business."""
    environ = os.environ
    said = _payload()
    if not under_hook(environ) and "hook_event_name" not in said:
        return _show(environ)
    try:
        _tell(environ, said)
    except Exception:  # noqa: S110 - whatever it is: the next one tells it
        pass
    return 0


def _payload() -> dict[str, Any]:
    """The hook's JSON; one that makes no sense is none."""
    try:
        return payload.read()[1]
    except (QueueError, OSError):
        return {}


def _tell(environ: Mapping[str, str], said: Mapping[str, Any]) -> None:
    home, project = locate(environ), _project(environ, said)
    if project is None or not os.path.exists(home.database):
        return
    session = _text(said.get("session_id")) or environ.get("CLAUDE_CODE_SESSION_ID") or ""
    standing = told.recall(home, session, project)
    if said.get("source") == "clear":  # the agent has forgotten it
        standing = replace(standing, held=frozenset(), full=False)
    quiet = standing.begun and said.get("hook_event_name") == "UserPromptSubmit"
    found = _look(home, environ, standing, session, project, quiet=quiet)
    _print(words(found.news))  # first: what was not delivered is told again
    if found.changed or not standing.begun:
        told.remember(home, session, project, found.told, news=found.changed, anew=found.anew)


def _show(environ: Mapping[str, str]) -> int:
    """For a person's eyes: nothing is remembered."""
    home, project = locate(environ), os.getcwd()
    text = ""
    if os.path.exists(home.database):
        text = words(_look(home, environ, told.recall(home, "", project), "", project, quiet=False).news)
    _print(text or "nothing new\n")
    return 0


def _print(text: str) -> None:
    """At once, and as UTF-8 whatever the locale: what is left in a buffer could still fail when the process ends."""
    if text:
        os.write(sys.stdout.fileno(), text.encode("utf-8", "replace"))


def _look(
    home: Home, environ: Mapping[str, str], standing: told.Told, session: str, project: str, *, quiet: bool
) -> Look:
    prepare(home)  # refuses a folder that others could have filled

    def is_full(waiting: int) -> bool:
        from queue_core import settings

        try:
            return waiting >= settings.load(home, environ).capacity
        except SettingsError:  # every verb that needs them says so
            return False

    since = time.time() - FIRST_LOOK
    return look(home, standing, session=session, project=project, since=since, quiet=quiet, is_full=is_full)


def _project(environ: Mapping[str, str], said: Mapping[str, Any]) -> str | None:
    """The folder whose jobs are meant, as jobs have it; None where there is none."""
    folder = environ.get("CLAUDE_PROJECT_DIR") or _text(said.get("cwd")) or os.getcwd()
    return folder if folder != "/" else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
