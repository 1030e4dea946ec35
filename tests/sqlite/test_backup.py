"""Copies of the file, and a copy back in its place: complete or not there at all, whoever is at work on it."""

from __future__ import annotations

import fcntl
import os
import resource
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from queue_core import backups, safekeeping
from queue_core.errors import QueueError, StoreError, StoreFull, UsageError
from queue_core.home import Home
from queue_core.sqlite import backup as engine
from queue_core.sqlite.engine import SCHEMA_VERSION
from queue_core.sqlite.store import SqliteStore
from tests.conformance.builders import START, Bench
from tests.sqlite.conftest import alter, damage, lock_held

if TYPE_CHECKING:
    pass

WRITERS = """
import sys
from queue_core.home import Home
from queue_core.sqlite.store import SqliteStore
from tests.conformance.builders import Bench, admission
bench = Bench(SqliteStore(Home(data=sys.argv[1], config=sys.argv[1])))
print("ready", flush=True)
while True:
    bench.submit(*[admission("echo", "x" * 500) for _ in range(7)], capacity=10**9)
"""


def rows(path: str | Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
        return connection.execute(sql).fetchall()


class TestACopy:
    def test_it_is_one_file_of_its_own_that_holds_everything(self, home: Home, bench: Bench, copies: Path) -> None:
        ids = [bench.add("echo", "x" * 3000) for _ in range(50)]
        found = engine.save(home, str(copies / "copy.db"))
        assert (found.version, found.jobs, found.error) == (SCHEMA_VERSION, 50, None)
        assert os.listdir(copies) == ["copy.db"]
        assert stat.S_IMODE((copies / "copy.db").stat().st_mode) == 0o600
        assert [row[0] for row in rows(copies / "copy.db", "SELECT id FROM jobs ORDER BY id")] == ids
        assert (copies / "copy.db").read_bytes()[18:20] == b"\1\1"  # by SQLite's file format: it needs no WAL

    def test_it_is_complete_while_others_write(self, home: Home, copies: Path) -> None:
        environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITERS, home.data], stdout=subprocess.PIPE, env=environ)
            for _ in range(2)
        ]
        try:
            for writer in writers:
                assert writer.stdout is not None
                assert writer.stdout.readline() == b"ready\n"
            counted: list[int] = []
            for number in range(6):
                found = engine.save(home, str(copies / f"{number}.db"))
                assert found.error is None
                assert found.jobs is not None
                counted.append(found.jobs)
                assert found.jobs % 7 == 0  # whole transactions
                assert rows(copies / f"{number}.db", "PRAGMA integrity_check") == [("ok",)]
                assert rows(copies / f"{number}.db", "SELECT sum(available) FROM queues") == [(found.jobs or None,)]
            assert all(writer.poll() is None for writer in writers)
        finally:
            for writer in writers:
                writer.kill()
                writer.communicate()
        assert counted == sorted(counted)

    @pytest.mark.usefixtures("bench")
    def test_it_waits_for_no_writer_and_no_writer_for_it(self, home: Home, copies: Path) -> None:
        done = threading.Event()

        def save() -> None:
            with closing(engine.connect(home)) as source:
                engine.copy(source, str(copies / "copy.db"))
            done.set()

        with lock_held(home):
            thread = threading.Thread(target=save)
            thread.start()
            assert done.wait(20)
        thread.join()

    @pytest.mark.usefixtures("bench")
    def test_a_file_that_is_there_is_left_as_it_is(self, home: Home, copies: Path) -> None:
        (copies / "mine").write_text("my diary")
        (copies / "link").symlink_to(copies / "elsewhere")
        for name in ("mine", "link"):
            with pytest.raises(QueueError, match="is there already"):
                engine.save(home, str(copies / name))
        assert (copies / "mine").read_text() == "my diary"
        assert sorted(os.listdir(copies)) == ["link", "mine"]

    def test_of_a_damaged_database_there_is_none(self, home: Home, copies: Path) -> None:
        store = SqliteStore(home)
        bench = Bench(store)
        for _ in range(200):
            bench.add("echo", "x" * 1000)
        store.close()
        damage(home.database)
        with pytest.raises(engine.NotSound, match="damaged"):
            engine.save(home, str(copies / "copy.db"))
        os.truncate(home.database, os.path.getsize(home.database) // 2 + 11)
        with pytest.raises(StoreError, match="damaged"):
            engine.save(home, str(copies / "copy.db"))
        assert os.listdir(copies) == []

    def test_a_full_disk_is_told_and_leaves_nothing(self, home: Home, bench: Bench, copies: Path) -> None:
        for _ in range(200):
            bench.add("echo", "x" * 1000)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, limits[1]))
        try:
            with pytest.raises(StoreFull, match=r"no room for a backup in .*copies"):
                engine.save(home, str(copies / "copy.db"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert os.listdir(copies) == []
        assert bench.store.waiting() == 200

    @pytest.mark.usefixtures("bench")
    def test_a_folder_that_takes_no_file_is_told(self, home: Home, copies: Path) -> None:
        with pytest.raises(StoreError, match="no backup can be written to"):
            engine.save(home, str(copies / "missing" / "copy.db"))

    @pytest.mark.usefixtures("bench")
    def test_what_is_no_sound_database_of_runqs_is_told_by_a_look(self, home: Home, copies: Path) -> None:
        path = str(copies / "copy.db")
        engine.save(home, path)
        alter(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        assert engine.check(path).too_new
        alter(path, "PRAGMA application_id = 7")
        assert engine.check(path).error == "it is not runq's database"
        Path(path).write_text("my diary " * 1000)
        assert "no SQLite database" in (engine.check(path).error or "")
        assert "cannot be opened" in (engine.check(path + "x").error or "")
        Path(path + "-wal").write_text("x")
        assert "WAL" in (engine.check(path).error or "")


class TestTaking:
    @pytest.mark.usefixtures("bench")
    def test_what_a_killed_process_left_half_made_is_removed(self, home: Home) -> None:
        os.mkdir(home.backups, 0o700)
        for name in (".nightly-x.db.12ab.part", ".nightly-x.db.12ab.part-journal"):
            Path(home.backups, name).touch()
        safekeeping.take(home, lambda: START)
        assert sorted(os.listdir(home.backups)) == ["lock", "manual-2027-01-15T080000Z.db"]

    @pytest.mark.usefixtures("bench")
    def test_two_of_one_second_have_two_names(self, home: Home) -> None:
        names = {safekeeping.take(home, lambda: START).backup.name for _ in range(3)}
        assert names == {f"manual-2027-01-15T080000Z{number}.db" for number in ("", "-2", "-3")}

    def test_the_later_one_of_a_second_is_the_newer_one_whatever_was_removed(self, home: Home, bench: Bench) -> None:
        made: list[str] = []
        for _ in range(12):
            bench.add()
            made.append(safekeeping.take(home, lambda: START + 0.5).backup.path)
        assert [one.path for one in backups.there(home)] == made[::-1]
        os.unlink(made[0])
        os.unlink(made[3])
        newest = safekeeping.take(home, lambda: START + 0.5).backup.path
        assert backups.there(home)[0].path == newest

    @pytest.mark.usefixtures("bench")
    def test_its_time_is_taken_when_no_other_is_at_work_any_more(self, home: Home) -> None:
        safekeeping.take(home, lambda: START)
        free: list[bool] = []

        def clock() -> float:
            with open(home.backup_lock) as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    free.append(False)
                else:
                    free.append(True)
            return START + 5

        assert safekeeping.take(home, clock).backup.taken_at == START + 5
        assert free == [False]

    @pytest.mark.usefixtures("bench")
    def test_only_a_file_is_one(self, home: Home, copies: Path) -> None:
        good = safekeeping.take(home, lambda: START).backup
        os.mkfifo(home.backups + "/nightly-2026-11-22T030000Z.db")
        os.symlink("/dev/zero", home.backups + "/nightly-2026-11-23T030000Z.db")
        os.mkdir(home.backups + "/nightly-2026-11-24T030000Z.db")
        assert [one.path for one in backups.there(home)] == [good.path]

    @pytest.mark.parametrize("killed", ["", "in the middle", "foreign"])
    @pytest.mark.usefixtures("bench")
    def test_what_a_killed_one_left_in_a_folder_of_ones_own_goes_with_the_next_one_there(
        self, home: Home, copies: Path, killed: str
    ) -> None:
        left = copies / ".yesterday.db.0123abcd.part"
        left.touch()
        if killed:
            engine.save(home, str(copies / "whole"))
            left.write_bytes((copies / "whole").read_bytes()[:8192])
            os.unlink(copies / "whole")
        if killed == "foreign":
            left.write_text("my diary " * 1000)
        (copies / ".yesterday.db.0123abcd.part-journal").touch()
        (copies / ".mine.part").touch()
        (copies / ".link.0123abcd.part").symlink_to(copies / "x")
        for path in copies.iterdir():
            os.utime(path, (START - 3700, START - 3700), follow_symlinks=False)
        (copies / ".other.0123abcd.part").touch()
        os.utime(copies / ".other.0123abcd.part", (START - 60, START - 60))  # somebody may be at work on it
        safekeeping.take(home, lambda: START, str(copies / "x.db"))
        expected = {".mine.part", ".other.0123abcd.part", ".link.0123abcd.part", "x.db"}
        kept = {left.name, left.name + "-journal"} if killed == "foreign" else set[str]()
        assert set(os.listdir(copies)) == expected | kept

    def test_of_nothing_there_is_none(self, home: Home, copies: Path) -> None:
        with pytest.raises(QueueError, match="nothing to back up"):
            safekeeping.take(home, lambda: START)

    @pytest.mark.usefixtures("bench")
    def test_a_folder_is_no_file(self, home: Home, copies: Path) -> None:
        with pytest.raises(UsageError, match="names a file"):
            safekeeping.take(home, lambda: START, str(copies))
