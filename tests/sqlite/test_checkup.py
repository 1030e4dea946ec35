"""Soon after a start somebody looks whether the database is sound; one that is not is told of, and not written to."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from queue_core import checkup, safekeeping, spool
from queue_core.cli import checks
from queue_core.errors import StoreError
from queue_core.service import Queue
from queue_core.settings import Settings
from queue_core.sqlite import damage
from queue_core.sqlite.engine import identity
from queue_core.sqlite.store import SqliteStore
from tests.conformance.builders import PERSON, START, Bench, admission
from tests.helpers import wait_until
from tests.mcp.places import Place
from tests.mcp.servers import Server
from tests.sqlite.conftest import raw
from tests.worker.conftest import PATIENCE, Rig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queue_core.home import Home

pytestmark = pytest.mark.claim("file")


def harm(path: Path) -> None:
    """Garbage over one page in the middle, which nobody reads for the usual verbs."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 4096 // 2 * 4096)
        file.write(b"\xa5" * 4096)


def fill(store: SqliteStore) -> None:
    store.enqueue([admission("x" * 3000)] * 100, now=START, capacity=10_000, parallelism=4)


@pytest.fixture
def queue(home: Home) -> Iterator[Queue]:
    store = SqliteStore(home)
    fill(store)
    queue = Queue(store, home, Settings(), {}, clock=lambda: START)
    yield queue
    queue.close()


def reopened(queue: Queue) -> Queue:
    queue.store.close()
    harm(Path(queue.home.database))
    queue.store = SqliteStore(queue.home)
    return queue


@pytest.mark.claim("restore")
def test_damage_is_told_with_the_newest_good_backup_and_nothing_is_written_any_more(queue: Queue) -> None:
    name = safekeeping.take(queue.home, lambda: START).backup.name
    reopened(queue)
    said = checkup.look_if_due(queue.home, START)
    assert said and name in said and "`runq backup restore`" in said
    assert queue.health_view()["problems"][0] == said
    before = Path(queue.home.database).read_bytes()
    bench = Bench(queue.store)  # pyright: ignore[reportArgumentType]
    for write in (bench.add, bench.claim, lambda: queue.store.note("denied", by=PERSON, now=START)):
        with pytest.raises(StoreError, match=name):
            write()
    with pytest.raises(StoreError, match=name):
        bench_of_another = Bench(SqliteStore(queue.home))
        bench_of_another.add()
    assert Path(queue.home.database).read_bytes() == before
    assert not os.path.exists(queue.home.database + "-wal") or not os.path.getsize(queue.home.database + "-wal")


