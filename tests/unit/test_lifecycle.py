"""The table of transitions, the schema that repeats it, and what is decided from an attempt's end."""

from __future__ import annotations

import itertools
import sqlite3

import pytest

from queue_core.errors import InvalidTransition
from queue_core.jobs import Outcome
from queue_core.lifecycle import ENTRY_STATES, TRANSITIONS, decide, dependency, describe, entry_state, next_state
from queue_core.model import ENDED, LIVE, STATES, WAITING, Retry
from queue_core.sqlite.migrations import migrate

EVENTS = sorted({event for _, event in TRANSITIONS})
NOW = 1000.0
THRICE = Retry(retries=3, backoff="exponential", base=10.0, cap=3600.0)


class TestTable:
    @pytest.mark.parametrize(("state", "event"), list(itertools.product(STATES, EVENTS)))
    def test_an_event_leads_where_the_table_says_or_raises(self, state: str, event: str) -> None:
        targets = TRANSITIONS.get((state, event))  # pyright: ignore[reportArgumentType]
        if targets is None:
            with pytest.raises(InvalidTransition, match=f"a job .*{state}"):
                next_state(state, event)  # pyright: ignore[reportArgumentType]
            return
        assert next_state(state, event) == targets[0]  # pyright: ignore[reportArgumentType]
        for wanted in STATES:
            if wanted in targets:
                assert next_state(state, event, wanted) == wanted  # pyright: ignore[reportArgumentType]
            else:
                with pytest.raises(InvalidTransition):
                    next_state(state, event, wanted)  # pyright: ignore[reportArgumentType]

    def test_an_unknown_event_raises_in_every_state(self) -> None:
        for state in STATES:
            with pytest.raises(InvalidTransition, match="vanish"):
                next_state(state, "vanish")

    def test_the_error_names_the_job_where_it_is_known(self) -> None:
        with pytest.raises(InvalidTransition, match=r"job 7 is a dead letter; `claim` does not apply"):
            next_state("dead", "claim", job_id=7)

    @pytest.mark.parametrize(
        ("state", "event", "sentence"),
        [
            ("succeeded", "approve", "job 7 has succeeded; only held jobs can be approved; nothing was changed"),
            ("available", "reject", "job 7 is available; only held jobs can be rejected; nothing was changed"),
            ("running", "replay", "job 7 is running; only jobs that have ended can be run again; nothing was changed"),
            ("cancelled", "discard", "job 7 was cancelled; only dead letters can be discarded; nothing was changed"),
        ],
    )
    def test_a_person_is_told_which_states_a_verb_is_for(self, state: str, event: str, sentence: str) -> None:
        with pytest.raises(InvalidTransition) as raised:
            next_state(state, event, job_id=7)  # pyright: ignore[reportArgumentType]
        assert str(raised.value) == sentence

    def test_the_table_is_the_one_that_was_agreed_on(self) -> None:
        assert {(source, event, target) for (source, event), to in TRANSITIONS.items() for target in to} == {
            ("held", "approve", "available"),
            ("held", "approve", "scheduled"),
            ("held", "approve", "blocked"),
            ("held", "reject", "cancelled"),
            ("held", "abandon", "cancelled"),
            ("held", "cancel", "cancelled"),
            ("blocked", "unblock", "available"),
            ("blocked", "unblock", "scheduled"),
            ("blocked", "abandon", "cancelled"),
            ("blocked", "cancel", "cancelled"),
            ("scheduled", "due", "available"),
            ("scheduled", "cancel", "cancelled"),
            ("available", "claim", "running"),
            ("available", "hold", "held"),
            ("available", "cancel", "cancelled"),
            ("running", "succeed", "succeeded"),
            ("running", "fail", "scheduled"),
            ("running", "exhaust", "dead"),
            ("running", "interrupt", "available"),
            ("running", "stop", "cancelled"),
            ("dead", "replay", "available"),
            ("dead", "discard", "cancelled"),
            ("cancelled", "replay", "available"),
            ("succeeded", "replay", "available"),
        }

    def test_the_groups_of_states_cover_them_all_once(self) -> None:
        assert sorted((*WAITING, "running", *ENDED)) == sorted(STATES)
        assert (*WAITING, "running") == LIVE

    def test_every_state_can_be_reached_and_only_running_leads_to_a_result(self) -> None:
        reached = {target for to in TRANSITIONS.values() for target in to} | set(ENTRY_STATES)
        assert reached == set(STATES)
        assert {source for (source, _), to in TRANSITIONS.items() if "succeeded" in to or "dead" in to} == {"running"}


