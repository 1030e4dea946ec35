"""The chat example, as whoever chats sees it, and as its operator sees the queue beside it."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers import wait_until
from tests.worker.conftest import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.examples.conftest import Server, Site

PLAIN, SIGNIFICANT = "we had tea", "Won!"


@pytest.fixture
def site(site_of: Callable[[str, str], Site]) -> Site:
    """With the example's own settings, and a classifier that answers when `gate` is there."""
    site = site_of("chat", "app:app")
    shutil.copy(site.folder / "config.toml", site.rig.home)
    site.rig.env |= {"CLASSIFIER_GATE": str(site.rig.folder / "gate"), "CLASSIFIER_FAILS_EVERY": "0"}
    return site


@pytest.fixture
def gate(site: Site) -> Path:
    return site.rig.folder / "gate"


def say(server: Server, text: str, owner: str = "ann") -> int:
    """One turn; its memory's id."""
    status, answer = server.ask("POST", "/turn", {"owner": owner, "text": text})
    assert status == 200
    return answer["memory"]


def scores(server: Server, owner: str = "ann") -> list[int | None]:
    return [memory["score"] for memory in server.get(f"/memories/{owner}")]


def pinned(server: Server, owner: str = "ann") -> dict[int, str]:
    return {memory["id"]: memory["pinned"] for memory in server.get(f"/memories/{owner}") if memory["pinned"]}


def scored(server: Server, owner: str = "ann") -> list[int | None]:
    """Wait until every memory has its score."""
    wait_until(lambda: None not in scores(server, owner), "every memory has its score", PATIENCE)
    return scores(server, owner)


def jobs(site: Site, *words: str) -> list[dict[str, Any]]:
    """The queue's jobs, oldest first."""
    found = json.loads(site.rig.runq("list", "--json", *words).stdout)["jobs"]
    return sorted(found, key=lambda job: job["id"])


def stored(site: Site, count: int) -> list[dict[str, Any]]:
    """Wait until so many jobs are durable."""
    wait_until(lambda: len(jobs(site)) == count, f"{count} jobs are stored", PATIENCE)
    return jobs(site)


def ended(site: Site, *states: str) -> None:
    wait_until(
        lambda: [job["state"] for job in jobs(site)] == list(states), f"the jobs are {', '.join(states)}", PATIENCE
    )


def test_turns_are_answered_while_the_classifier_is_slow_and_scored_when_it_answers(site: Site, gate: Path) -> None:
    server = site.start()
    for text in (PLAIN, SIGNIFICANT, "so so!"):
        say(server, text)
    wait_until(lambda: site.rig.queue.status_view()["counts"]["running"] == 2, "the classifier is asked", PATIENCE)
    assert scores(server) == [None, None, None]
    assert pinned(server) == {}, "not yet"
    gate.touch()
    assert scored(server) == [0, 4, 2]
    assert pinned(server) == {2: "automatic"}


def test_a_classifier_that_hangs_up_is_asked_again(site: Site, gate: Path) -> None:
    gate.touch()
    server = site.start(CLASSIFIER_FAILS_EVERY="3", RUNQ_BACKOFF="immediate")
    for _ in range(4):
        say(server, PLAIN)
    assert scored(server) == [0, 0, 0, 0]
    ended(site, *["succeeded"] * 4)
    outcomes = [site.rig.outcomes(job["id"]) for job in jobs(site)]
    assert sorted(map(len, outcomes)) == [1, 1, 1, 2]
    assert "ConnectionError: the classifier has hung up" in server.log()


def test_a_crash_in_the_handler_is_logged_and_hurts_nothing_but_its_job(site: Site, gate: Path) -> None:
    gate.touch()
    server = site.start(RUNQ_BACKOFF="immediate", RUNQ_RETRIES="1")
    say(server, "")
    say(server, PLAIN)
    ended(site, "dead", "succeeded")
    assert scores(server) == [None, 0]
    assert "the handler score has failed" in server.log()
    assert "ZeroDivisionError" in site.rig.output(1)
    say(server, PLAIN)
    ended(site, "dead", "succeeded", "succeeded")


