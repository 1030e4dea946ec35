"""Escalation with a real worker: who took over knows from whom, keeps its lock, and is there once."""

import json
from collections import Counter

from queue_core.jobs import Filter, Job
from tests.helpers import wait_until
from tests.worker.conftest import Rig, most_at_once


def chain_of(rig: Rig, job_id: int) -> list[tuple[str, str]]:
    """Program and state of every job of a chain, as `runq status` shows it."""
    return [(link["argv"][-1], link["state"]) for link in rig.status(job_id)["chain"]]


def test_who_takes_over_is_told_from_whom_and_nobody_else_is(rig: Rig):
    script = f"echo ${{RUNQ_ESCALATED_FROM-none}} $RUNQ_JOB_ID >> {rig.folder}/seen; exit 1"
    chain = [["sh", "-c", script, name] for name in ("b", "c")]
    rig.add_all([{"argv": ["sh", "-c", script, "a"], "retries": 0, "on_dead": chain}])
    rig.drain(env={"RUNQ_ESCALATED_FROM": "99"})
    assert rig.lines("seen") == ["none 1", "1 2", "2 3"]
    assert chain_of(rig, 1) == [("a", "dead"), ("b", "dead"), ("c", "dead")]


def test_a_hundred_that_all_escalate_twice_under_a_worker_that_is_killed_run_each_step_once(rig: Rig):
    steps = [
        ["sh", "-c", f"echo {name} $1 >> {rig.folder}/ran; exit {code}", name, "{}"]
        for name, code in (("a", 1), ("b", 1), ("c", 0))
    ]

    def step(which: int, number: int) -> list[str]:
        return [*steps[which][:-1], str(number)]

    ids = rig.add_all(
        [
            {"argv": step(0, n), "on_dead": [step(1, n), step(2, n)], "retries": 0, "queue": f"q{n % 5}"}
            for n in range(100)
        ]
    )
    worker = rig.worker()
    wait_until(lambda: len(rig.lines("ran")) > 60, "some have run", 60)
    worker.kill()
    rig.drain()
    wait_until(lambda: all_ended(rig), "all have ended", 60)
    assert Counter(rig.lines("ran")) == Counter(f"{name} {n}" for name in "abc" for n in range(100))
    jobs = rig.queue.store.jobs(Filter(limit=1000)).jobs
    assert Counter(job.state for job in jobs) == {"dead": 200, "succeeded": 100}
    assert set(Counter(job.escalated_from for job in jobs if job.escalated_from).values()) == {1}
    assert [one.state for one in rig.queue.store.chain(ids[0])] == ["dead", "dead", "succeeded"]


def all_ended(rig: Rig) -> bool:
    jobs: tuple[Job, ...] = rig.queue.store.jobs(Filter(limit=1000)).jobs
    return len(jobs) == 300 and all(job.finished_at for job in jobs)


def test_the_lock_that_the_first_one_needed_is_needed_by_all_that_take_over(rig: Rig):
    script = f"echo start $0 >> {rig.folder}/events; sleep 0.05; echo end $0 >> {rig.folder}/events; exit 1"
    rig.add_all(
        [
            {
                "argv": ["sh", "-c", script, f"{n}a"],
                "on_dead": [["sh", "-c", script, f"{n}b"], ["sh", "-c", script, f"{n}c"]],
                "retries": 0,
                "locks": ["gpu0"],
            }
            for n in range(3)
        ]
    )
    rig.drain()
    events = rig.lines("events")
    assert (len(events), most_at_once(events)) == (18, 1)


def test_it_is_handed_over_after_so_many_failures_though_retries_are_left(rig: Rig):
    script = f"echo $0 >> {rig.folder}/ran; exit 1"
    rig.add_all(
        [
            {
                "argv": ["sh", "-c", script, "a"],
                "on_dead": [["sh", "-c", script, "b"], ["echo", "done"]],
                "escalate_after": 2,
                "retry": "fast",
                "backoff_base": 0,
            }
        ]
    )
    rig.worker()
    rig.reaches(1, "dead")
    wait_until(lambda: chain_of(rig, 1)[-1] == ("done", "succeeded"), "the last one has succeeded")
    assert rig.lines("ran") == ["a", "a", "b", "b"]


def test_a_program_that_is_gone_by_then_is_handed_over_from_as_from_any_other(rig: Rig):
    gone = rig.folder / "gone"
    gone.write_text("#!/bin/sh\n")
    gone.chmod(0o755)
    rig.add("--retries", "0", "--on-dead", f'["{gone}"]', "--on-dead", '["echo", "here"]', "--", "false")
    gone.unlink()
    rig.drain()
    assert chain_of(rig, 1) == [("false", "dead"), (str(gone), "dead"), ("here", "succeeded")]
    assert rig.outcomes(2) == [("spawn_failed", None)]


def test_who_waits_for_a_job_waits_for_what_takes_over_from_it(rig: Rig) -> None:
    gate = rig.gate()
    rescue = json.dumps(["sh", "-c", gate.wait])
    job = rig.sh("exit 1", "--retries", "0", "--on-dead", rescue)
    rig.worker()
    rig.reaches(job, "dead")
    assert rig.runq("wait", str(job), "--timeout", "0", code=124).stdout == ""
    gate.open()
    assert rig.runq("wait", str(job)).stdout == f"{job}\tdead\t1\thanded over to {job + 1}\n"