class TestSchema:
    """The database repeats the table: no code path can lead a job where the table does not."""

    COLUMNS = "queue, priority, argv, program, executable, cwd, env, retry, retries, caller, created_at"
    VALUES = "'q', 2, '[]', '/p', '/p', '/', '{}', '[]', 0, 'person', 0"
    # What else a state calls for, so that the move is refused for the move's sake alone.
    NEEDED = "due_at = 1, unmet = 1, parked = NULL, cancel_requested = 0, finished_at = {end}, ended = {end}"
    LEASE = "lease_token = {lease}, worker = {lease}"

    @pytest.fixture
    def database(self) -> sqlite3.Connection:
        connection = sqlite3.connect(":memory:", isolation_level=None)
        migrate(connection, 1)
        return connection

    def force(self, database: sqlite3.Connection, state: str) -> int:
        """A job in this state, whatever the rules say about how it got there."""
        database.execute("DROP TRIGGER IF EXISTS jobs_enter")
        return self.begin(database, state)

    def begin(self, database: sqlite3.Connection, state: str) -> int:
        """A new job in this state, with all that it calls for: refused for the state's sake alone."""
        lease = "'t'" if state == "running" else "NULL"
        end = "(SELECT count(*) FROM jobs)" if state in ENDED else "NULL"
        columns = f"state, due_at, unmet, finished_at, ended, lease_token, worker, {self.COLUMNS}"
        values = f"'{state}', 1, 1, {end}, {end}, {lease}, {lease}, {self.VALUES}"
        return database.execute(f"INSERT INTO jobs ({columns}) VALUES ({values}) RETURNING id").fetchone()[0]

    def move(self, database: sqlite3.Connection, job: int, state: str) -> None:
        lease = self.LEASE.format(lease="'t'" if state == "running" else "NULL")
        needed = self.NEEDED.format(end="1000 + id" if state in ENDED else "NULL")
        database.execute(f"UPDATE jobs SET state = '{state}', {needed}, {lease} WHERE id = ?", (job,))

    @pytest.mark.parametrize(("before", "after"), list(itertools.permutations(STATES, 2)))
    def test_it_agrees_with_the_table_about_every_pair(
        self, database: sqlite3.Connection, before: str, after: str
    ) -> None:
        job = self.force(database, before)
        allowed = any(source == before and after in to for (source, _), to in TRANSITIONS.items())
        if allowed:
            self.move(database, job, after)
        else:
            with pytest.raises(sqlite3.IntegrityError, match="no event of the table"):
                self.move(database, job, after)
        found = database.execute("SELECT state FROM jobs WHERE id = ?", (job,)).fetchone()[0]
        assert found == (after if allowed else before)

    @pytest.mark.parametrize("state", STATES)
    def test_it_agrees_about_how_a_job_begins(self, database: sqlite3.Connection, state: str) -> None:
        if state in ENTRY_STATES:
            self.begin(database, state)
        else:
            with pytest.raises(sqlite3.IntegrityError, match="cannot begin"):
                self.begin(database, state)


class TestEntryState:
    @pytest.mark.parametrize(
        ("held", "unmet", "due_at", "state"),
        [
            (True, 1, NOW + 1, "held"),
            (False, 1, NOW + 1, "blocked"),
            (False, 0, NOW + 1, "scheduled"),
            (False, 0, NOW, "available"),
            (False, 0, NOW - 1, "available"),
            (False, 0, None, "available"),
        ],
    )
    def test_it_is_the_first_thing_a_job_has_to_wait_for(
        self, held: bool, unmet: int, due_at: float | None, state: str
    ) -> None:
        assert entry_state(held=held, unmet=unmet, due_at=due_at, now=NOW) == state


