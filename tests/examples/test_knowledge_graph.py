"""examples/knowledge_graph as its user runs it: hooks with a client's environment, a program, a terminal."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.test_docs import blocks
from tests.worker.conftest import ROOT, Rig

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE = ROOT / "examples" / "knowledge_graph"
HOOKS: dict[str, Any] = json.loads((EXAMPLE / "hooks.json").read_text())["hooks"]
SCRIPTS = str(Path(sys.executable).parent)
PAYLOAD = {
    "session_id": "s-1",
    "transcript_path": "/talks/a b.jsonl",
    "tool_name": "Write",
    "tool_input": {"file_path": "--private"},
}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    made.env["PATH"] = f"{EXAMPLE}:{SCRIPTS}:{made.env['PATH']}"
    yield made
    made.close()


def fire(rig: Rig, event: str, **payload: Any) -> subprocess.CompletedProcess[str]:
    """One of the example's hooks, as Claude Code runs it."""
    (entry,) = HOOKS[event]
    (hook,) = entry["hooks"]
    env = {**rig.env, "CLAUDECODE": "1", "CLAUDE_PROJECT_DIR": str(rig.folder)}
    return subprocess.run(
        [hook["command"], *hook["args"]],
        input=json.dumps({"hook_event_name": event, **PAYLOAD, **payload}),
        env=env,
        cwd=rig.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def capture(rig: Rig, *words: str, on_terminal: bool = False, **env: str) -> str:
    """The example's program; what it said to a terminal, or in a pipe."""
    argv = [sys.executable, str(EXAMPLE / "capture.py"), *words]
    where = {"env": {**rig.env, **env}, "cwd": rig.folder, "timeout": 30}
    if not on_terminal:
        done = subprocess.run(argv, capture_output=True, text=True, check=True, **where)
        return done.stdout + done.stderr
    ours, theirs = pty.openpty()
    subprocess.run(argv, stdin=theirs, stdout=theirs, stderr=theirs, check=True, **where)
    said = os.read(ours, 65536).decode() if _readable(ours) else ""
    os.close(theirs)
    os.close(ours)
    return said


def _readable(descriptor: int) -> bool:
    import select

    return bool(select.select([descriptor], [], [], 0)[0])


def notes(rig: Rig) -> list[dict[str, Any]]:
    path = rig.folder / "graph.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_hooks_queue_in_silence_and_their_commands_are_replayed_with_the_barrier_last(rig: Rig) -> None:
    for event in ("Stop", "PostToolUse", "SessionEnd"):
        payload = {"tool_input": {"file_path": "/src/a.py"}} if event == "PostToolUse" else {}
        done = fire(rig, event, **payload)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    jobs = json.loads(rig.runq("list", "--json").stdout)["jobs"]
    assert [(job["caller"], job["queue"]) for job in jobs] == [("hook", "graph")] * 3
    rig.drain()
    *documents, rebuilt = notes(rig)
    assert sorted((note["title"], note["file"], *note["tag"]) for note in documents) == [
        ("edited", "/src/a.py", "Write"),
        ("s-1", "/talks/a b.jsonl", "conversation"),
    ]
    assert rebuilt == {"verb": "rebuild", "documents": 2}


def test_a_file_name_cannot_become_an_option(rig: Rig) -> None:
    assert fire(rig, "PostToolUse").returncode == 1
    assert json.loads(rig.runq("list", "--json").stdout)["jobs"] == []


def test_two_ends_of_a_session_make_one_rebuild(rig: Rig) -> None:
    fire(rig, "SessionEnd")
    fire(rig, "SessionEnd")
    rig.drain()
    assert [note["verb"] for note in notes(rig)] == ["rebuild"]


def test_keyword_arguments_become_flags_and_a_terminal_is_told(rig: Rig) -> None:
    said = capture(rig, "diary of today", "d.md", "mine", "daily", on_terminal=True)
    assert said.startswith("Queued job 1 (available): graph add d.md --title 'diary of today' --tag mine")
    assert capture(rig, "Plain", "p.md") == ""
    hook = {"CLAUDECODE": "1", "CLAUDE_PROJECT_DIR": str(rig.folder)}
    assert capture(rig, "From a hook", "h.md", on_terminal=True, **hook) == ""
    rig.drain()
    by_file = {note["file"]: note for note in notes(rig)}
    assert by_file["d.md"]["private"] is True
    assert by_file["d.md"]["tag"] == ["mine", "daily"]
    assert (by_file["p.md"]["private"], by_file["p.md"]["tag"]) == (False, [])
    assert set(by_file) == {"d.md", "p.md", "h.md"}


def test_a_graph_that_is_down_is_tried_after_10_20_and_40_seconds(rig: Rig) -> None:
    del rig.env["RUNQ_BACKOFF_BASE"]
    (rig.folder / "graph.down").touch()
    job = rig.add("--queue", "graph", "--", "graph", "rebuild")
    for wait in (10, 20, 40):
        rig.drain()
        backing_off = rig.job(job)
        assert backing_off.state == "scheduled"
        assert backing_off.due_at is not None
        assert backing_off.attempts[-1].finished_at is not None
        assert wait <= backing_off.due_at - backing_off.attempts[-1].finished_at < 2 * wait
        rig.make_due(job)
    rig.drain()
    assert rig.outcomes(job) == [("exited", 75)] * 4
    assert rig.output(job) == "graph: the server does not answer\n"


def test_what_failed_for_good_is_a_dead_letter_that_can_be_replayed(rig: Rig) -> None:
    (rig.folder / "graph.down").touch()
    fire(rig, "Stop")
    for _ in range(4):
        rig.drain()
        rig.make_due(1)
    assert rig.state(1) == "dead"
    assert "1 dead letter" in rig.runq("health", "--json").stdout
    (rig.folder / "graph.down").unlink()
    rig.runq("dead", "retry", "--all")
    rig.drain()
    assert [note["title"] for note in notes(rig)] == ["s-1"]


def test_the_lines_of_its_readme_do_what_it_says(rig: Rig) -> None:
    folder = rig.folder / "knowledge_graph"
    shutil.copytree(EXAMPLE, folder)
    done = subprocess.run(
        ["sh", "-c", "\n".join(blocks((folder / "README.md").read_text(), "sh"))],
        env={**rig.env, "TMPDIR": str(rig.folder)},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if not line.startswith("Done: ")] == []
    assert "Done: 1 dead. Remaining: nothing." in done.stderr
    warning, _, error = done.stdout.partition("level\twarning\n")[2].partition("level\terror\n")
    assert (warning.split()[-1:], error.split()[-1:]) == (["1"], ["2"]), "the exit codes that it names"
    verbs = [json.loads(line)["verb"] for line in (folder / "graph.jsonl").read_text().splitlines()]
    assert verbs == ["add", "add", "rebuild", "rebuild"], "the last one was a dead letter before"


@pytest.mark.parametrize(("waiting", "code", "level"), [(7, 0, "ok"), (8, 1, "warning"), (10, 2, "error")])
def test_health_warns_at_80_percent_and_is_an_error_at_100(rig: Rig, waiting: int, code: int, level: str) -> None:
    rig.env["RUNQ_CAPACITY"] = "10"
    for number in range(waiting):
        fire(rig, "Stop", session_id=f"s-{number}")
    assert json.loads(rig.runq("health", "--json", code=code).stdout)["level"] == level
