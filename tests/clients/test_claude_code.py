"""The real Claude Code, the real server over stdio, real hooks; the model alone is a script."""

import json
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from queue_core.jobs import Filter, Job
from queue_core.version import VERSION
from tests.clients.claude import BY_HAND, PLUGIN, Session, Terminal, claude, has_a_server, hooked, settings
from tests.clients.scripted_model import Hold, Say, ScriptedModel, Use
from tests.helpers import wait_until
from tests.mcp.places import ROOT, Place

DIGEST = settings(SessionStart=hooked("digest"), UserPromptSubmit=hooked("digest"))
CAPTURE = ("hook", "--queue", "capture", "--", "echo")
PATIENCE = 60  # seconds, on a machine that is busy with other things
GATED = "echo run >> ran; read line < gate"


def let_go(gate: Path) -> None:
    """Let the command go that waits at its gate."""

    def wrote() -> bool:
        try:
            descriptor = os.open(gate, os.O_WRONLY | os.O_NONBLOCK)  # a command that is dead would hang the test else
        except OSError:
            return False
        os.write(descriptor, b"go\n")
        os.close(descriptor)
        return True

    wait_until(wrote, "the command waits at its gate", PATIENCE)


def jobs_in(place: Place, queue: str) -> list[Job]:
    """All jobs of one queue."""
    return [place.job(job_id) for job_id in place.queue.ids(Filter(queue=queue))]


@pytest.mark.parametrize("end", ["as usual", "SIGKILL in mid-turn"])
def test_what_a_session_queued_is_run_and_told_by_the_next(place: Place, end: str) -> None:
    """The first job runs while its session ends, the second only waits: each is told once, and as it ended."""
    place.configure(agents="allow")
    place.pause("later")
    os.mkfifo(place.project / "gate")
    queue = [
        Use("mcp__runq__enqueue", {"argv": ["sh", "-c", GATED], "name": "goes-on"}),
        Use("mcp__runq__enqueue", {"argv": ["sh", "-c", "exit 3"], "name": "waits", "queue": "later", "retries": 0}),
    ]
    killed = end != "as usual"
    with ScriptedModel() as model:
        with Session(place, model, *BY_HAND, *DIGEST) as session:
            session.connect()
            model.say(*queue, Hold() if killed else Say("Queued."))
            if killed:
                session.send("queue both")
                wait_until(model.holding.is_set, "both are queued", PATIENCE)
            else:
                assert session.ask("queue both") == "Queued."
            wait_until((place.project / "ran").exists, "the first command runs", PATIENCE)
            if killed:
                session.process.kill()
                assert session.process.wait() == -signal.SIGKILL
            else:
                assert session.end() == 0
            assert [json.loads(result.splitlines()[0])["id"] for result in model.results] == [1, 2]
        wait_until(lambda: not has_a_server(place), "the session's server has left", PATIENCE)
        assert place.job(1).state == "running"
        let_go(place.project / "gate")
        place.end(1)
        wait_until(lambda: not place.queue.live_workers(), "the worker has left", PATIENCE)
        assert place.job(2).state == "available"
        place.queue.pause("later", paused=False)
    with ScriptedModel() as model, Session(place, model, *BY_HAND, *DIGEST) as session:
        session.ask("hello")
        place.end(2)  # by a worker that this session's server has booted
        session.ask("any news?")
        assert session.end() == 0
    assert [place.job(job_id).state for job_id in (1, 2)] == ["succeeded", "dead"]
    assert (place.project / "ran").read_text() == "run\n"
    told = [line for line in model.shown.splitlines() if line.startswith(("- succeeded", "- failed"))]
    assert sorted(told) == ['- failed for good (1): 2 "sh -c exit 3" exit 3', f'- succeeded (1): 1 "sh -c {GATED}"']


CAPTURES = """
[[capture]]
on = "PostToolUse"
tools = ["Write", "Edit"]
argv = ["echo", "plugin wrote", "{tool_input.file_path}"]

[[capture]]
on = ["Stop", "SessionEnd"]
argv = ["echo", "plugin {hook_event_name}", "{session_id}"]
"""


