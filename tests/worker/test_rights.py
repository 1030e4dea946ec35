"""A command that takes away the right to read or write what is its own run's: that concerns its own job alone.

Root may read everything, so that where the tests run as root, runq runs without that capability.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.helpers import wait_until

from . import conftest
from .conftest import PATIENCE, Rig, alive

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.claim("processes")

JOB = '"$RUNQ_HOME/runs/$RUNQ_JOB_ID"'
WITHOUT = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]
CLOSED = {"record": f"{JOB}/1/record", "claim's folder": f"{JOB}/1", "job's folder": JOB}


@pytest.fixture(autouse=True)
def as_nobody_in_particular(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root may read everything, and there is no setpriv to take that from it")
        monkeypatch.setattr(conftest, "CLI", [*WITHOUT, *conftest.CLI])
    yield


def closed(rig: Rig, code: int) -> list[int]:
    """Jobs whose commands close what is theirs, and wait at the gate; with their worker, who is killed."""
    wait = rig.gate(pause="0.1").wait
    jobs = [
        rig.sh(f"chmod 0 {path}; echo $$ >> pids; {wait}; exit {code}", "--retries", "0") for path in CLOSED.values()
    ]
    worker = rig.worker()
    wait_until(lambda: len(rig.lines("pids")) == len(jobs), "all is closed", PATIENCE)
    worker.kill()
    return jobs


@pytest.mark.claim("truth")
def test_with_its_worker_killed_everything_can_be_looked_at_and_its_true_end_is_found(rig: Rig) -> None:
    jobs = closed(rig, 9)
    for verb in ("status", "list", "health"):
        rig.runq(verb)
    rig.gate().open()
    pids = [int(pid) for pid in rig.lines("pids")]
    wait_until(lambda: not any(map(alive, pids)) and not rig.keepers(), "commands and keeper are gone", PATIENCE)
    rig.drain()
    assert {job: rig.outcomes(job) for job in jobs} == {job: [("exited", 9)] for job in jobs}


@pytest.mark.claim("overlap")
@pytest.mark.claim("again")
def test_with_its_keeper_killed_too_it_is_waited_for_and_counts_as_lost(rig: Rig) -> None:
    jobs = closed(rig, 0)
    rig.kill_keepers()
    rig.runq("status")
    rig.worker()
    rig.reaches(rig.sh("true"), "succeeded")  # the new worker has looked around
    assert {rig.state(job) for job in jobs} == {"running"}
    rig.gate().open()
    assert {rig.reaches(job, "dead").outcome for job in jobs} == {"lost"}
    assert len(rig.lines("pids")) == len(jobs)


def test_where_the_next_attempts_input_cannot_be_laid_no_other_job_waits(rig: Rig) -> None:
    script = f"chmod 0500 {JOB}; exit 1"
    job = rig.sh(script, "--retries", "2", "--stdin", "-", input="read me")
    rig.worker()
    rig.reaches(job, "dead")
    assert rig.outcomes(job) == [("exited", 1), ("spawn_failed", None)]
    assert "was not started" not in rig.log(), "the worker takes no rest"
