"""An upgrade or removal of runq under the feet of a worker and its keeper: both go on, and end well.

They run from a copy of the tree, whose files are then replaced by ones that cannot be imported.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from queue_core.worker import whole
from tests import claims
from tests.helpers import wait_until
from tests.test_architecture import MODULES, imports

from .conftest import PATIENCE, ROOT, Rig, alive

pytestmark = pytest.mark.claim("migration")

BROKEN = "raise ImportError('this file is of another version')\n"


def replace(tree: Path) -> None:
    """Every file, and what Python has compiled of it."""
    for path in tree.rglob("*.py"):
        path.write_text(BROKEN)
    for folder in list(tree.rglob("__pycache__")):
        shutil.rmtree(folder)


# Where what a worker does without is imported, in functions only: each for what no worker is asked for.
ASIDE = {
    ("look", "figures"),
    ("service", "job_files"),
    ("settings", "setting_table"),
    ("sqlite.reading", "sqlite.figures"),
}


def test_a_worker_imports_all_that_it_may_need_before_it_works() -> None:
    """All of runq, but for what only others come to need."""
    ours = {name for name in MODULES if name.startswith("queue_core") and not f"{name}.".startswith("queue_core.cli.")}
    assert ours >= whole.LEFT_OUT
    kept = ours - whole.LEFT_OUT - {"queue_core"}  # that has names for the library's users
    found = {(name, other) for name in kept for other in imports(name) & whole.LEFT_OUT}
    assert found == {(f"queue_core.{name}", f"queue_core.{other}") for name, other in ASIDE}
    code = "import sys\nfrom queue_core.worker import main, whole\nwhole.import_whole()\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ours - set(done.stdout.split()) == whole.LEFT_OUT


@pytest.mark.parametrize("how", ["replaced", "removed"])
def test_what_runs_goes_on_and_ends_well(rig: Rig, how: str) -> None:
    tree = rig.folder / "tree"
    for package in ("queue_core", "mcp_server"):
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    worker = rig.start_program(
        sys.executable, "-P", "-m", "queue_core.launch", "work", PYTHONPATH=str(tree), RUNQ_OUTPUT_CAP_MB="1"
    )
    wait_until(lambda: worker.pid in rig.queue.live_workers().values(), "a worker is up", PATIENCE)
    running = rig.sh(f"{rig.gate().wait}; echo ghp_a1B2c3D4e5a1B2c3D4e5a1B2c3D4e5f6G7h8; exit 3", "--retries", "0")
    rig.pid_of(running)
    replace(tree) if how == "replaced" else shutil.rmtree(tree)
    rig.gate().open()
    rig.reaches(running, "dead")
    assert rig.outcomes(running) == [("exited", 3)]

    # What a worker may be asked for from now on, each for the first time in its life.
    jobs = {
        "a retry": rig.sh("[ -e second ] || { touch second; exit 1; }"),
        "a time-out": rig.sh("exec sleep 99", "--timeout", "0.1", "--retries", "0"),
        "an agent's": rig.sh("true", env={"CLAUDECODE": "1"}),
        "a missing program": rig.add("--retries", "0", "--cwd", str(rig.folder), "--", "/bin/true"),
        "a large output": rig.sh("yes | head -c 3000000"),
        "input": rig.sh("cat", "--stdin", "-", input="read me"),
        "a hand-over": rig.sh("exit 1", "--retries", "0", "--on-dead", '["sh", "-c", "touch handed"]'),
        "sequential": rig.add("--sequential", "--", "true"),
        "a lock": rig.add("--lock", "one", "--", "true"),
    }
    rig.runq("approve", str(jobs["an agent's"]))
    rig.runq("schedule", "add", "beat", "--every", "1s", "--", "sh", "-c", "touch beat")
    cancelled = rig.sh("exec sleep 99")
    rig.reaches(cancelled, "running")
    pid = rig.pid_of(cancelled)
    rig.runq("cancel", str(cancelled))
    rig.reaches(cancelled, "cancelled")
    assert not alive(pid)
    for name, job in jobs.items():
        assert rig.reaches(job, "succeeded", "dead").state == ("dead" if "-" in name else "succeeded"), name
    for name in ("beat", "handed"):
        wait_until((rig.folder / name).exists, name, PATIENCE)
    left = rig.sh("sleep 0.3; exit 4", "--retries", "0")
    rig.pid_of(left)
    rig.runq("work", "--stop")
    code, _, said = worker.left()
    assert code == 0, said
    assert rig.outcomes(left) == [("exited", 4)]
    wait_until(lambda: not rig.keepers(), "its keeper has left", PATIENCE)
    assert "Error" not in rig.log() and "another version" not in rig.log(), rig.log()
    claims.tried("migration", upgrades=1)