def test_the_oldest_automatic_pin_of_an_owner_gives_way_and_a_persons_never(site: Site, gate: Path) -> None:
    gate.touch()
    server = site.start()
    say(server, SIGNIFICANT, "ben")
    scored(server, "ben")
    ids: list[int] = []
    for _ in range(10):
        ids.append(say(server, SIGNIFICANT))
        scored(server)
        if len(ids) == 1:
            answer = server.ask("POST", f"/pins/{ids[0]}")
            assert answer == (200, {"memory": ids[0], "pinned": "person"})
    expected = {ids[0]: "person", **dict.fromkeys(ids[3:], "automatic")}
    assert pinned(server) == expected
    assert list(pinned(server, "ben").values()) == ["automatic"]


def test_the_jobs_of_pinned_memories_are_pinned_too(site: Site, gate: Path) -> None:
    gate.touch()
    server = site.start()
    for text in (SIGNIFICANT, PLAIN):
        say(server, text)
    scored(server)
    ended(site, "succeeded", "succeeded")
    assert [site.rig.status(job["id"])["pinned"] for job in jobs(site)] == [True, False]
    site.rig.runq("prune", "--keep", "0")
    assert [job["id"] for job in jobs(site)] == [1]


def test_switched_off_nothing_is_queued_and_what_was_said_is_scored_when_it_is_on_again(site: Site, gate: Path) -> None:
    gate.touch()
    server = site.start(CHAT_BACKGROUND="off")
    for text in (PLAIN, SIGNIFICANT):
        say(server, text)
    server.terminate()
    server.left()
    assert scores_in_database(site) == [None, None]
    assert jobs(site) == []
    assert scored(site.start()) == [0, 4]


def scores_in_database(site: Site) -> list[int | None]:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(site.rig.folder / "chat.db")) as db:
        return [row[0] for row in db.execute("SELECT score FROM memories ORDER BY id")]


def test_a_kill_loses_no_job_that_was_stored_and_none_runs_twice(site: Site, gate: Path) -> None:
    site.rig.env["RUNQ_BACKOFF"] = "immediate"
    server = site.start()
    for _ in range(5):
        say(server, PLAIN)
    before = stored(site, 5)
    wait_until(lambda: site.rig.queue.status_view()["counts"]["running"] == 2, "two of them run", PATIENCE)
    server.kill()
    gate.touch()
    server = site.start()
    assert scored(server) == [0] * 5
    ended(site, *["succeeded"] * 5)
    assert [job["id"] for job in jobs(site)] == [job["id"] for job in before]
    outcomes = sorted(site.rig.outcomes(job["id"]) for job in before)
    assert outcomes == [[("exited", 0)]] * 3 + [[("lost", None), ("exited", 0)]] * 2


def test_an_application_that_is_to_stop_lets_running_jobs_end_and_keeps_the_others(site: Site, gate: Path) -> None:
    server = site.start()
    for _ in range(3):
        say(server, PLAIN)
    wait_until(lambda: site.rig.queue.status_view()["counts"]["running"] == 2, "two of them run", PATIENCE)
    server.terminate()
    workers = site.rig.queue.store.workers
    wait_until(lambda: not any(one.claiming for one in workers()), "its worker begins nothing more", PATIENCE)
    gate.touch()
    server.left()
    assert [job["state"] for job in jobs(site)] == ["succeeded", "succeeded", "available"]


def test_a_snapshot_is_taken_after_so_many_jobs(site: Site, gate: Path) -> None:
    gate.touch()
    server = site.start(RUNQ_SNAPSHOT_EVERY="3")
    for _ in range(3):
        say(server, PLAIN)
    scored(server)

    def kinds() -> list[str]:
        return [one["kind"] for one in json.loads(site.rig.runq("backup", "list", "--json").stdout)["backups"]]

    wait_until(lambda: "snapshot" in kinds(), "a snapshot is listed", PATIENCE)
    assert all(one["ok"] for one in json.loads(site.rig.runq("backup", "list", "--json").stdout)["backups"])


def test_a_turn_that_makes_no_sense_is_told_so_and_stores_nothing(site: Site) -> None:
    server = site.start()
    for body in ("", "[]", '{"owner": "ann"}'):
        assert server.ask("POST", "/turn", body)[0] == 400
    assert server.get("/memories/ann") == []
    assert jobs(site) == []


def test_a_pin_on_a_memory_that_does_not_exist_is_told_so(site: Site) -> None:
    server = site.start()
    memory = say(server, PLAIN)
    assert server.ask("POST", "/pins/77") == (404, {"error": "there is no memory 77"})
    assert pinned(server) == {}
    assert server.ask("POST", f"/pins/{memory}") == (200, {"memory": memory, "pinned": "person"})
    assert pinned(server) == {memory: "person"}
