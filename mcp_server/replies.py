"""What a model is told: short, without nulls, and with what a command wrote marked as just that."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

View = dict[str, Any]

TAIL = 1200  # characters of output in a job's own reply; `output` gives more
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_].*?(?:\x1b\\|$)|[@-Z\\-_])", re.S
)
_SUMMARY = ("id", "state", "queue", "name", "argv", "attempt", "exit_code", "error", "scheduled_at", "finished_at")
_JOB = (
    *("id", "state", "waiting_for", "queue", "priority", "name", "argv", "cwd", "attempt", "max_attempts"),
    *("outcome", "exit_code", "signal", "error", "created_at", "scheduled_at", "started_at", "finished_at", "meta"),
)
_ATTEMPT = ("claim", "outcome", "exit_code", "signal", "error", "finished_at")


def job(view: View) -> View:
    """One job: what has a value, the attempts if there were several, the end of its output."""
    reply = without_nulls({key: view[key] for key in _JOB if key in view})
    if len(view["attempts"]) > 1:
        reply["attempts"] = [without_nulls({key: one[key] for key in _ATTEMPT}) for one in view["attempts"][-5:]]
    tail = clean(view["output_tail"])
    if tail:
        reply["output_tail"] = tail if len(tail) <= TAIL else "…" + tail[-TAIL:]
    if reply.get("priority") == "normal":
        del reply["priority"]
    return reply


def summary(view: View) -> View:
    """A job as a line of a list."""
    return without_nulls({key: view[key] for key in _SUMMARY})


def status(view: View) -> View:
    """The queue at a glance: states and queues that have something in them."""
    counts = {state: n for state, n in view["counts"].items() if n}
    health = without_nulls(view["health"])
    reply = {"counts": counts, "worker": view["worker"], "health": health}
    if len(view["queues"]) > 1 or any(queue["paused"] for queue in view["queues"].values()):
        reply["queues"] = {name: _queue(queue) for name, queue in list(view["queues"].items())[:20]}
    return reply


def _queue(view: View) -> View:
    quiet = ("succeeded", "cancelled", "parallelism")
    return {key: value for key, value in view.items() if value and key not in quiet}


def without_nulls(view: View) -> View:
    """The same without what says nothing: null, empty texts, lists and objects."""
    return {key: value for key, value in view.items() if value is not None and value not in ("", [], {})}


def clean(text: str) -> str:
    """Output as text that a model may read: no control sequences, no invisible characters.

    What a command writes is untrusted: terminal escapes hide text from people, and format characters
    (Unicode Cc and Cf) hide it in plain sight.
    """
    text = _ESCAPES.sub("", text.replace("\r\n", "\n"))
    if text.isascii() and text.isprintable():
        return text
    return "".join(character for character in text if character in "\n\t" or _visible(character))


def _visible(character: str) -> bool:
    return unicodedata.category(character) not in ("Cc", "Cf")


def grep(text: str, pattern: str) -> str:
    """The lines that hold a text (no pattern language: it could take for ever on a hostile output)."""
    return "\n".join(line for line in text.splitlines() if pattern in line)


def moved(pairs: list[tuple[int, Any]]) -> list[View]:
    """Jobs with the state that each is in now."""
    return [{"id": job_id, "state": state} for job_id, state in pairs]