class TestDependency:
    @pytest.mark.parametrize("state", STATES)
    def test_any_is_met_by_every_end(self, state: str) -> None:
        assert dependency("any", state) == ("met" if state in ENDED else "open")  # pyright: ignore[reportArgumentType]

    @pytest.mark.parametrize("state", STATES)
    def test_success_waits_for_a_dead_job_and_gives_up_on_a_cancelled_one(self, state: str) -> None:
        expected = {"succeeded": "met", "cancelled": "never"}.get(state, "open")
        assert dependency("success", state) == expected  # pyright: ignore[reportArgumentType]

    @pytest.mark.parametrize("state", STATES)
    def test_failure_is_met_by_death_alone(self, state: str) -> None:
        expected = {"dead": "met", "succeeded": "never", "cancelled": "never"}.get(state, "open")
        assert dependency("failure", state) == expected  # pyright: ignore[reportArgumentType]


OUTCOMES = {
    "success": Outcome(kind="exited", exit_code=0),
    "failure": Outcome(kind="exited", exit_code=1),
    "signalled": Outcome(kind="signalled", signal=9),
    "timed_out": Outcome(kind="timed_out", signal=15),
    "timed_out with code 0": Outcome(kind="timed_out", exit_code=0),
    "cancelled": Outcome(kind="cancelled", signal=15),
    "cancelled with code 0": Outcome(kind="cancelled", exit_code=0),
    "spawn_failed": Outcome(kind="spawn_failed", error="no such program"),
    "lost": Outcome(kind="lost"),
    "interrupted": Outcome(kind="interrupted", signal=15),
    "never_started": Outcome(kind="never_started"),
}


class TestDecide:
    def expected(self, name: str, failures: int, cancel: bool) -> tuple[str, str, bool]:
        """The rules again, in other words."""
        if name == "success":
            return "succeed", "succeeded", True
        if cancel:
            return "stop", "cancelled", name != "never_started"
        if name in ("interrupted", "never_started"):
            return "interrupt", "available", False
        if name == "spawn_failed" or failures >= 3:
            return "exhaust", "dead", True
        return "fail", "scheduled", True

    @pytest.mark.parametrize(("name", "failures", "cancel"), list(itertools.product(OUTCOMES, range(5), (False, True))))
    def test_what_follows_from_an_end(self, name: str, failures: int, cancel: bool) -> None:
        decision = decide(OUTCOMES[name], failures=failures, retry=THRICE, cancel_requested=cancel, now=NOW)
        assert (decision.event, decision.state, decision.counted) == self.expected(name, failures, cancel)
        assert decision.state in TRANSITIONS["running", decision.event]
        assert (decision.due_at is not None) == (decision.state == "scheduled")
        if decision.state == "scheduled":
            assert decision.due_at == NOW + 10.0 * 2**failures
        if decision.state in ("dead", "scheduled"):
            assert decision.reason

    @pytest.mark.parametrize("code", [1, 64])
    def test_a_permanent_exit_code_cannot_be_cured(self, code: int) -> None:
        outcome = Outcome(kind="exited", exit_code=code)
        decision = decide(
            outcome, failures=0, retry=THRICE, cancel_requested=False, now=NOW, permanent_exit_codes=(64, 65)
        )
        assert decision.state == ("dead" if code == 64 else "scheduled")

    def test_without_retries_the_first_failure_is_the_last(self) -> None:
        retry = Retry(retries=0)
        decision = decide(OUTCOMES["lost"], failures=0, retry=retry, cancel_requested=False, now=NOW)
        assert decision.state == "dead"
        assert "lost" in (decision.reason or "")

    def test_an_attempt_that_ran_out_of_time_is_no_success_whatever_it_returned(self) -> None:
        assert not OUTCOMES["timed_out with code 0"].success
        assert OUTCOMES["success"].success

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("failure", "exited with code 1"),
            ("signalled", "ended by signal 9"),
            ("timed_out", "longer than its time-out"),
            ("spawn_failed", "no such program"),
            ("lost", "lost"),
        ],
    )
    def test_an_end_is_told_in_words(self, name: str, words: str) -> None:
        assert words in describe(OUTCOMES[name])
