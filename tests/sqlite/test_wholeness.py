"""What is no whole queue is neither backed up nor restored, and nobody calls it sound."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from queue_core import restoring, safekeeping
from queue_core.errors import QueueError
from queue_core.sqlite import backup as engine
from queue_core.sqlite.diagnosis import diagnose
from queue_core.sqlite.engine import APPLICATION_ID
from queue_core.sqlite.migrations import STEPS, statements
from tests.conformance.builders import PERSON, START, Bench
from tests.sqlite.conftest import alter, raw

if TYPE_CHECKING:
    from queue_core.home import Home


def restore(home: Home, wanted: str) -> restoring.Restored:
    chosen = restoring.choose(home, wanted, now=START + 100).chosen
    return restoring.restore_backup(home, chosen, PERSON, clock=lambda: START + 100, chance=lambda: 0.0)


def test_one_of_the_first_schema_is_a_whole_queue(home: Home, bench: Bench, copies: Path) -> None:
    path = copies / "first.db"
    dump = (Path(__file__).parent / "schema_1.sql").read_text(encoding="utf-8")
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(dump)
        connection.executescript(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1;")
    done = restore(home, str(path))
    assert done.backup.jobs == len(bench.everything()) > 0
    bench.store.close()
    assert diagnose(home).error is None


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (["DROP TABLE queues"], "lacks the table queues"),
        (["DROP TABLE meta"], "lacks the table meta"),
        (["DROP TRIGGER jobs_added"], "lacks the trigger jobs_added"),
        (
            ["DROP INDEX jobs_available", "DROP INDEX jobs_pinned"],
            "the index jobs_available, the index jobs_pinned",
        ),
        (
            ["CREATE TRIGGER evil AFTER INSERT ON jobs BEGIN UPDATE jobs SET caller = 'person'; END"],
            "not runq's: the trigger evil",
        ),
        (["CREATE VIEW mine AS SELECT 1"], "not runq's: the view mine"),
        (
            ["DROP INDEX jobs_available", "CREATE INDEX jobs_available ON jobs (id)"],
            "the index jobs_available is not as runq makes it",
        ),
        (["PRAGMA user_version = 1"], "it holds what is not runq's"),
    ],
)
def test_one_that_is_no_whole_queue_is_refused_and_none_is_taken_of_it(
    home: Home, bench: Bench, copies: Path, change: list[str], complaint: str
) -> None:
    path = copies / "other.db"
    engine.save(home, str(path))
    alter(path, *change)
    job = bench.add()
    with pytest.raises(QueueError, match=complaint):
        restore(home, str(path))
    assert bench.states(job) == ["available"]
    bench.store.close()
    os.replace(path, home.database)
    with pytest.raises(engine.NotSound, match=complaint):
        engine.save(home, str(copies / "copy.db"))
    assert complaint in (diagnose(home).error or "")
    assert restoring.present(home).condition == "unusable"


def test_what_only_an_upgrade_shows_to_be_wrong_is_refused(home: Home, bench: Bench, copies: Path) -> None:
    path = copies / "old.db"
    alter(path, *statements(STEPS[0]), f"PRAGMA application_id = {APPLICATION_ID}", "PRAGMA user_version = 1")
    alter(path, "DROP INDEX jobs_scheduled", "CREATE INDEX jobs_scheduled ON jobs (id)")
    job = bench.add()
    with pytest.raises(QueueError, match="the index jobs_scheduled is not as runq makes it; nothing was changed"):
        restore(home, str(path))
    assert bench.states(job) == ["available"]
    assert os.listdir(home.backups) == ["lock"]
    assert not os.path.exists(home.restoring)


def test_statistics_of_sqlites_own_are_no_matter(home: Home, bench: Bench) -> None:
    bench.add()
    raw(home, "ANALYZE")
    made = safekeeping.take(home, lambda: START)
    restore(home, made.backup.name)
    assert bench.store.waiting() == 1
