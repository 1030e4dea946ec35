"""Who asks: a person, a hook or an agent. It follows from the entry point, never from a parameter.

Measured on Claude Code 2.1.330: its hooks carry `CLAUDECODE` and `CLAUDE_PROJECT_DIR`, a command in an
agent's own shell carries `CLAUDECODE` without it. Somebody with an unrestricted shell of the same user
can pretend to be anyone; SECURITY.md says so.
"""

from __future__ import annotations

import os

from queue_core.model import Origin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from queue_core.model import Caller

# What the shells of agents set: Claude Code, Gemini CLI, Cursor, Codex, OpenCode; and by convention any other.
AGENT_MARKS = (
    *("CLAUDECODE", "GEMINI_CLI", "CURSOR_AGENT", "OPENCODE", "AI_AGENT"),
    *("CODEX_SANDBOX", "CODEX_SANDBOX_NETWORK_DISABLED", "CODEX_THREAD_ID"),
)
LONGEST_SESSION = 1000  # characters of a session's id that are kept: a hook's payload may say anything


def caller_of(environ: Mapping[str, str], *, hook_verb: bool, caller_of_job: Callable[[int], Caller | None]) -> Caller:
    """The caller of a CLI verb in this environment; inside a queued job, that job's caller, or a lesser one.

    An agent's shell is an agent's wherever it runs: a person may have queued the agent itself.
    """
    hook = under_hook(environ)
    if not hook and any(environ.get(mark) for mark in AGENT_MARKS):
        return "agent"
    here: Caller = "hook" if hook or hook_verb else "person"
    inside = environ.get("RUNQ_JOB_ID")
    if not inside:
        return here
    queued_by = caller_of_job(int(inside)) if _is_id(inside) else None
    return next(caller for caller in _LEAST_FIRST if caller in (here, queued_by or "agent"))


_LEAST_FIRST: tuple[Caller, ...] = ("agent", "hook", "person")


def scope_of(origin: Origin, isolation: str) -> str | None:
    """The project whose jobs alone this one may see and touch; None: all jobs. An agent without a project sees none."""
    if isolation == "none" or origin.caller != "agent":
        return None
    return origin.project or ""


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19  # what the database can hold


def under_hook(environ: Mapping[str, str]) -> bool:
    """Whether this process was started by a client's hook (which wants silence)."""
    return bool(environ.get("CLAUDECODE") and environ.get("CLAUDE_PROJECT_DIR"))


def origin_of(environ: Mapping[str, str], caller: Caller, *, session: str | None = None) -> Origin:
    """The caller with the session and project that the environment tells of.

    Whoever works in / (some desktops start their servers there) has no project: nothing lies outside of it.
    """
    folder = environ.get("CLAUDE_PROJECT_DIR") or (None if caller == "person" else os.getcwd())
    session = session or environ.get("CLAUDE_CODE_SESSION_ID") or None
    return Origin(
        caller=caller,
        session=session[:LONGEST_SESSION] if session else None,
        project=folder if folder != "/" else None,
    )