def test_a_sound_one_is_looked_at_once_an_hour_by_all_together(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []

    def look(home: Home, *, seconds: float) -> None:
        assert seconds > 0
        looks.append(home.database)

    monkeypatch.setattr(checkup, "quick_check", look)
    for moment in (0, 1, 3599, 3601, 3602, 0):  # the last: the clock was set back
        assert checkup.look_if_due(queue.home, START + moment) is None
    assert len(looks) == 3
    monkeypatch.setattr(checkup, "boot_id", lambda: "another boot")
    for _ in range(2):
        checkup.look_if_due(queue.home, START + 1)
    assert len(looks) == 4
    assert queue.health_view()["problems"] == []


def test_what_takes_too_long_says_nothing(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "LONGEST", -1.0)
    for _ in range(20):
        queue.store.enqueue([admission()] * 200, now=START, capacity=10_000, parallelism=4)
    with pytest.raises(StoreError, match="could not be looked"):
        checkup.look(queue.home)
    assert not any("damaged" in problem for problem in queue.health_view()["problems"])


def test_another_file_in_its_place_is_not_the_damaged_one(queue: Queue, tmp_path: Path) -> None:
    good = safekeeping.take(queue.home, lambda: START, str(tmp_path / "good.db"))
    reopened(queue)
    assert checkup.look(queue.home)
    queue.store.close()
    os.replace(good.backup.path, queue.home.database)
    store = SqliteStore(queue.home)
    assert Bench(store).add() == 101
    store.close()
    assert checkup.problem(queue.home) is None


def test_one_that_was_mended_is_written_to_again_after_a_look(queue: Queue) -> None:
    good = Path(queue.home.database).read_bytes()
    queue.store.close()
    good = Path(queue.home.database).read_bytes()
    harm(Path(queue.home.database))
    assert checkup.look(queue.home)
    with open(queue.home.database, "r+b") as file:
        file.write(good)
    assert checkup.look(queue.home) is None
    queue.store = SqliteStore(queue.home)
    assert Bench(queue.store).add() == 101
    assert raw(queue.home, "PRAGMA integrity_check") == [("ok",)]


def test_a_new_one_is_not_taken_for_the_damaged_one_that_was_removed(home: Home) -> None:
    """File systems give its inode to the next file."""
    SqliteStore(home).close()
    os.unlink(home.database)
    Path(home.damaged).write_text("1 2\nof the one before")
    store = SqliteStore(home)
    assert not os.path.exists(home.damaged)
    store.close()


def test_one_that_was_mended_in_its_place_is_written_to_again_after_doctor_has_looked(queue: Queue) -> None:
    """Its inode is the same, and no worker comes up that would look."""
    file = identity(queue.home.database)
    assert file
    damage.note(queue.home, file, "of before")
    with pytest.raises(StoreError, match="`runq doctor` finds it sound"):
        Bench(queue.store).add()  # pyright: ignore[reportArgumentType]
    checks.examine(queue.home, {"RUNQ_HOME": queue.home.data})
    Bench(queue.store).add()  # pyright: ignore[reportArgumentType]


def test_damage_is_told_where_it_cannot_be_noted(queue: Queue) -> None:
    reopened(queue)
    os.mkdir(queue.home.damaged)
    assert "is damaged" in (checkup.look(queue.home) or "")


def damaged_home(folder: Path, environ: dict[str, str]) -> str:
    """A home whose database is damaged where nobody looks at once; the name of its backup."""
    queue = Queue.open(environ)
    queue.submit_all([{"argv": ["true", "x" * 3000], "delay": 3600} for _ in range(100)])
    name = safekeeping.take(queue.home, queue.clock).backup.name
    queue.close()
    harm(folder / "runq.db")
    return name


def test_a_worker_finds_it_leaves_and_a_hooks_job_waits_in_the_spool_for_the_restore(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    try:
        rig.queue.close()
        name = damaged_home(rig.home, rig.env)
        worker = rig.start("work")
        code, _, said = worker.left()
        assert (code, name in said, "Traceback" in said) == (1, True, False), said
        assert name in rig.log()
        rig.runq("hook", "--", "true", input="{}")
        assert len(spool.pending(rig.queue.home)) == 1
        assert name in rig.runq("add", "--", "true", code=1).stderr
        assert name in rig.runq("health").stdout
        assert json_of(rig, "backup", "restore", "--yes", "--json")["restored"]["name"] == name
        rig.queue = type(rig.queue).open(rig.env)
        assert rig.runq("list", "--limit", "1000").stdout.count("\n") == 101
        assert rig.sh("true") > 101
        assert "damaged" not in rig.runq("health").stdout
    finally:
        rig.close()


def test_a_worker_that_comes_up_looks_again_whether_it_has_been_mended(tmp_path: Path) -> None:
    """While the note stands nobody can write, not even a worker that wants to register: who should find it sound?"""
    rig = Rig(tmp_path)
    try:
        job = rig.sh("true")
        here = identity(rig.queue.home.database)
        assert here is not None
        damage.note(rig.queue.home, here, "of a disk that has been mended")
        rig.drain()
        assert rig.state(job) == "succeeded"
    finally:
        rig.close()


def test_a_look_that_failed_is_the_next_ones_turn(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []

    def look(home: Home, *, seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 1:
            raise OSError("not now")

    monkeypatch.setattr(checkup, "quick_check", look)
    with pytest.raises(OSError, match="not now"):
        checkup.look_if_due(queue.home, START)
    for _ in range(2):
        assert checkup.look_if_due(queue.home, START) is None
    assert len(looks) == 2


def test_of_a_note_that_somebody_else_has_written_only_so_much_is_told(queue: Queue) -> None:
    here = identity(queue.home.database)
    assert here is not None
    damage.note(queue.home, here, "\x1b[31m" + "x" * 5000)
    said = checkup.problem(queue.home)
    assert said is not None
    assert ("\x1b" in said, len(said) < 1000) == (False, True)


def json_of(rig: Rig, *words: str) -> dict[str, dict[str, object]]:
    return json.loads(rig.runq(*words).stdout)


def test_a_server_finds_it_and_says_so(tmp_path: Path) -> None:
    with Place(tmp_path) as place:
        name = damaged_home(place.home, place.environ)
        with Server(place, RUNQ_IDLE="0") as server:
            server.shake_hands()

            def told() -> bool:
                return name in json.dumps(server.call("status"))

            wait_until(told, "its status tells of it", PATIENCE)
            refused = server.ask("tools/call", name="enqueue", arguments={"argv": ["true"]})
            assert refused["isError"] and name in refused["content"][0]["text"]
        (place.home / "damaged").unlink()
        for path in place.home.glob("runq.db*"):
            path.unlink()
