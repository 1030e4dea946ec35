"""examples/agents as its user runs it: a plan from a file, a pool, escalation from agent to agent."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers import wait_until
from tests.worker.conftest import ROOT, Rig

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE = ROOT / "examples" / "agents"
SCRIPTS = str(Path(sys.executable).parent)
STEPS = ["schema", "api", "ui", "docs", "tests", "release", "excuse", "report"]
ENDS = dict.fromkeys(STEPS, "succeeded") | {"api": "dead", "ui": "dead", "release": "dead"}
JOURNAL = [
    "aider: easy: draw the schema",
    "aider: easy: write the docs",
    "codex: tricky: write the API",
    "claude: hard: write the UI",
    "codex: tricky: test it all",
    "codex: easy: say why not",
    "claude: easy: report",
]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    made.env["PATH"] = f"{EXAMPLE / 'bin'}:{SCRIPTS}:{made.env['PATH']}"
    shutil.copy(EXAMPLE / "config.toml", made.home)
    (made.home / "config.toml").chmod(0o600)
    yield made
    made.close()


def jobs(rig: Rig, *words: str) -> list[dict[str, Any]]:
    return json.loads(rig.runq("list", "--json", "--limit", "100", *words).stdout)["jobs"]


def drained(rig: Rig) -> bool:
    rig.runq("work", "--until-empty", "--parallelism", "3")
    return not rig.queue.store.waiting()


def check(rig: Rig, ids: list[int]) -> None:
    """Everything went as the plan and the rules say."""
    assert {step: rig.state(job) for step, job in zip(STEPS, ids, strict=True)} == ENDS
    journal = rig.lines("journal.txt")
    assert sorted(journal) == sorted(JOURNAL)
    assert journal[0] == JOURNAL[0]
    tested = journal.index("codex: tricky: test it all")
    assert {journal.index(line) < tested for line in JOURNAL[2:4]} == {True}
    chain = rig.status(ids[2])["chain"]
    assert [(one["argv"][0], one["state"]) for one in chain] == [
        ("aider", "dead"),
        ("codex", "dead"),
        ("claude", "succeeded"),
    ]


def test_a_plan_is_carried_out_by_a_pool_and_handed_on_by_the_rules(rig: Rig) -> None:
    ids = [int(line) for line in rig.runq("add", "--file", str(EXAMPLE / "plan.jsonl")).stdout.split()]
    wait_until(lambda: drained(rig), "the plan has come to its end", 60)
    check(rig, ids)
    assert {job["id"] for job in jobs(rig, "--meta", "step=build")} > {ids[1], ids[2]}
    assert "1 aider (dead)" not in rig.runq("status", str(ids[2])).stdout
    for link in ("aider (dead)", "codex (dead)", "claude (succeeded)"):
        assert link in rig.runq("status", str(ids[2])).stdout
    stats = json.loads(rig.runq("stats", "--json").stdout)
    assert stats["jobs"]["added"] == len(STEPS) + 3


def test_the_program_does_the_same_with_a_worker_inside(rig: Rig) -> None:
    done = rig.start_program(sys.executable, str(EXAMPLE / "orchestrate.py"), str(EXAMPLE / "plan.jsonl"))
    code, out, err = done.left()
    assert (code, err) == (0, "")
    check(rig, list(range(1, len(STEPS) + 1)))
    assert "aider (dead) -> codex (dead) -> claude (succeeded)" in out


def test_the_schedule_of_its_readme_is_taken(rig: Rig) -> None:
    (line,) = [line for line in (EXAMPLE / "README.md").read_text().splitlines() if line.startswith("runq schedule")]
    import shlex

    rig.runq(*shlex.split(line)[1:])
    (schedule,) = json.loads(rig.runq("schedule", "list", "--json").stdout)["schedules"]
    assert (schedule["name"], schedule["cron"], schedule["tz"]) == ("review", "0 9 * * MON-FRI", "Europe/Berlin")
