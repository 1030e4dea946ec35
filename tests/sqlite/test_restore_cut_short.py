"""A restore that ends before its end: whatever it has come to, the database from before is there or in its copy."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from queue_core import restoring, safekeeping
from queue_core.sqlite import restore
from queue_core.sqlite.store import SqliteStore
from queue_core.value import replace
from tests.conformance.builders import PERSON, START, Bench

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from queue_core.home import Home
    from queue_core.restoring import Restored

pytestmark = pytest.mark.claim("restore")


def begin(home: Home, now: float = START + 100) -> Restored:
    chosen = restoring.choose(home, None, now=now).chosen
    return restoring.restore_backup(home, chosen, PERSON, clock=lambda: now, chance=lambda: 0.0)


def copies(home: Home) -> list[str]:
    return [name for name in os.listdir(home.backups) if name.startswith("before-restore")]


def test_an_interrupt_that_is_heard_after_the_change_leaves_the_copy_of_what_was_there(
    home: Home, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    safekeeping.take(home, lambda: START)
    job = bench.add()
    overwrite: Callable[..., None] = restore.overwrite

    def interrupted(*args: Any) -> None:
        overwrite(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(restore, "overwrite", interrupted)
    with pytest.raises(KeyboardInterrupt):
        begin(home)
    monkeypatch.undo()
    assert bench.everything() == []
    (copy,) = copies(home)
    safekeeping.tidy(home)
    chosen = restoring.choose(home, copy, now=START + 200).chosen
    restoring.restore_backup(home, chosen, PERSON, clock=lambda: START + 200, chance=lambda: 0.0)
    assert bench.states(job) == ["available"]


def test_one_before_the_change_leaves_no_copy(home: Home, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    safekeeping.take(home, lambda: START)
    job = bench.add()

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(restore, "raise_claims", interrupted)
    with pytest.raises(KeyboardInterrupt):
        begin(home)
    assert (bench.states(job), copies(home)) == (["available"], [])


def test_a_wal_that_cannot_be_emptied_afterwards_fails_no_restore(
    home: Home, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    safekeeping.take(home, lambda: START)
    job = bench.add()
    connect = restore.connect

    def refuse(_action: int, what: str | None, *_: str | None) -> int:
        return sqlite3.SQLITE_DENY if what == "wal_checkpoint" else sqlite3.SQLITE_OK

    def without_checkpoints(home: Home) -> sqlite3.Connection:
        connection = connect(home)
        connection.set_authorizer(refuse)
        return connection

    monkeypatch.setattr(restore, "connect", without_checkpoints)
    kept_as = begin(home).kept_as
    assert bench.everything() == []
    monkeypatch.undo()
    chosen = restoring.choose(home, kept_as, now=START + 200).chosen
    restoring.restore_backup(home, chosen, PERSON, clock=lambda: START + 200, chance=lambda: 0.0)
    assert bench.states(job) == ["available"]


def test_what_still_lies_in_the_wal_of_the_copy_is_not_left_behind(home: Home, tmp_path: Path) -> None:
    """As a full disk leaves it there when the copy is closed."""
    home_of_copy = replace(home, data=str(tmp_path / "copy"))
    job = Bench(SqliteStore(home_of_copy)).add()  # not closed: nothing has been written back
    assert os.path.getsize(home_of_copy.database + "-wal")
    SqliteStore(home).close()
    restore.replace(home, home_of_copy.database, None)
    assert SqliteStore(home).states_of([job]) == {job: "available"}
