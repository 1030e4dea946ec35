"""Enqueueing from within a program, 64 callers waiting."""

from __future__ import annotations

import os
import statistics

from benchmarks.ground import ROOT
from benchmarks.inside import inside
from benchmarks.measure import Contestant, How, alternate
from benchmarks.peers import bunqueue, python_queues
from benchmarks.results import Result, Row, Target

TITLE = "Enqueue from within a program, 64 waiting"
SAYS = (
    "Jobs a second that a program stores, each of 64 callers waiting until its own is stored: threads, bunqueue's"
    " promises, the futures of `Background.enqueue`. huey, persist-queue and litequeue commit one by one, and count"
    " with the better of 64 threads and one. The floor is Python that writes one small row a job into a table without"
    " an index, 64 to a commit."
)
ROUNDS = 5
JOBS = 20_000
FEWER = 3_000  # for those that commit one by one
FLOOR = "SQLite alone, 64 rows a commit"
THREADS, BACKGROUND = "runq, `Queue.submit` in 64 threads", "runq, `Background.enqueue`"
SYNCED = "synced before the answer"
PEERS = ("huey, fsync=True", "persist-queue", "litequeue, told to sync", "bunqueue, durable")


def run(how: How) -> Result:
    """Each in a process of its own, in turn."""
    jobs, fewer, ground = how.count(JOBS), how.count(FEWER), how.ground
    contestants = [
        Contestant(FLOOR, SYNCED, lambda: _floor(how, jobs)),
        Contestant(THREADS, SYNCED, lambda: _runq(how, "threads", jobs)),
        Contestant(BACKGROUND, SYNCED, lambda: _runq(how, "background", jobs)),
        Contestant(PEERS[0], SYNCED, lambda: python_queues.huey_enqueue(ground, fewer, fsync=True)),
        Contestant("huey, fsync=False", "not synced", lambda: python_queues.huey_enqueue(ground, fewer, fsync=False)),
        Contestant(PEERS[1], SYNCED, lambda: python_queues.store(ground, "persist-queue", fewer)),
        Contestant(PEERS[2], SYNCED, lambda: python_queues.store(ground, "litequeue-full", fewer)),
        Contestant("litequeue, as it comes", "not synced", lambda: python_queues.store(ground, "litequeue", fewer)),
        Contestant(PEERS[3], "written, not synced", lambda: bunqueue.enqueue(ground, fewer)),
    ]
    rows = alternate(contestants, how.rounds(ROUNDS), unit="jobs/s", reference=PEERS[0], warm_up=False)
    return Result(TITLE, SAYS, PEERS[0], rows, [_target(rows)])


def _runq(how: How, way: str, jobs: int) -> float:
    env = how.ground.environ(RUNQ_CAPACITY="1000000")
    return jobs / inside("runq_enqueue", way, jobs, env=env)["seconds"]


def _floor(how: How, jobs: int) -> float:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": ROOT}
    return jobs / inside("floors", "groups", f"{how.ground.fresh()}/floor.db", jobs, env=env)["seconds"]


def _target(rows: list[Row]) -> Target:
    """Round by round: the better of runq's two ways to the best of the durable peers."""
    ours = [row.rounds for row in rows if row.name in (THREADS, BACKGROUND) and row.rounds]
    theirs = [row.rounds for row in rows if row.name in PEERS and row.rounds]
    measured = None
    if ours and theirs:
        rounds = zip(zip(*ours, strict=True), zip(*theirs, strict=True), strict=True)
        measured = statistics.median(max(mine) / max(others) for mine, others in rounds)
    return Target("enqueue, 64 waiting, to the best durable peer", 5, measured, "×", at_most=False)
