"""Whatever is done in whatever order: the counters are a recount, and every job is where the rules put it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queue_core.errors import QueueError
from queue_core.jobs import Outcome
from queue_core.model import ENDED
from tests import claims
from tests.conformance.builders import Bench, exited, settlement

if TYPE_CHECKING:
    from collections.abc import Callable

    from queue_core.jobs import Job, Lease
    from queue_core.store import Store

EXAMPLES = 120 if claims.THOROUGH else 40
WHICH = st.integers(0, 30)
OUTCOMES = [
    exited(0),
    exited(1),
    exited(64),
    Outcome(kind="signalled", signal=9),
    Outcome(kind="spawn_failed", error="no such program"),
    Outcome(kind="lost"),
    Outcome(kind="interrupted"),
    Outcome(kind="never_started"),
]
NEEDS = ["after", "after_any", "after_failure"]
STEP = st.one_of(
    st.tuples(st.just("add"), st.sampled_from("abc"), st.sampled_from(["now", "later", "held", "unique", "hand over"])),
    st.tuples(st.just("follow"), st.sampled_from("abc"), st.sampled_from(NEEDS), WHICH, st.booleans()),
    st.tuples(st.just("claim"), st.integers(1, 4)),
    st.tuples(st.just("end"), WHICH, st.sampled_from(OUTCOMES), st.booleans()),
    st.tuples(st.sampled_from(["cancel", "approve", "reject", "discard"]), WHICH, WHICH),
    st.tuples(st.just("replay"), WHICH, st.booleans()),
    st.tuples(st.just("pause"), st.sampled_from("abc"), st.booleans()),
    st.tuples(st.just("pin"), WHICH, st.booleans()),
    st.tuples(st.just("prune"), st.sampled_from([0.0, 30.0])),
    st.tuples(st.just("tick"), st.sampled_from([1.0, 10.0, 40.0])),
)


class Chaos:
    """Does what it is told, however senseless; a refusal has to leave no trace."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.jobs: list[int] = []
        self.leases: list[Lease] = []

    def do(self, step: tuple[Any, ...]) -> None:
        before = self.bench.everything()
        try:
            getattr(self, "_" + step[0])(*step[1:])
        except QueueError:
            assert self.bench.everything() == before

    def pick(self, which: int) -> int:
        return self.jobs[which % len(self.jobs)] if self.jobs else 999

    def _add(self, queue: str, how: str) -> None:
        fields: dict[str, dict[str, Any]] = {
            "later": {"due_at": self.bench.now + 20},
            "held": {"held": "ask"},
            "unique": {"unique": "key"},
            "hand over": {"on_dead": (("echo",),), "sequential": True},
        }
        more = fields.get(how, {})
        self.jobs.append(self.bench.add(queue=queue, retries=1, parallelism=2, locks=(("gpu", 2),), **more))

    def _follow(self, queue: str, key: str, which: int, held: bool) -> None:
        more: dict[str, Any] = {key: (self.pick(which),), "held": "ask" if held else None}
        self.jobs.append(self.bench.add(queue=queue, parallelism=2, **more))

    def _claim(self, want: int) -> None:
        self.leases += self.bench.claim(want)

    def _end(self, which: int, outcome: Outcome, stale: bool) -> None:
        if self.leases:
            lease = self.leases[which % len(self.leases)]
            self.bench.settle(settlement(lease, outcome, **({"token": "stale"} if stale else {})), permanent=[64])

    def _cancel(self, *which: int) -> None:
        self.bench.cancel(*map(self.pick, which))

    def _approve(self, *which: int) -> None:
        self.bench.approve(*map(self.pick, which))

    def _reject(self, *which: int) -> None:
        self.bench.reject(*map(self.pick, which))

    def _discard(self, *which: int) -> None:
        self.bench.discard(*map(self.pick, which))

    def _replay(self, which: int, held: bool) -> None:
        job = self.pick(which)
        self.bench.replay(job, held={job: "ask"} if held else {})

    def _pause(self, queue: str, paused: bool) -> None:
        self.bench.pause(queue, paused=paused)

    def _pin(self, which: int, pinned: bool) -> None:
        (self.bench.pin if pinned else self.bench.unpin)(self.pick(which))

    def _prune(self, older_than: float) -> None:
        self.bench.prune(older_than)

    def _tick(self, seconds: float) -> None:
        self.bench.tick(seconds)


def explained(bench: Bench, job: Job) -> bool:
    """Whether a job has what its state calls for, and nothing else."""
    open_needs = bench.store.dependencies(job.id)
    return (
        (job.state == "running") == (job.worker is not None)
        and (job.state in ENDED) == (job.finished_at is not None)
        and (job.state != "scheduled" or job.due_at is not None)
        and (job.state != "blocked" or bool(open_needs))
        and (job.state not in ("available", "scheduled", "running", "cancelled") or not open_needs)
        and job.unmet == len(open_needs)
        and job.failures <= job.attempt <= job.claim
        and len(job.attempts) <= job.claim
        and job.attempt <= job.max_attempts
    )


@pytest.mark.claim("model")
@settings(max_examples=EXAMPLES)
@given(steps=st.lists(STEP, min_size=5, max_size=50))
def test_counters_equal_a_recount_and_states_are_explained_after_anything(
    open_store: Callable[[], Store], steps: list[tuple[Any, ...]]
) -> None:
    bench = Bench(open_store())
    chaos = Chaos(bench)
    for step in steps:
        chaos.do(step)
    assert bench.counters() == bench.recount()
    for job in bench.everything():
        assert explained(bench, job), job
    live_keys = [job.unique_key for job in bench.everything() if job.unique_key and job.state not in ENDED]
    assert len(live_keys) <= 1
