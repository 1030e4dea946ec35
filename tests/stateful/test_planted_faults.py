"""What the model is worth: each of these faults, planted in the real store, it finds within a few examples.

A fault is put around or in place of a real part, from outside; the machine is the one of `test_machine.py`.
"""

# pyright: reportPrivateUsage=false, reportUnknownLambdaType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import Phase, settings

from queue_core.sqlite import admit, claim, control, engine, group_commit, locks, settle, workers
from queue_core.sqlite.reading import Reading
from tests import claims
from tests.stateful.engines import ENGINES
from tests.stateful.machine import Tally, run

if TYPE_CHECKING:
    from collections.abc import Callable

    Patch = pytest.MonkeyPatch
    Plant = Callable[[Patch], None]

EXAMPLES = 150  # at most, for each
STEPS = 40


def reworded(patch: Patch, module: Any, name: str, *changes: tuple[str, str]) -> None:
    """Change a statement; it has to have been as it was thought to be."""
    text: str = getattr(module, name)
    for old, new in changes:
        assert old in text, f"{name} does not say {old!r} any more"
        text = text.replace(old, new)
    patch.setattr(module, name, text)


def no_fence(patch: Patch) -> None:
    for name in ("_HELD_BY", "_LEAVE"):
        reworded(patch, settle, name, ("claim = ? AND lease_token = ?", "? > 0 AND ? <> ''"))


def a_fence_of_the_number_alone(patch: Patch) -> None:
    for name in ("_HELD_BY", "_LEAVE"):
        reworded(patch, settle, name, ("lease_token = ?", "? <> ''"))


def rescue_by_id(patch: Patch) -> None:
    def take_over(tx: Any, orphans: Any, worker: str) -> list[tuple[int, int]]:
        sql = "UPDATE jobs SET worker = ? WHERE id = ? AND state = 'running'"
        return [(one.job, one.claim) for one in orphans if tx.execute(sql, (worker, one.job)).rowcount]

    patch.setattr(workers, "take_over", take_over)


def acknowledge_before_commit(patch: Patch) -> None:
    """The answer is given, and the commit comes with whatever is done next: a crash in between loses it."""
    real_read = Reading._read
    late: list[Any] = []

    def commit() -> None:
        while late:
            late.pop().execute("COMMIT")

    def write(self: engine.Database, change: Any, *args: Any, **kwargs: Any) -> Any:
        commit()
        engine.begin(self.connection)
        try:
            result = change(self.connection, *args, **kwargs)
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        late.append(self.connection)
        return result

    def read(self: Any, read: Any) -> Any:
        commit()
        return real_read(self, read)

    def close(self: engine.Database) -> None:
        if self.connection in late:
            late.remove(self.connection)
        self.connection.close()

    patch.setattr(engine.Database, "write", write)
    patch.setattr(engine.Database, "close", close)
    patch.setattr(Reading, "_read", read)


def group_commit_answers_early(patch: Patch) -> None:
    """Those that waited together are told before what they share is committed."""

    def run_all(tx: Any, batch: list[Any]) -> None:
        real(tx, batch)
        for change in batch:
            change.done.set()
        threading.Event().wait(0.02)

    real = group_commit._run_all
    patch.setattr(group_commit, "_run_all", run_all)


def lock_has_room_for_one_more(patch: Patch) -> None:
    real = locks._room
    patch.setattr(locks, "_room", lambda tx, name: real(tx, name) + 1)


def lock_is_not_let_go(patch: Patch) -> None:
    patch.setattr(locks, "release", lambda tx, names: None)


def nobody_wakes_who_waits_for_a_lock(patch: Patch) -> None:
    patch.setattr(locks, "_wake", lambda tx, name: None)


def barrier_ignored(patch: Patch) -> None:
    reworded(patch, claim, "_HEAD", ("id, sequential,", "id, 0,"))
    reworded(patch, claim, "_HEADS", ("sequential, locks FROM", "0, locks FROM"))


def parallelism_of_each_worker(patch: Patch) -> None:
    reworded(patch, claim, "_READY", ("running < slots", "running <= slots"), ("INDEXED BY queues_ready", ""))


def paused_queues_go_on(patch: Patch) -> None:
    reworded(patch, claim, "_READY", ("paused = 0", "paused < 2"), ("INDEXED BY queues_ready", ""))


def last_in_first_out(patch: Patch) -> None:
    for name in ("_HEAD", "_HEADS"):
        reworded(patch, claim, name, ("priority, id", "priority, id DESC"))


def one_queue_is_always_first(patch: Patch) -> None:
    patch.setattr(claim, "_end_turn", lambda tx, queue: None)