def test_hooks_capture_what_a_session_does_and_the_plugin_brings_all_that_runq_has(place: Place) -> None:
    """Hooks with a template beside those of the plugin, which queue what config.toml says; and a question."""
    (place.home / "config.toml").write_text(CAPTURES)
    asked: list[str] = []

    def once(question: str) -> str:
        asked.append(question)
        return "once"

    place.pause("capture")
    written = place.project / "a file.txt"
    by_hand = settings(
        PostToolUse=hooked(*CAPTURE, "hand wrote", "{tool_input.file_path}") | {"matcher": "Write|Edit"},
        Stop=hooked(*CAPTURE, "hand Stop", "{session_id}"),
        SessionEnd=hooked(*CAPTURE, "hand SessionEnd", "{session_id}", timeout=1),
    )
    writes = Use("Write", {"file_path": str(written), "content": "x"})
    runs = Use("mcp__plugin_runq_runq__run", {"argv": ["echo", "hello"]})
    claude(place, "plugin", "marketplace", "add", ROOT)
    claude(place, "plugin", "install", "runq@runq")
    with ScriptedModel() as model:
        with Session(place, model, *by_hand, tools="mcp__plugin_runq_runq,Write", user=once) as session:
            session.connect()
            model.say(writes, runs, Say("Written."))
            assert session.ask("write it") == "Written."
            assert session.end() == 0
        wait_until(lambda: not has_a_server(place), "the session's server has left", PATIENCE)
    assert written.read_text() == "x"
    assert '"output_tail":"[untrusted output of job' in model.results[1]
    assert ["hello" in question for question in asked] == [True]
    turns = sum(event["type"] == "result" for event in session.events)
    told_of = session.start["session_id"]
    assert Counter(job.argv for job in jobs_in(place, "capture")) == {
        ("echo", f"{who} {what}", of): times
        for who in ("hand", "plugin")
        for what, of, times in (("wrote", str(written), 1), ("Stop", told_of, turns), ("SessionEnd", told_of, 1))
    }
    # Nothing was in the session's way.
    assert {event: {hook["outcome"] for hook in ended} for event, ended in session.hooks.items()} == {
        "SessionStart": {"success"},
        "UserPromptSubmit": {"success"},
        "PostToolUse": {"success"},
        "Stop": {"success"},
    }
    assert session.said_wrong == ""
    # What there is of runq in a session.
    start = session.start
    assert [server["name"] for server in start["mcp_servers"]] == ["plugin:runq:runq"]
    assert "runq:queue" in start["skills"]
    assert "mcp__plugin_runq_runq__triage_dead_letters" in start["slash_commands"]
    assert [plugin["version"] for plugin in start["plugins"] if plugin["name"] == "runq"] == [VERSION]
    assert "- runq:queue: How to use runq" in model.shown


def test_on_a_terminal_a_run_is_a_task_that_wakes_the_session_with_its_result(place: Place) -> None:
    place.configure(agents="allow")
    os.mkfifo(place.project / "gate")
    with ScriptedModel() as model, Terminal(place, model, *BY_HAND) as terminal:
        terminal.connect()
        model.say(Use("mcp__runq__run", {"argv": ["sh", "-c", f"{GATED}; echo six times $((6 * 7)); exit 4"]}))
        terminal.ask("go")
        wait_until(lambda: len(model.results) == 1, "the call has come back", PATIENCE)
        assert "keeps running on the server" in model.results[0]
        let_go(place.project / "gate")  # nobody types anything from here on
        wait_until(lambda: "<task-notification>" in model.shown, "the session has been woken", PATIENCE)
    assert "<status>failed</status>" in model.shown and "six times 42" in model.shown
    assert place.job(1).exit_code == 4


def test_the_plugin_and_its_marketplace_are_valid(place: Place) -> None:
    for folder in (PLUGIN, ROOT):
        assert "Validation passed" in claude(place, "plugin", "validate", "--strict", folder)
