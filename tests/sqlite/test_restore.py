"""A backup back in the place of the database: for whoever has it open, over what is damaged, under new numbers."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from queue_core import backups, restoring, safekeeping
from queue_core.errors import NotAllowed, QueueError, StoreError, StoreFull
from queue_core.home import Home
from queue_core.model import Origin
from queue_core.sqlite import backup as engine
from queue_core.sqlite.engine import APPLICATION_ID, SCHEMA_VERSION
from queue_core.sqlite.migrations import STEPS, statements
from queue_core.sqlite.restore import LEAP
from queue_core.sqlite.store import SqliteStore
from tests.conformance.builders import PERSON, START, Bench
from tests.sqlite.conftest import alter, damage, raw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queue_core.restoring import Restored

pytestmark = pytest.mark.claim("restore")


def restore(home: Home, wanted: str | None = None, now: float = START + 100) -> Restored:
    chosen = restoring.choose(home, wanted, now=now).chosen
    return restoring.restore_backup(home, chosen, PERSON, clock=lambda: now, chance=lambda: 0.0)


class TestRestoringIntoASoundDatabase:
    @pytest.mark.parametrize("group_commit", [False, True])
    def test_whoever_has_it_open_goes_on_with_what_was_restored(self, home: Home, group_commit: bool) -> None:
        store = SqliteStore(home, group_commit=group_commit)
        bench = Bench(store)
        kept = bench.add()
        assert store.states_of([kept]) == {kept: "available"}
        safekeeping.take(home, lambda: START)
        bench.run(kept)
        later = bench.add()
        done = restore(home)
        assert (done.backup.jobs, done.kept_as) == (1, "before-restore-2027-01-15T080140Z.db")
        assert store.states_of([kept, later]) == {kept: "available"}
        assert bench.add() == later + 1
        assert bench.claimed() == [kept, later + 1]
        assert bench.counters() == bench.recount()
        store.close()

    def test_the_database_from_before_is_kept_and_can_be_restored(self, home: Home, bench: Bench) -> None:
        safekeeping.take(home, lambda: START)
        job = bench.add()
        kept_as = restore(home).kept_as
        assert bench.everything() == []
        restore(home, kept_as)
        assert bench.states(job) == ["available"]

    def test_cursors_that_somebody_holds_find_what_ends_from_now_on(self, home: Home, bench: Bench) -> None:
        job = bench.add()
        safekeeping.take(home, lambda: START)
        bench.run(job)
        cursor = bench.store.jobs(_newest()).cursor
        restore(home)
        bench.run(job)
        assert [one.id for one in bench.store.jobs(_newest(since=cursor)).jobs] == [job]

    def test_workers_of_then_are_forgotten_and_what_they_could_run_with_them(self, home: Home, bench: Bench) -> None:
        bench.enter("w1")
        raw(home, "INSERT INTO worker_handlers VALUES ('mail', 'w1')")
        safekeeping.take(home, lambda: START)
        restore(home)
        assert bench.store.workers() == []
        assert raw(home, "SELECT * FROM worker_handlers") == []

    def test_one_of_an_older_schema_is_brought_up_to_date(self, home: Home, bench: Bench, copies: Path) -> None:
        path = copies / "old.db"
        alter(path, *statements(STEPS[0]), f"PRAGMA application_id = {APPLICATION_ID}", "PRAGMA user_version = 1")
        bench.add()
        restore(home, str(path))
        assert bench.everything() == []
        assert raw(home, "PRAGMA user_version") == [(SCHEMA_VERSION,)]
        assert bench.claimed() == []
        assert raw(path_home(path), "PRAGMA user_version") == [(1,)]

    def test_one_of_a_newer_schema_is_refused(self, home: Home, bench: Bench) -> None:
        made = safekeeping.take(home, lambda: START)
        alter(made.backup.path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        bench.add()
        with pytest.raises(QueueError, match="a newer runq has written it"):
            restore(home, made.backup.name)
        assert bench.store.waiting() == 1

    def test_one_from_the_future_is_chosen_last_and_told(self, home: Home, bench: Bench) -> None:
        bench.add()
        future = safekeeping.take(home, lambda: START + 9000).backup
        bench.add()
        past = safekeeping.take(home, lambda: START).backup
        assert restoring.choose(home, None, now=START) == restoring.Choice(chosen=safekeeping.look(past))
        named = restoring.choose(home, future.name, now=START)
        assert [future.name in one for one in named.warnings] == [True, True]
        assert "dated in the future" in named.warnings[0]
        assert named.warnings[1].startswith(f"{past.name} has newer content")

    def test_that_another_has_newer_content_is_told_whatever_the_dates_say(self, home: Home, bench: Bench) -> None:
        older = safekeeping.take(home, lambda: START).backup
        bench.add()
        newer = safekeeping.take(home, lambda: START - 9000).backup
        choice = restoring.choose(home, None, now=START + 1)
        assert choice.chosen.backup == older
        (warning,) = choice.warnings
        assert warning.startswith(f"{newer.name} has newer content than {older.name}")

    @pytest.mark.parametrize("changed", [False, True])
    def test_of_a_restore_that_was_killed_nothing_stays_that_nobody_needs(
        self, home: Home, bench: Bench, monkeypatch: pytest.MonkeyPatch, changed: bool
    ) -> None:
        safekeeping.take(home, lambda: START)
        bench.add()
        step = "overwrite" if changed else "stage"
        script = (
            "import os, sys\n"
            "from queue_core import restoring\n"
            "from queue_core.home import Home\n"
            "from queue_core.model import Origin\n"
            f"restoring.restore.{step} = lambda *_: os._exit(9)\n"
            "home = Home(data=sys.argv[1], config=sys.argv[1])\n"
            f"chosen = restoring.choose(home, None, now={START + 1}).chosen\n"
            "person = Origin(caller='person')\n"
            f"restoring.restore_backup(home, chosen, person, clock=lambda: {START + 1}, chance=lambda: 0.0)\n"
        )
        environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        killed = subprocess.run([sys.executable, "-c", script, home.data], env=environ, check=False)
        assert killed.returncode == 9
        assert os.path.exists(home.restoring)
        kinds = [one.kind for one in backups.there(home)]
        assert kinds == ["before-restore", "manual"]
        safekeeping.tidy(home)
        assert not os.path.exists(home.restoring)
        assert [one.kind for one in backups.there(home)] == (kinds if changed else ["manual"])

    def test_the_newest_good_one_is_chosen(self, home: Home, bench: Bench) -> None:
        bench.add()
        first = safekeeping.take(home, lambda: START).backup
        newer = safekeeping.take(home, lambda: START + 60).backup
        damage(newer.path)
        assert restoring.choose(home, None, now=START + 100).chosen.backup == first
        with pytest.raises(QueueError, match="cannot be restored: it is damaged"):
            restore(home, newer.name)
        os.unlink(first.path)
        with pytest.raises(QueueError, match="no good backup"):
            restore(home)

    @pytest.mark.usefixtures("bench")
    @pytest.mark.parametrize("caller", ["agent", "hook"])
    def test_it_is_a_persons_alone(self, home: Home, caller: Any) -> None:
        safekeeping.take(home, lambda: START)
        chosen = restoring.choose(home, None, now=START).chosen
        with pytest.raises(NotAllowed):
            restoring.restore_backup(home, chosen, Origin(caller=caller), clock=lambda: START, chance=lambda: 0.0)

    def test_without_room_for_what_is_restored_nothing_is_changed_either(
        self, home: Home, bench: Bench, copies: Path
    ) -> None:
        large = copies / "large.db"
        other = SqliteStore(Home(data=str(copies / "other"), config=str(copies / "other")))
        for _ in range(300):
            Bench(other).add("echo", "x" * 1000)
        engine.save(Home(data=str(copies / "other"), config=str(copies / "other")), str(large))
        other.close()
        job = bench.add()
        chosen = restoring.choose(home, str(large), now=START + 100).chosen
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))
        try:
            with pytest.raises(StoreFull, match="is full"):
                restoring.restore_backup(home, chosen, PERSON, clock=lambda: START, chance=lambda: 0.0)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert bench.states(job) == ["available"]
        assert os.listdir(home.backups) == ["lock"]
        assert not os.path.exists(home.restoring)

    def test_a_restore_that_fails_in_its_last_step_leaves_nothing(
        self, home: Home, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        safekeeping.take(home, lambda: START)
        job = bench.add()

        def fail(*_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        monkeypatch.setattr(restoring.restore, "overwrite", fail)
        with pytest.raises(StoreFull):
            restore(home)
        assert bench.states(job) == ["available"]
        assert sorted(os.listdir(home.backups)) == ["lock", "manual-2027-01-15T080000Z.db"]
        assert not os.path.exists(home.restoring)

    def test_without_room_nothing_is_changed(self, home: Home, bench: Bench) -> None:
        safekeeping.take(home, lambda: START)
        for _ in range(200):
            bench.add("echo", "x" * 1000)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, limits[1]))
        try:
            with pytest.raises(StoreFull):
                restore(home)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert bench.store.waiting() == 200
        assert sorted(os.listdir(home.backups)) == ["lock", "manual-2027-01-15T080000Z.db"]
        assert not os.path.exists(home.restoring)


def path_home(path: Path) -> Home:
    """A home whose database is this file, for `raw`."""
    link = path.parent / "runq.db"
    if not link.exists():
        link.symlink_to(path)
    return Home(data=str(path.parent), config=str(path.parent))


def _newest(since: int | None = None) -> Any:
    from queue_core.jobs import Filter

    return Filter(limit=1000, since=since)


class TestRestoringInThePlaceOfADamagedOne:
    @pytest.fixture
    def damaged(self, home: Home) -> Iterator[SqliteStore]:
        """A home with a backup of two hundred jobs and a damaged database, which somebody has open."""
        store = SqliteStore(home)
        bench = Bench(store)
        for _ in range(200):
            bench.add("echo", "x" * 1000)
        safekeeping.take(home, lambda: START)
        store.close()
        opened = SqliteStore(home)
        damage(home.database)
        yield opened
        opened.close()

    @pytest.mark.parametrize("group_commit", [False, True])
    @pytest.mark.parametrize("first", ["read", "write"])
    def test_whoever_had_the_old_one_open_goes_on_with_what_was_restored(
        self, home: Home, damaged: SqliteStore, group_commit: bool, first: str
    ) -> None:
        opened = SqliteStore(home, group_commit=group_commit)
        assert opened.limits() == {}
        done = restore(home)
        assert done.backup.jobs == 200
        if first == "read":
            assert opened.waiting() == 200
        job = Bench(opened).add()
        assert Bench(opened).state(job) == "available"
        assert opened.waiting() == 201
        anew = SqliteStore(home)
        assert Bench(anew).state(job) == "available"
        damaged.close()
        opened.close()
        later = Bench(anew).add()
        anew.close()
        again = SqliteStore(home)
        assert Bench(again).states(job, later) == ["available"] * 2
        again.close()
        assert raw(home, "PRAGMA integrity_check") == [("ok",)]
        assert raw(home, "PRAGMA journal_mode") == [("wal",)]

    def test_a_worker_that_had_the_old_one_open_is_told_by_its_next_look(
        self, home: Home, damaged: SqliteStore
    ) -> None:
        store = SqliteStore(home)
        Bench(store).enter("w1")
        restore(home)
        for use in (store.waiting, Bench(store).add):
            with pytest.raises(StoreError, match="removed or replaced"):
                use()
        store.close()

    def test_the_damaged_file_is_kept(self, home: Home, damaged: SqliteStore) -> None:
        before = Path(home.database).read_bytes()
        kept_as = restore(home).kept_as
        assert kept_as is not None
        assert Path(home.backups, kept_as).read_bytes() == before
        assert next(one for one in safekeeping.listed(home) if one.backup.name == kept_as).error
        assert restoring.choose(home, None, now=START + 100).chosen.backup.kind == "manual"

    def test_its_wal_is_kept_beside_it_and_never_applied_to_the_new_one(self, home: Home) -> None:
        store = SqliteStore(home)
        bench = Bench(store)
        for _ in range(200):
            bench.add("echo", "x" * 1000)
        safekeeping.take(home, lambda: START)
        bench.add("echo", "y" * 9000)
        wal = Path(home.database + "-wal").read_bytes()
        assert wal
        os.truncate(home.database, 0)
        Path(home.database).write_text("my diary " * 1000)
        restoring_wal = Path(home.database + "-wal")
        kept_as = restore(home).kept_as
        assert kept_as is not None
        assert Path(home.backups, kept_as + "-wal").read_bytes() == wal
        assert not restoring_wal.exists()
        assert raw(home, "PRAGMA integrity_check") == [("ok",)]
        assert raw(home, "SELECT count(*) FROM jobs") == [(200,)]
        store.close()

    @pytest.mark.usefixtures("damaged")
    @pytest.mark.parametrize("state", ["gone", "empty", "foreign", "diary"])
    def test_so_is_one_that_is_gone_or_not_ours(self, home: Home, state: str) -> None:
        for name in (home.database, home.database + "-wal", home.database + "-shm"):
            if os.path.exists(name):
                os.unlink(name)
        if state == "empty":
            Path(home.database).touch(mode=0o600)
        elif state == "foreign":
            alter(home.database, "CREATE TABLE notes (text)")
        elif state == "diary":
            Path(home.database).write_text("my diary " * 1000)
        done = restore(home)
        assert (done.kept_as is None) is (state in ("gone", "empty"))
        store = SqliteStore(home)
        bench = Bench(store)
        assert store.waiting() == 200
        # Nobody knows any more how many ids were given since.
        assert bench.add() == 200 + LEAP + 1
        store.close()


def test_a_database_that_is_made_anew_takes_no_job_for_one_of_which_there_are_files(home: Home) -> None:
    os.makedirs(home.run(41, 1))
    store = SqliteStore(home)
    assert Bench(store).add() == 42
    store.close()


ADDERS = """
import sys
from queue_core.home import Home
from queue_core.sqlite.store import SqliteStore
from tests.conformance.builders import Bench
bench = Bench(SqliteStore(Home(data=sys.argv[1], config=sys.argv[1])))
while True:
    print(bench.receipt(parallelism=4).id, flush=True)
"""


def test_no_id_comes_twice_while_others_add_and_backups_are_restored(home: Home, bench: Bench) -> None:
    bench.add()
    safekeeping.take(home, lambda: START)
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    adders = [
        subprocess.Popen([sys.executable, "-c", ADDERS, home.data], stdout=subprocess.PIPE, env=environ)
        for _ in range(2)
    ]
    try:
        given: list[int] = [1]
        for adder in adders:
            assert adder.stdout is not None
            given.append(int(adder.stdout.readline()))
        for number in range(5):
            restore(home, "manual-2027-01-15T080000Z.db", now=START + number)
    finally:
        for adder in adders:
            adder.terminate()
            given += [int(line) for line in adder.communicate()[0].splitlines()]
    assert len(given) > 8
    assert len(set(given)) == len(given)
    assert raw(home, "PRAGMA integrity_check") == [("ok",)]
    assert bench.counters() == bench.recount()