def hosts_limit_forgotten(patch: Patch) -> None:
    reworded(patch, claim, "_STANDING", ("host = ?", "host = ? || ' and no other'"))


def due_jobs_start_early(patch: Patch) -> None:
    for name in ("_STANDING", "_PROMOTE"):
        reworded(patch, claim, name, ("due_at <= ?", "due_at <= ? + 5.0"))


def dependents_told_twice(patch: Patch) -> None:
    def twice(*args: Any) -> None:
        real(*args)
        real(*args)

    real = settle.tell_dependents
    reworded(patch, settle, "_OPEN_DEPENDENTS", (" AND d.met = 0", ""), (" INDEXED BY dependencies_open", ""))
    for module in (settle, control):
        patch.setattr(module, "tell_dependents", twice)


def dependents_of_cancelled_jobs_not_told(patch: Patch) -> None:
    patch.setattr(control, "tell_dependents", lambda tx, job, state, now: None)


def unique_key_forgotten_after_replay(patch: Patch) -> None:
    def replay(tx: Any, job_id: int, *rest: Any) -> Any:
        state = real(tx, job_id, *rest)
        tx.execute("UPDATE jobs SET unique_key = NULL WHERE id = ?", (job_id,))
        return state

    real = control._replay_one
    patch.setattr(control, "_replay_one", replay)


def retry_not_counted(patch: Patch) -> None:
    reworded(patch, settle, "_LEAVE", ("failures = failures + ?", "failures = failures + 0 * ?"))


def interrupted_attempts_count(patch: Patch) -> None:
    reworded(patch, settle, "_LEAVE", ("attempt = attempt - ?", "attempt = attempt - 0 * ?"))


def cancelled_while_running_is_retried(patch: Patch) -> None:
    def decide(outcome: Any, **rest: Any) -> Any:
        rest["cancel_requested"] = False
        return real(outcome, **rest)

    real: Any = settle.decide
    patch.setattr(settle, "decide", decide)


def end_told_again(patch: Patch) -> None:
    """A discarded job counts as a new completion."""

    def discard(tx: Any, ids: Any, *, by: Any, now: float) -> Any:
        moved = real(tx, ids, by=by, now=now)
        for job_id in ids:
            tx.execute("UPDATE jobs SET ended = ? WHERE id = ?", (settle.next_end(tx), job_id))
        return moved

    real = control.discard
    patch.setattr(control, "discard", discard)


def capacity_counts_running_jobs(patch: Patch) -> None:
    sql = "SELECT coalesce(sum(held + blocked + scheduled + available + running), 0) FROM queues"
    patch.setattr(admit, "waiting", lambda tx: tx.execute(sql).fetchone()[0])


def dead_letters_are_pruned(patch: Patch) -> None:
    reworded(patch, control, "_PRUNABLE", ("state <> 'dead'", "state <> 'held'"))


FAULTS: list[Plant] = [
    no_fence,
    a_fence_of_the_number_alone,
    rescue_by_id,
    acknowledge_before_commit,
    group_commit_answers_early,
    lock_has_room_for_one_more,
    lock_is_not_let_go,
    nobody_wakes_who_waits_for_a_lock,
    barrier_ignored,
    parallelism_of_each_worker,
    paused_queues_go_on,
    last_in_first_out,
    one_queue_is_always_first,
    hosts_limit_forgotten,
    due_jobs_start_early,
    dependents_told_twice,
    dependents_of_cancelled_jobs_not_told,
    unique_key_forgotten_after_replay,
    retry_not_counted,
    interrupted_attempts_count,
    cancelled_while_running_is_retried,
    end_told_again,
    capacity_counts_running_jobs,
    dead_letters_are_pruned,
]


# What each of several parts of the store stands or falls with; `make reliability` plants all.
USUAL = [no_fence, rescue_by_id, acknowledge_before_commit, barrier_ignored, due_jobs_start_early, retry_not_counted]


@pytest.mark.claim("faults")
@pytest.mark.parametrize("plant", FAULTS if claims.THOROUGH else USUAL, ids=lambda plant: plant.__name__)
def test_a_planted_fault_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    tally = Tally()
    plant(monkeypatch)
    # Found is enough: nothing is made smaller, and the same examples are tried every time.
    size = settings(max_examples=EXAMPLES, stateful_step_count=STEPS, phases=[Phase.generate], print_blob=False)
    with pytest.raises(Exception):  # noqa: B017 - however it shows
        run(ENGINES["sqlite"], tally, size)
    claims.tried("faults", faults_found=1, examples=tally.examples - 1)  # the last is tried again, to be told
