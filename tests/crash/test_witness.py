"""The judge of the storms is judged: histories in which a claim is broken, each in one way, and it says so."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.crash.history import History
from tests.crash.job import payload
from tests.crash.reached import missing, reached, total
from tests.crash.tasks import Need, Task
from tests.crash.witness import Finding, Told, judge

SIZE = 100


class Story:
    """Two jobs that go well: number 1 succeeds at once, number 2 after one failure. Then something is changed."""

    def __init__(self) -> None:
        self.tasks = {number: _task(number) for number in (1, 2)}
        self.lines = ["start 1 1 11 1 0.1", "end 1 1 11 1 0.2 0 100"]
        self.lines += ["start 2 1 21 2 0.3", "end 2 1 21 2 0.4 7 100", "start 2 2 22 2 0.5", "end 2 2 22 2 0.6 0 100"]
        self.jobs = [self.job(1, attempt(1)), self.job(2, attempt(1, exit_code=7), attempt(2))]
        self.outputs = {(1, 1): 1, (2, 1): 2, (2, 2): 2}
        self.kept: dict[tuple[int, int], bytes | None] = {
            claim: payload(number, claim[1], SIZE) for claim, number in self.outputs.items()
        }
        self.cancelled: set[int] = set()
        self.acknowledged: dict[int, float] = {}
        self.replayed: dict[int, int] = {}
        self.keepers = {(1, 1): "one", (2, 1): "two", (2, 2): "two"}

    def job(self, number: int, *attempts: dict[str, Any], state: str = "succeeded") -> dict[str, Any]:
        argv = self.tasks[number].argv
        return {"id": number, "state": state, "argv": argv, "retries": 1, "attempts": list(attempts)}

    def judged(self) -> list[Finding]:
        told = Told(
            self.tasks,
            cancelled=self.cancelled,
            acknowledged=self.acknowledged,
            replayed=self.replayed,
            keeper_of=self.keepers.get,
        )
        return judge(History(self.lines), told, self.jobs, self.kept.get)


def attempt(
    claim: int, outcome: str = "exited", exit_code: int | None = 0, signal: int | None = None
) -> dict[str, Any]:
    return {"claim": claim, "outcome": outcome, "exit_code": exit_code, "signal": signal, "output_bytes": SIZE}


def lost(claim: int) -> dict[str, Any]:
    return attempt(claim, "lost", None)


def _task(number: int) -> Task:
    task = Task(number, Random(1), Path("/folder"))
    task.size, task.retries, task.timeout, task.unique = SIZE, 1, None, None
    task.options = {"queue": "one"}
    task.accept(number)
    return task


def forget_a_job(story: Story) -> None:
    del story.jobs[1], story.lines[2:]


def leave_a_job_waiting(story: Story) -> None:
    story.jobs[0].update(state="available", attempts=[])
    del story.lines[:2]


def give_a_job_up_too_early(story: Story) -> None:
    story.jobs[1].update(state="dead", attempts=[attempt(1, exit_code=7)])
    del story.lines[4:]


def give_another_id(story: Story) -> None:
    story.tasks[1].id = 3


def two_jobs_of_one(story: Story) -> None:
    story.jobs.append({**story.job(1, attempt(1)), "id": 3})


def a_job_of_a_refused_one(story: Story) -> None:
    story.tasks[1].refuse("the disk is full")


def a_job_that_nobody_asked_for(story: Story) -> None:
    story.jobs.append({**story.job(1, state="cancelled"), "id": 3, "argv": ["ghost"]})
    story.cancelled.add(3)


def note_an_overlap(story: Story) -> None:
    story.lines.append("overlap 2 2 22 2 0.55")


def start_a_claim_twice(story: Story) -> None:
    story.lines += ["start 1 1 12 1 0.7", "end 1 1 12 1 0.8 0 100"]


def run_unrecorded(story: Story) -> None:
    story.lines.append("start 1 2 12 1 0.7")


def run_after_success(story: Story) -> None:
    story.jobs[1]["attempts"][0].update(exit_code=0)
    story.lines[3] = "end 2 1 21 2 0.4 0 100"


def run_more_often_than_allowed(story: Story) -> None:
    story.jobs[1]["retries"] = 0


def lose_an_attempt(story: Story) -> None:
    story.jobs[1]["attempts"][0] = lost(1)


def lose_an_attempt_of_another_keeper(story: Story) -> None:
    lose_an_attempt(story)
    story.lines.append("kill keeper 5 one")


def run_again_after_a_loss_without_retries(story: Story) -> None:
    lose_an_attempt(story)
    story.lines.append("kill keeper 5 two")
    story.jobs[1]["retries"] = 0


def record_another_code(story: Story) -> None:
    story.jobs[1]["attempts"][0].update(exit_code=8)


def record_an_end_that_never_was(story: Story) -> None:
    del story.lines[1]


def record_a_signal_that_nobody_sent(story: Story) -> None:
    story.jobs[1]["attempts"][0] = attempt(1, "signalled", None, 9)


def record_a_timeout_that_it_had_not(story: Story) -> None:
    story.jobs[1]["attempts"][0] = attempt(1, "timed_out", None, 15)


def let_a_timeout_pass(story: Story) -> None:
    story.tasks[1].timeout = 0.2


def cancel_unasked(story: Story) -> None:
    story.jobs[1].update(state="cancelled")


def call_a_success_dead(story: Story) -> None:
    story.jobs[0].update(state="dead")


def keep_other_bytes(story: Story) -> None:
    story.kept[1, 1] = b"x" * SIZE


def keep_less(story: Story) -> None:
    story.kept[1, 1] = payload(1, 1, SIZE - 1)


def keep_nothing(story: Story) -> None:
    story.kept[1, 1] = None


def count_other_bytes(story: Story) -> None:
    story.jobs[0]["attempts"][0].update(output_bytes=SIZE + 1)


def run_beside(story: Story) -> None:
    """Number 1 goes on while number 2 runs for the first time."""
    story.lines[1] = "end 1 1 11 1 0.35 0 100"


def acknowledge_a_cancel_before_a_run(story: Story) -> None:
    story.acknowledged[2] = 0.45
    story.cancelled.add(2)


def run_beside_a_sequential_job(story: Story) -> None:
    run_beside(story)
    story.tasks[2].options["sequential"] = True


def run_beside_a_sequential_job_that_is_killed(story: Story) -> None:
    run_beside_a_sequential_job(story)
    story.lines[3] = "kill command 21 -"
    story.jobs[1]["attempts"][0] = attempt(1, "signalled", None, 9)


def hold_a_full_lock(story: Story) -> None:
    run_beside(story)
    for task in story.tasks.values():
        task.options["locks"] = ["lock=1"]


def share_a_key(story: Story) -> None:
    for task in story.tasks.values():
        task.unique = "key"


def two_live_jobs_of_one_key(story: Story) -> None:
    share_a_key(story)
    story.lines[:2] = []
    story.lines += ["start 1 1 11 1 0.42", "end 1 1 11 1 0.44 0 100"]  # between the other's two runs


def begin_before_an_end(story: Story) -> None:
    story.tasks[1].need = Need(2, success=False)


def begin_between_the_runs_of_what_is_waited_for(story: Story) -> None:
    two_live_jobs_of_one_key(story)
    for task in story.tasks.values():
        task.unique = None
    begin_before_an_end(story)


def begin_before_a_success(story: Story) -> None:
    begin_between_the_runs_of_what_is_waited_for(story)
    story.tasks[1].need = Need(2, success=True)


def stay_blocked_though_what_is_needed_succeeded(story: Story) -> None:
    story.tasks[2].need = Need(1, success=True)
    story.jobs[1].update(state="blocked", attempts=[])
    del story.lines[2:]


BROKEN: dict[str, list[Callable[[Story], None]]] = {
    "lost": [
        forget_a_job,
        leave_a_job_waiting,
        give_a_job_up_too_early,
        give_another_id,
        stay_blocked_though_what_is_needed_succeeded,
    ],
    "overlap": [note_an_overlap, start_a_claim_twice],
    "unrecorded": [run_unrecorded],
    "twice": [two_jobs_of_one, run_after_success, run_more_often_than_allowed, lose_an_attempt],
    "again": [lose_an_attempt_of_another_keeper, run_again_after_a_loss_without_retries],
    "truth": [
        *(record_another_code, record_an_end_that_never_was, record_a_signal_that_nobody_sent),
        *(record_a_timeout_that_it_had_not, let_a_timeout_pass, cancel_unasked, call_a_success_dead),
        *(keep_other_bytes, keep_less, keep_nothing, count_other_bytes),
    ],
    "order": [
        acknowledge_a_cancel_before_a_run,
        *(run_beside_a_sequential_job, run_beside_a_sequential_job_that_is_killed, hold_a_full_lock),
        two_live_jobs_of_one_key,
        *(begin_before_an_end, begin_between_the_runs_of_what_is_waited_for, begin_before_a_success),
    ],
    "frames": [a_job_that_nobody_asked_for],
    "full": [a_job_of_a_refused_one],
}


@pytest.mark.parametrize(
    ("claim", "change"), [(claim, change) for claim, changes in BROKEN.items() for change in changes]
)
def test_a_broken_claim_is_found(claim: str, change: Callable[[Story], None]) -> None:
    story = Story()
    change(story)
    assert claim in {finding.claim for finding in story.judged()}


def test_what_went_well_is_no_finding() -> None:
    assert Story().judged() == []


def test_a_killed_command_is_no_finding() -> None:
    story = Story()
    story.lines[3] = "kill command 21 -"
    story.jobs[1]["attempts"][0] = attempt(1, "signalled", None, 9)
    story.kept[2, 1] = payload(2, 1, 40)
    assert story.judged() == []


def test_a_loss_by_a_killed_keeper_is_no_finding() -> None:
    for told in ("kill keeper 5 two", "point kill keeper 5 two record end before"):
        story = Story()
        story.lines.append(told)
        story.jobs[1]["attempts"][0] = lost(1)
        assert story.judged() == []


def test_a_timeout_that_a_stopped_keeper_missed_is_no_finding() -> None:
    for told in ("stop keeper 5", "point stop keeper 5 one record end before"):
        story = Story()
        let_a_timeout_pass(story)
        story.lines.append(told)
        assert story.judged() == []


def test_what_a_client_does_not_know_is_not_held_against_anybody() -> None:
    story = Story()
    for task in story.tasks.values():
        task.answer, task.id = "unknown", None
    assert story.judged() == []
    forget_a_job(story)
    assert story.judged() == []


def test_a_replayed_job_runs_again() -> None:
    story = Story()
    run_after_success(story)
    story.replayed[2] = 1
    assert story.judged() == []


def test_an_order_that_is_kept_is_no_finding() -> None:
    story = Story()
    share_a_key(story)
    story.tasks[2].need = Need(1, success=True)
    story.tasks[2].options.update(sequential=True, locks=["lock=1"])
    story.tasks[1].options["locks"] = ["lock=1"]
    story.acknowledged[1] = 0.15
    story.cancelled.add(1)
    assert story.judged() == []


def test_a_lock_with_room_and_another_queue_are_no_finding() -> None:
    story = Story()
    hold_a_full_lock(story)
    for task in story.tasks.values():
        task.options["locks"] = ["lock=2"]
    story.tasks[1].options.update(sequential=True, queue="two")
    assert story.judged() == []


def test_what_needs_a_dead_job_stays_blocked_and_what_needs_a_cancelled_one_is_cancelled() -> None:
    story = Story()
    stay_blocked_though_what_is_needed_succeeded(story)
    story.jobs[0].update(state="dead", attempts=[attempt(1, exit_code=7)], retries=0)
    story.lines[1] = "end 1 1 11 1 0.2 7 100"
    assert story.judged() == []
    story.jobs[0].update(state="cancelled")
    story.jobs[1].update(state="cancelled")
    story.cancelled.add(1)
    assert story.judged() == []


def test_verdicts_are_counted_once_a_claim() -> None:
    lines = ["verdict alone 1 1", "verdict alone 1 1", "verdict lost 1 1", "verdict alone 2 1"]
    assert History(lines).verdicts == {"alone": 2, "lost": 1}


def test_a_full_run_that_reached_too_little_has_failed() -> None:
    often: Counter[str] = Counter()
    for name in ("spool write", "recover", "commit admit", "spawn", "record end"):
        often[name] = 20
    enough = reached(Counter(cli=500), often, Counter(settle=1, ask_keeper=1, lost=1), keepers=True)
    assert missing(total([json.dumps(enough)] * 2)) == []
    little = reached(Counter(cli=500), often - Counter({"spool write": 15}), Counter(), keepers=True)
    found = missing(total([json.dumps(little)] * 2))
    assert [word for one in found for word in ("ask_keeper", "settle", "alone", "'spool'") if word in one.why] == [
        "ask_keeper",
        "settle",
        "alone",
        "'spool'",
    ]
    assert missing(total([json.dumps(little)])) == []  # too small to be held to it
