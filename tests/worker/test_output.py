"""Output of any size: kept to its cap while it is written, the beginning and the end true, the worker small."""

import pytest

from tests.helpers import wait_until

from .conftest import PATIENCE, Process, Rig

MIB = 1024 * 1024


def most_memory(worker: Process) -> float:
    """The most MiB that a process has ever held."""
    with open(f"/proc/{worker.pid}/status", encoding="ascii") as file:
        peak = next(line for line in file if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 1024


def test_a_gigabyte_is_cut_to_its_cap_and_costs_the_worker_nothing(rig: Rig) -> None:
    worker = rig.worker(RUNQ_OUTPUT_CAP_MB="4")
    small = rig.sh("true")
    rig.reaches(small, "succeeded")
    before = most_memory(worker)
    job = rig.sh("echo BEGIN; yes 0123456789abcde | head -c 1073741824; echo; echo END")
    rig.reaches(job, "succeeded", timeout=60)
    assert most_memory(worker) - before < 5
    assert most_memory(worker) < 80  # an interpreter with anyio and SQLite; nothing of the output
    file = rig.run_dir(job) / "output"
    (attempt,) = rig.job(job).attempts
    assert attempt.output_bytes == 1073741824 + len("BEGIN\n\nEND\n")
    size = file.stat().st_size
    assert size <= 4 * MIB + 100
    assert attempt.cut_bytes + size == pytest.approx(attempt.output_bytes, abs=100)
    with open(file, "rb") as opened:
        head = opened.read(100)
        opened.seek(-100, 2)
        tail = opened.read()
    assert head.startswith(b"BEGIN\n0123456789abcde\n0123456789abcde\n")
    assert tail.endswith(b"0123456789abcde\n\nEND\n")
    assert rig.output(job, "--tail", "1") == "END\n"


def test_hundreds_of_jobs_leave_the_worker_as_small_as_it_was(rig: Rig) -> None:
    worker = rig.worker(RUNQ_PARALLELISM="8", RUNQ_MAX_RUNNING="8")

    def run_all(count: int) -> None:
        jobs = rig.add_all([{"argv": ["true"]} for _ in range(count)])
        wait_until(lambda: rig.state(jobs[-1]) == "succeeded", "the last is done", PATIENCE)

    run_all(100)
    before = most_memory(worker)
    run_all(300)
    assert most_memory(worker) - before < 4


def test_what_runs_can_be_read_while_it_runs(rig: Rig) -> None:
    gate = rig.gate()
    job = rig.sh(f"echo soon; {gate.wait}; echo late")
    rig.worker()
    wait_until(lambda: (rig.run_dir(job) / "output").exists() and rig.output(job), "something was written", PATIENCE)
    assert rig.output(job) == "soon\n"
    assert rig.status(job)["output_tail"] == "soon\n"
    gate.open()
    rig.reaches(job, "succeeded")
    assert rig.output(job) == "soon\nlate\n"


def test_each_attempt_keeps_its_own(rig: Rig) -> None:
    job = rig.sh("echo attempt $RUNQ_CLAIM; [ $RUNQ_CLAIM = 2 ]", "--retries", "1")
    rig.worker()
    rig.reaches(job, "succeeded")
    assert [rig.output(job, "--attempt", number) for number in ("1", "2")] == ["attempt 1\n", "attempt 2\n"]
    assert rig.output(job) == "attempt 2\n"
