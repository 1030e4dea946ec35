"""The database file: whose it is, who may read it, and what happens when somebody tampers with it."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from queue_core import home as home_module
from queue_core.errors import HomeError, StoreError, StoreTooNew
from queue_core.sqlite.engine import APPLICATION_ID, SCHEMA_VERSION, Database
from queue_core.sqlite.store import SqliteStore
from tests.conformance.builders import Bench
from tests.sqlite.conftest import raw

if TYPE_CHECKING:
    from queue_core.home import Home

pytestmark = pytest.mark.claim("file")


class TestIdentity:
    @pytest.mark.usefixtures("store")
    def test_the_file_says_whose_it_is_and_of_which_version(self, home: Home) -> None:
        assert raw(home, "PRAGMA application_id") == [(APPLICATION_ID,)]
        assert raw(home, "PRAGMA user_version") == [(SCHEMA_VERSION,)]
        assert raw(home, "PRAGMA journal_mode") == [("wal",)]

    def test_it_can_be_opened_again_and_holds_what_was_put_in(self, home: Home) -> None:
        first = SqliteStore(home)
        job = Bench(first).add()
        first.close()
        second = SqliteStore(home)
        assert Bench(second).state(job) == "available"
        second.close()

    @pytest.mark.parametrize(
        "statements",
        [
            ["CREATE TABLE notes (text)"],
            ["PRAGMA application_id = 7"],
            ["PRAGMA user_version = 1"],
            ["PRAGMA user_version = 1", "CREATE TABLE jobs (id)"],
        ],
    )
    def test_another_programs_database_is_left_alone(self, home: Home, statements: list[str]) -> None:
        for statement in statements:
            raw(home, statement)
        before = Path(home.database).read_bytes()
        with pytest.raises(StoreError, match="is not runq's database"):
            SqliteStore(home)
        assert Path(home.database).read_bytes() == before

    def test_a_file_that_is_no_database_is_left_alone(self, home: Home) -> None:
        Path(home.database).write_text("my diary " * 1000)
        with pytest.raises(StoreError, match="damaged or no SQLite database"):
            SqliteStore(home)
        assert Path(home.database).read_text() == "my diary " * 1000

    def test_a_folder_of_its_name_is_told(self, home: Home) -> None:
        Path(home.database).mkdir()
        with pytest.raises(StoreError):
            SqliteStore(home)

    def test_a_file_that_was_made_but_not_filled_before_a_crash_is_filled(self, home: Home) -> None:
        Path(home.database).touch(mode=0o600)
        store = SqliteStore(home)
        assert Bench(store).add() == 1
        store.close()


class TestVersions:
    def test_a_newer_version_is_not_touched(self, home: Home) -> None:
        SqliteStore(home).close()
        raw(home, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        with pytest.raises(StoreTooNew, match="upgrade this installation"):
            SqliteStore(home)

    def test_an_upgrade_under_the_feet_stops_every_write(self, home: Home, store: SqliteStore) -> None:
        bench = Bench(store)
        job = bench.add()
        raw(home, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        for write in (bench.add, bench.claim, lambda: bench.cancel(job)):
            with pytest.raises(StoreTooNew):
                write()
        assert raw(home, "SELECT id, state FROM jobs") == [(job, "available")]
        raw(home, f"PRAGMA user_version = {SCHEMA_VERSION}")
        assert bench.claimed() == [job]

    def test_a_read_that_makes_no_sense_any_more_after_it_is_told_to_upgrade(
        self, home: Home, store: SqliteStore
    ) -> None:
        job = Bench(store).add()
        assert store.running() == []
        raw(home, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        assert store.states_of([job]) == {job: "available"}, "what can still be read is read"
        raw(home, "DROP INDEX jobs_running")
        with pytest.raises(StoreTooNew, match="upgrade this installation"):
            store.running()
        raw(home, f"PRAGMA user_version = {SCHEMA_VERSION}")
        with pytest.raises(StoreError, match="cannot be used"):
            store.running()


class TestTampering:
    @pytest.mark.parametrize("group_commit", [False, True])
    def test_writes_to_a_file_that_was_removed_are_refused(self, home: Home, group_commit: bool) -> None:
        store = SqliteStore(home, group_commit=group_commit)
        bench = Bench(store)
        bench.add()
        os.unlink(home.database)
        with pytest.raises(StoreError, match="removed or replaced"):
            bench.add()
        store.close()

    def test_writes_to_a_file_that_was_replaced_are_refused(
        self, home: Home, store: SqliteStore, tmp_path: Path
    ) -> None:
        bench = Bench(store)
        bench.add()
        other = Path(home.database).read_bytes()
        (tmp_path / "copy").write_bytes(other)
        os.replace(tmp_path / "copy", home.database)  # the old one's WAL lies beside it
        for use in (bench.add, store.waiting):
            with pytest.raises(StoreError, match="removed or replaced"):
                use()

    def test_a_file_in_its_place_that_is_another_programs_is_neither_written_nor_read(
        self, home: Home, store: SqliteStore, tmp_path: Path
    ) -> None:
        bench = Bench(store)
        bench.add()
        os.rename(home.database + "-wal", tmp_path / "wal")
        with sqlite3.connect(tmp_path / "other") as connection:
            connection.execute("CREATE TABLE notes (text)")
        connection.close()
        os.replace(tmp_path / "other", home.database)
        before = Path(home.database).read_bytes()
        for use in (bench.add, store.waiting):
            with pytest.raises(StoreError, match="removed or replaced"):
                use()
        store.close()
        assert Path(home.database).read_bytes() == before

    def test_a_read_never_makes_a_file(self, home: Home) -> None:
        store = SqliteStore(home)
        os.unlink(home.database)
        with pytest.raises(StoreError, match="removed or replaced"):
            store.job(1)
        assert not os.path.exists(home.database)
        store.close()

    def test_a_damaged_file_is_told_when_it_is_read(self, home: Home) -> None:
        store = SqliteStore(home)
        bench = Bench(store)
        for _ in range(200):
            bench.add("x" * 1000)
        store.close()
        size = os.path.getsize(home.database)
        with open(home.database, "r+b") as file:
            file.seek(size // 2)
            file.write(b"\xff" * (size // 2))
        store = SqliteStore(home)
        with pytest.raises(StoreError, match="damaged"):
            Bench(store).everything()
        store.close()


class TestAccess:
    @pytest.fixture
    def usual_umask(self):
        before = os.umask(0o022)
        yield
        os.umask(before)

    @pytest.mark.usefixtures("usual_umask")
    def test_every_file_is_for_its_user_alone(self, home: Home) -> None:
        store = SqliteStore(home)
        Bench(store).add()
        found = {name: stat.S_IMODE(os.stat(home.path(name)).st_mode) for name in os.listdir(home.data)}
        assert found == dict.fromkeys(["runq.db", "runq.db-wal", "runq.db-shm", "runq.lock"], 0o600)
        store.close()

    @pytest.mark.usefixtures("usual_umask")
    def test_the_folder_is_made_for_its_user_alone(self, tmp_path: Path) -> None:
        folder = tmp_path / "new" / "home"
        SqliteStore(home_module.Home(data=str(folder), config=str(folder))).close()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700

    def test_a_folder_that_is_open_to_others_is_refused(self, home: Home) -> None:
        os.chmod(home.data, 0o750)
        with pytest.raises(HomeError, match="chmod 700"):
            SqliteStore(home)

    def test_a_network_file_system_is_refused_every_time(self, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
        kind = home_module.file_system(home.data)
        if kind is None:
            pytest.skip("this system does not tell what its file systems are")
        monkeypatch.setattr(home_module, "NETWORK_FILE_SYSTEMS", frozenset({kind}))
        for _ in range(2):
            with pytest.raises(HomeError, match="network file system"):
                SqliteStore(home)
        os.rmdir(home.data)
        for _ in range(2):
            with pytest.raises(HomeError, match="network file system"):
                SqliteStore(home)

    def test_a_database_is_never_made_through_a_link(self, home: Home, tmp_path: Path) -> None:
        Path(home.database).symlink_to(tmp_path / "elsewhere")
        with pytest.raises(StoreError):
            SqliteStore(home)
        assert not (tmp_path / "elsewhere").exists()


def test_a_store_that_cannot_be_opened_leaves_no_connection_open(home: Home) -> None:
    SqliteStore(home).close()
    raw(home, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(StoreTooNew):
        Database(home)
    raw(home, "BEGIN EXCLUSIVE")  # would fail while somebody else has the file open in WAL mode
    with sqlite3.connect(home.database) as connection:
        assert connection.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    connection.close()
