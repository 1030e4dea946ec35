"""What a model is told: short, without nulls, and with what a command wrote marked as just that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from mcp_server.text import clean, escaped, headed
from mcp_server.wording import for_agents
from queue_core.views import how_to_approve

View = dict[str, Any]

TAIL = 1200  # characters of output in a job's own reply; `output` gives more
SHORT_TAIL = 400  # and where there are several jobs
MOST_WORDS, LONGEST_WORD = 40, 300  # of an argv that is shown
MOST_SHOWN = 20  # jobs of a bulk, queues of a status
_SUMMARY = (
    "id",
    "state",
    "queue",
    "name",
    "argv",
    "handler",
    "attempt",
    "exit_code",
    "error",
    "scheduled_at",
    "finished_at",
    "escalated_to",
)
_JOB = (
    *("id", "state", "waiting_for", "progress", "queue", "priority", "name"),
    *("argv", "handler", "arguments", "on_dead", "cwd"),
    *("attempt", "max_attempts"),
    *(
        "outcome",
        "exit_code",
        "signal",
        "error",
        "created_at",
        "scheduled_at",
        "started_at",
        "finished_at",
        "meta",
        "result",
    ),
)
_ENDED = ("id", "state", "waiting_for", "progress", "outcome", "exit_code", "signal", "error", "escalated_to")
_ATTEMPT = ("claim", "outcome", "exit_code", "signal", "error", "finished_at")


def job(view: View) -> View:
    """One job: what has a value, the attempts if there were several, the end of its output."""
    reply = _chosen(view, _JOB)
    if view["chain"]:
        reply["handed_over"] = " -> ".join(map(_link, view["chain"]))
    if len(view["attempts"]) > 1:
        reply["attempts"] = [_chosen(one, _ATTEMPT) for one in view["attempts"][-5:]]
    return reply | _output_tail(view, TAIL)


def _link(view: View) -> str:
    name = view["handler"] if "handler" in view else view["argv"][0].rpartition("/")[2]
    return f"{view['id']} {escaped(name)[:LONGEST_WORD]} ({view['state']})"


def ended(view: View) -> View:
    """One of several jobs that were waited for."""
    return _chosen(view, _ENDED) | _output_tail(view, SHORT_TAIL)


def summary(view: View) -> View:
    """A job as a line of a list: without what its other parts say."""
    reply = _chosen(view, _SUMMARY)
    if reply.get("error") == f"exited with code {reply.get('exit_code')}":
        del reply["error"]
    if reply.get("attempt") in (0, 1):
        del reply["attempt"]
    return reply


def full(view: View) -> View:
    """Everything that may be shown of a job, in words for agents."""
    return without_nulls(_worded(view) | {"output_tail": headed(clean(view["output_tail"]), view["id"])})


def status(view: View) -> View:
    """The queue at a glance: states and queues that have something in them."""
    counts = {state: n for state, n in view["counts"].items() if n}
    reply: View = {"counts": counts, "worker": view["worker"], "health": health(view["health"])}
    queues: Mapping[str, View] = view["queues"]
    if len(queues) > 1 or any(queue["paused"] for queue in queues.values()):
        reply["queues"] = {name: _queue(queue) for name, queue in list(queues.items())[:MOST_SHOWN]}
    if len(queues) > MOST_SHOWN:
        reply["note"] = f"{len(queues) - MOST_SHOWN} more queues"
    return reply


def health(view: View) -> View:
    """How full the queue is, and what needs attention."""
    return without_nulls({**view, "problems": [for_agents(problem) for problem in view["problems"]]})


def moved(pairs: Iterable[tuple[int, Any]]) -> View:
    """Jobs with the state that each is in now; of many, the first ones and how many there are of each state."""
    jobs: list[View] = [{"id": job_id, "state": state} for job_id, state in pairs]
    reply: View = {"jobs": jobs[:MOST_SHOWN]}
    if len(jobs) > MOST_SHOWN:
        reply["counts"] = counted(one["state"] for one in jobs)
    if any(one["state"] == "held" for one in jobs):
        whose = "the user's rules do not cover those that are held"
        reply["next"] = f"{whose}: ask the user to {how_to_approve('ID')} in a terminal"
    return reply


def counted(states: Iterable[str]) -> dict[str, int]:
    """How many there are of each state."""
    counts: dict[str, int] = {}
    for state in states:
        counts[state] = counts.get(state, 0) + 1
    return counts


def _queue(view: View) -> View:
    quiet = ("succeeded", "cancelled", "parallelism")
    return {key: value for key, value in view.items() if value and key not in quiet}


def _chosen(view: View, keys: Sequence[str]) -> View:
    """What has a value and is not what one would think anyway."""
    chosen = without_nulls({key: view[key] for key in keys if key in view})
    for key, usual in (("queue", "default"), ("priority", "normal")):
        if chosen.get(key) == usual:
            del chosen[key]
    if "argv" in chosen:
        chosen["argv"] = _shortened(chosen["argv"])
    if "on_dead" in chosen:
        chosen["on_dead"] = [_shortened(argv) for argv in chosen["on_dead"]]
    return _worded(chosen)


def _worded(view: View) -> View:
    """A hook fills file names into jobs, and a file's name can hide text from people as well as output can."""
    worded: View = {key: escaped(value) if isinstance(value, str) else value for key, value in view.items()}
    if worded.get("waiting_for"):
        worded["waiting_for"] = for_agents(worded["waiting_for"])
    if "argv" in worded:
        worded["argv"] = [escaped(word) for word in worded["argv"]]
    if "on_dead" in worded:
        worded["on_dead"] = [[escaped(word) for word in argv] for argv in worded["on_dead"]]
    for key in ("arguments", "result"):
        if key in worded:
            worded[key] = _escaped_within(worded[key])
    if "chain" in worded:
        worded["chain"] = [_worded(link) for link in worded["chain"]]
    if "meta" in worded:
        worded["meta"] = {escaped(key): escaped(value) for key, value in worded["meta"].items()}
    return worded


def said(sentence: str) -> str:
    """A sentence of the queue's, which may quote what an agent or a file's name has said, in words for agents."""
    return for_agents(escaped(sentence))


def _escaped_within(value: Any) -> Any:
    """The same for the texts within a JSON value."""
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, list):
        return [_escaped_within(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        found = cast("dict[str, Any]", value)
        return {escaped(key): _escaped_within(item) for key, item in found.items()}
    return value


def _shortened(argv: Sequence[str]) -> list[str]:
    words = [word if len(word) <= LONGEST_WORD else word[:LONGEST_WORD] + "…" for word in argv[:MOST_WORDS]]
    return words if len(argv) <= MOST_WORDS else [*words, f"… {len(argv) - MOST_WORDS} more"]


def _output_tail(view: View, longest: int) -> View:
    tail = clean(view["output_tail"])
    if not tail:
        return {}
    return {"output_tail": headed(tail if len(tail) <= longest else "…" + tail[-longest:], view["id"])}


def without_nulls(view: View) -> View:
    """The same without what says nothing: null, empty texts, lists and objects."""
    return {key: value for key, value in view.items() if value is not None and value not in ("", [], {})}
