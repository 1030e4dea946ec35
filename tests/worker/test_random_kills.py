"""A small storm: workers and command lines are killed at random; nothing is lost, doubled or made up.

Keepers are spared: that a killed keeper loses an attempt is promised, and tested in `test_kills`.
"""

import random
import time
from contextlib import suppress

import pytest

from tests import claims

from .conftest import Process, Rig, overlaps

SEED = 20261122
JOBS = 40
KILLS = 60 if claims.THOROUGH else 25
LIMITS = {"RUNQ_PARALLELISM": "6", "RUNQ_MAX_RUNNING": "6"}
DEADLINE = 240  # seconds, on a machine that is busy with other things


def script(number: int, chance: random.Random) -> str:
    length = chance.choice(("0", "0.02", "0.1", "0.3"))
    return f"echo start {number} >> events; sleep {length}; echo end {number} >> events; exit {number % 4}"


@pytest.mark.claim("lost")
@pytest.mark.claim("overlap")
def test_a_storm_of_kills(rig: Rig) -> None:
    chance = random.Random(SEED)
    jobs: list[int] = []
    workers: list[Process] = []
    lines: list[Process] = []
    kills = 0
    give_up = time.monotonic() + DEADLINE

    def all_over() -> bool:
        counts = rig.queue.status_view()["counts"]
        return len(jobs) == JOBS and counts["succeeded"] + counts["dead"] == JOBS

    while not all_over() or kills < KILLS:
        assert time.monotonic() < give_up, (kills, rig.queue.status_view()["counts"], rig.log()[-5000:])
        if len(jobs) < JOBS:
            fresh = [{"argv": ["sh", "-c", script(len(jobs) + n, chance)], "retries": 0} for n in range(4)]
            jobs += rig.add_all(fresh)
        workers = [worker for worker in workers if worker.popen.poll() is None]
        while len(workers) < 2:
            workers.append(rig.start("work", **LIMITS))
        lines.append(rig.start(chance.choice(("status", "health", "list")), "--json"))
        time.sleep(chance.random() * 0.35)  # somewhere between its start and its end
        hunted = kills < KILLS and chance.random() < 0.6  # from then on somebody has to get through, on any machine
        for victim in [*lines, *([chance.choice(workers)] if hunted else [])]:
            with suppress(ProcessLookupError):
                kills += victim.popen.poll() is None
                victim.kill()
        lines.clear()

    events = rig.lines("events")
    assert overlaps(events) == []
    assert sorted(events) == sorted(f"{what} {n}" for n in range(JOBS) for what in ("start", "end"))
    for number, job in enumerate(jobs):
        assert rig.outcomes(job) == [("exited", number % 4)], rig.job(job)
        assert rig.state(job) == ("succeeded" if number % 4 == 0 else "dead")
