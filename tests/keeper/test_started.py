"""What a keeper notes of the commands that it has started, on a disk that took only a part of a note."""

from __future__ import annotations

from pathlib import Path

import pytest

from queue_core.keeper import started
from queue_core.keeper.records import Start
from queue_core.keeper.started import Started

pytestmark = pytest.mark.claim("again")


def test_a_torn_note_costs_no_later_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    notes = Started()
    for job in (1, 2):
        notes.note(
            Start(
                job=job,
                claim=1,
                keeper=tmp_path.name,
                boot_id="",
                pid_namespace=4,
                started_at=5.0,
                pid=60 + job,
                ticks=7,
            )
        )
        if job == 1:
            with open(started.FILE, "r+b") as file:
                file.truncate(8)
    assert started.find(str(tmp_path), 1, 1) is None
    found = started.find(str(tmp_path), 2, 1)
    assert found and (found.pid, found.ticks, found.started_at) == (62, 7, 5.0)
