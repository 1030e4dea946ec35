"""Views: the contract's keys, and never a value of a variable or of an input."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queue_core import views
from queue_core.jobs import Attempt, Job, QueueRow, Totals
from queue_core.model import STATES, NewJob, Origin
from queue_core.service import Queue
from queue_core.settings import Settings
from queue_core.sqlite.store import SqliteStore
from queue_core.value import replace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from queue_core.home import Home

NOW = 1_800_000_000.0
CONTRACT = {
    "id state queue priority argv cwd attempt max_attempts created_at scheduled_at started_at finished_at outcome",
    "exit_code signal error waiting_for output_tail meta attempts",
}
KEYS = {key for line in CONTRACT for key in line.split()}
ATTEMPT_KEYS = set("claim outcome exit_code signal started_at finished_at host output_bytes".split())  # noqa: SIM905


def job(**fields: Any) -> Job:
    given: dict[str, Any] = dict.fromkeys(Job._fields)  # pyright: ignore[reportPrivateUsage]
    given.update(id=7, state="available", queue="q", priority="normal", argv=("make",), program="/usr/bin/make")
    given.update(
        executable="/usr/bin/make",
        cwd="/",
        env={},
        own_env=(),
        retries=3,
        locks=(),
        on_dead=(),
        arguments={},
        meta={},
        caller="person",
    )
    given.update(created_at=NOW, claim=0, attempt=0, failures=0, unmet=0, sequential=False, cancel_requested=False)
    given.update(attempts_before=0, attempts=())
    return Job(**{**given, **fields})


def queue(**fields: Any) -> QueueRow:
    counts = {**dict.fromkeys(STATES, 0), **fields.pop("counts", {})}
    return QueueRow(**{"name": "q", "paused": False, "slots": 4, "barred": False, "counts": counts, **fields})


class TestTimes:
    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (None, None),
            (0, "1970-01-01T00:00:00.000Z"),
            (NOW, "2027-01-15T08:00:00.000Z"),
            (NOW + 0.5, "2027-01-15T08:00:00.500Z"),
            (1_700_000_000.123, "2023-11-14T22:13:20.123Z"),
            (0.9996, "1970-01-01T00:00:01.000Z"),
            (-0.5, "1969-12-31T23:59:59.500Z"),
        ],
    )
    def test_a_time_is_rfc_3339_in_utc_to_the_millisecond(self, seconds: float | None, text: str | None) -> None:
        assert views.rfc3339(seconds) == text

    @given(st.integers(0, 4_000_000_000_000))
    def test_a_millisecond_comes_back_as_it_was(self, milliseconds: int) -> None:
        from datetime import datetime

        text = views.rfc3339(milliseconds / 1000)
        assert round(datetime.fromisoformat(text or "").timestamp() * 1000) == milliseconds


class TestJob:
    def test_it_has_every_key_of_the_contract(self) -> None:
        attempt = Attempt(claim=1, outcome="exited", exit_code=0)
        view = views.job(job(attempts=(attempt,)))
        assert set(view) >= KEYS
        assert set(view["attempts"][0]) >= ATTEMPT_KEYS

    def test_it_is_a_json_document(self) -> None:
        view = views.job(job(attempts=(Attempt(claim=1, outcome="lost", tail=b"\xff"),), meta={"a": "\udcff"}))
        assert json.loads(json.dumps(view)) == view

    def test_the_output_is_the_latest_attempts_tail_unless_a_newer_one_is_given(self) -> None:
        attempts = (Attempt(claim=1, outcome="exited", tail=b"old"), Attempt(claim=2, outcome="exited", tail=b"n\xffw"))
        assert views.job(job(attempts=attempts))["output_tail"] == "n\ufffdw"
        assert views.job(job(attempts=attempts), output_tail=b"live")["output_tail"] == "live"
        assert views.job(job())["output_tail"] == ""

    def test_durations_are_seconds_and_times_are_texts(self) -> None:
        view = views.job(job(timeout=5.0, due_at=NOW + 1))
        assert (view["timeout"], view["scheduled_at"]) == (5.0, "2027-01-15T08:00:01.000Z")


class TestSecrets:
    @pytest.fixture
    def whole(self, home: Home) -> Iterator[Queue]:
        environ = {"PATH": "/usr/bin:/bin", "API_KEY": "hush-1"}
        queue = Queue(SqliteStore(home), home, Settings(), environ)
        yield queue
        queue.close()

    def test_no_view_of_any_kind_holds_a_variables_value_or_an_input(self, whole: Queue, tmp_path: Path) -> None:
        secret = tmp_path / "input"
        secret.write_text("hush-4")
        asked = NewJob(argv=("true",), env={"MY_TOKEN": "hush-2"}, pass_env=("API_KEY",), stdin=b"hush-3")
        other = NewJob(argv=("true",), stdin_path=str(secret), on_dead=(("false",),), after=(1,))
        ids = [one.id for one in whole.enqueue([asked, other], Origin(caller="person"), folder="/")]
        from queue_core.jobs import Filter

        texts = [json.dumps(whole.job_view(one)) for one in ids]
        texts += [json.dumps(view) for view in (whole.list_view(Filter()), whole.status_view(), whole.health_view())]
        assert "hush" not in "".join(texts)
        assert {"MY_TOKEN", "API_KEY"} <= set(whole.job_view(ids[0])["env"])

    def test_nor_does_the_repr_of_anything_the_store_gives_out(self, whole: Queue) -> None:
        asked = NewJob(argv=("true",), env={"MY_TOKEN": "hush-2"}, stdin=b"hush-3")
        (receipt,) = whole.enqueue([asked], Origin(caller="person"), folder="/")
        leases = whole.store.exchange(
            (),
            worker="w",
            keeper="k",
            host="h",
            want=1,
            max_running=9,
            now=NOW,
            tokens=lambda: "hush-5",
            chance=lambda: 0,
        )[1]
        assert leases[0].stdin == b"hush-3"
        assert "hush" not in repr((whole.job(receipt.id), leases, whole.store.running()))


class TestCounting:
    @pytest.fixture
    def whole(self, home: Home) -> Iterator[Queue]:
        """Three queues that hold something, of which one is paused, and one that holds nothing and is limited."""
        columns = "(name, slots, paused, held, available, running, dead, starts_per_minute, rests_until)"
        rows = (
            "('some', 4, 2, 1, 2, 0, 4, NULL, NULL)",
            "('none', 1, 1, 0, 0, 1, 0, NULL, NULL)",
            "('open', 2, 0, 1, 0, 0, 0, NULL, NULL)",
            "('rests', 3, 0, 0, 0, 0, 0, 3, 1.5)",
        )
        queue = Queue(SqliteStore(home), home, Settings(), {"PATH": "/usr/bin:/bin"})
        with closing(sqlite3.connect(home.database, isolation_level=None)) as connection:
            connection.execute(f"INSERT INTO queues {columns} VALUES {', '.join(rows)}")
        yield queue
        queue.close()

    def test_counts_are_over_all_queues_and_name_every_state(self, whole: Queue) -> None:
        found = whole.store.totals()
        assert found.counts == {**dict.fromkeys(STATES, 0), "held": 2, "available": 2, "running": 1, "dead": 4}
        assert whole.store.overview().totals == found

    def test_of_paused_queues_those_count_in_which_jobs_wait(self, whole: Queue) -> None:
        assert whole.store.totals().paused == {"some": 3}

    def test_no_queue_holds_nothing(self, home: Home) -> None:
        store = SqliteStore(home)
        found = store.overview()
        store.close()
        assert found.totals == Totals(counts=dict.fromkeys(STATES, 0), paused={})
        assert views.status(found, {}, {})["queues"] == {}

    def test_each_queue_says_what_it_holds_in_the_order_of_their_names(self, whole: Queue) -> None:
        found = whole.status_view()["queues"]
        assert list(found) == ["none", "open", "rests", "some"]
        assert found == {
            "none": {"running": 1, "paused": True, "parallelism": 1},
            "open": {"held": 1, "paused": False, "parallelism": 2},
            "rests": {
                "paused": False,
                "parallelism": 3,
                "starts_per_minute": 3,
                "rests_until": "1970-01-01T00:00:01.500Z",
            },
            "some": {"held": 1, "available": 2, "dead": 4, "paused": True, "parallelism": 4},
        }

    def test_pending_is_what_waits(self) -> None:
        by_state = {state: 10**n for n, state in enumerate(STATES)}
        assert views.pending(by_state) == 1111

    def test_the_level_follows_from_capacity_alone(self) -> None:
        by_state = {**dict.fromkeys(STATES, 0), "dead": 50, "available": 8}
        view = views.health_of(by_state, capacity=10, problems=["dead letters"])
        assert view == {
            "level": "warning",
            "pending": 8,
            "capacity": 10,
            "usage": 0.8,
            "dead": 50,
            "problems": ["dead letters"],
        }

    def test_the_status_has_the_contracts_keys(self, whole: Queue) -> None:
        view = whole.status_view()
        assert set(view) >= {"counts", "queues", "worker", "health"}
        assert view["counts"] == {**dict.fromkeys(STATES, 0), "held": 2, "available": 2, "running": 1, "dead": 4}
        assert view["worker"] == {"state": "off", "pids": []}


class TestWaitingFor:
    def words(self, it: Job, **more: Any) -> str | None:
        given: dict[str, Any] = {
            "now": NOW,
            "queue": queue(),
            "needs": (),
            "barrier": None,
            "host_is_full": False,
            "workers": 1,
            **more,
        }
        return views.waiting_for(it, **given)

    @pytest.mark.parametrize(
        ("fields", "more", "words"),
        [
            ({"state": "held", "reason": "no rule covers this"}, {}, "approve 7"),
            ({"state": "held", "reason": "no rule covers this"}, {}, "no rule covers this"),
            ({"state": "blocked"}, {"needs": [(3, "success", "running")]}, "job 3 to succeed (now running)"),
            ({"state": "blocked"}, {"needs": [(3, "any", "dead"), (4, "failure", "held")]}, "replay or discard"),
            ({"state": "blocked"}, {"needs": [(3, "any", "dead"), (4, "failure", "held")]}, "job 4 to fail"),
            ({"state": "scheduled", "due_at": NOW + 12}, {}, "in 12 s"),
            ({"state": "scheduled", "due_at": NOW + 12, "failures": 1, "reason": "exited with code 1"}, {}, "code 1"),
            (
                {"state": "scheduled", "due_at": NOW + 10, "failures": 1, "reason": "exited with code 75"},
                {},
                "its time, in 10 s (the last attempt: exited with code 75)",
            ),
            ({"state": "scheduled", "due_at": NOW + 0.2}, {}, "in 1 s"),
            ({"state": "scheduled", "due_at": NOW}, {"workers": 0}, "a worker: none is up"),
            ({"state": "scheduled", "due_at": NOW - 1}, {"queue": queue(paused=True)}, "runq resume q"),
            ({"state": "scheduled", "due_at": NOW - 1}, {}, "its turn"),
            ({"handler": "transcribe", "argv": ()}, {"workers": 0}, "the handler transcribe"),
            ({}, {"queue": queue(paused=True)}, "runq resume q"),
            ({"parked": "gpu"}, {}, "the lock gpu"),
            ({}, {"barrier": 5}, "sequential job 5"),
            ({"sequential": True}, {"queue": queue(counts={"running": 2})}, "runs alone"),
            ({}, {"queue": queue(counts={"running": 4})}, "one of the 4 places"),
            (
                {},
                {"queue": queue(starts_per_minute=30, rests_until=NOW + 12)},
                "its queue's 30 starts a minute to come round: the next in 12 s",
            ),
            (
                {},
                {"starts_per_minute": 1, "all_rest_until": NOW + 3600},
                "all queues' 1 start a minute to come round: the next in 60 s",
            ),
            ({}, {"queue": queue(starts_per_minute=30, rests_until=NOW)}, "its turn"),
            ({}, {"host_is_full": True}, "max_running"),
            ({}, {"workers": 0}, "a worker: none is up"),
            ({}, {}, "its turn"),
        ],
    )
    def test_it_says_in_words_what_a_job_waits_for(self, fields: Any, more: Any, words: str) -> None:
        assert words in (self.words(job(**fields), **more) or "")

    @pytest.mark.parametrize("state", ["running", "succeeded", "dead", "cancelled"])
    def test_others_wait_for_nothing(self, state: str) -> None:
        assert self.words(replace(job(), state=state)) is None


@pytest.mark.parametrize(
    ("path", "shown"), [("/h/me/x", "~/x"), ("/h/me", "/h/me"), ("/h/me2/x", "/h/me2/x"), ("/x", "/x")]
)
def test_the_home_folder_is_a_tilde(path: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/h/me")
    assert views.folder_of(path) == shown


def test_a_piece_of_output_says_where_it_lies() -> None:
    assert views.output(b"ab", offset=3, total=9) == {"text": "ab", "offset": 3, "next_offset": 5, "total_bytes": 9}
