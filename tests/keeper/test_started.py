"""What a keeper notes of the commands that it starts: what it must keep, and what it may forget."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from queue_core.keeper import started, verdict
from queue_core.keeper.records import ClaimFiles, Start
from queue_core.keeper.started import Started
from queue_core.value import replace

from .conftest import Rig

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.claim("again")


@pytest.fixture
def notes(tmp_path: Path) -> Iterator[Started]:
    home = os.open(tmp_path, os.O_RDONLY)
    yield Started(home)
    os.close(home)


def start(job: int, keeper: str = "", pid: int | None = None) -> Start:
    return Start(job=job, claim=1, keeper=keeper, boot_id="", pid_namespace=4, started_at=5.0, pid=pid, ticks=7)


def test_a_torn_note_costs_no_later_one(tmp_path: Path, notes: Started) -> None:
    for job in (1, 2):
        notes.note(start(job, tmp_path.name, 60 + job))
        if job == 1:
            with open(tmp_path / started.FILE, "r+b") as file:
                file.truncate(8)
    assert started.find(str(tmp_path), 1, 1) is None
    found = started.find(str(tmp_path), 2, 1)
    assert found and (found.pid, found.ticks, found.started_at) == (62, 7, 5.0)


def known(folder: Path, jobs: range) -> list[int]:
    return [job for job in jobs if started.find(str(folder), job, 1)]


def test_the_latest_note_of_a_claim_holds(tmp_path: Path, notes: Started) -> None:
    for job in (1, 2, 3):
        notes.note(start(job))
    notes.note(start(2, pid=62))
    notes.never(start(3))
    found = [started.find(str(tmp_path), job, 1) for job in (1, 2, 3)]
    assert [one and one.pid for one in found] == [None, 62, None]
    assert found[0] is not None and found[2] is None
    assert set(started.noted(str(tmp_path))) == {(1, 1), (2, 1)}


@pytest.mark.parametrize("kept", [1, 2000])
def test_long_notes_lose_what_has_a_recorded_end_and_nothing_else(tmp_path: Path, notes: Started, kept: int) -> None:
    """However many run, or could not have their end recorded; and no line is copied again and again."""
    anew = 0
    for job in range(4000):
        notes.note(start(job))
        notes.note(start(job, pid=60))
        before = (tmp_path / started.FILE).stat().st_ino
        if job >= kept:
            notes.ended((job, 1))
        anew += (tmp_path / started.FILE).stat().st_ino != before
    assert known(tmp_path, range(0, kept, 97)) == list(range(0, kept, 97))
    assert (tmp_path / started.FILE).stat().st_size < started.LONGEST + 130 * kept
    assert 1 <= anew < 10
    notes.note(start(5000))
    assert known(tmp_path, range(5000, 5001)) == [5000], "it writes on where others look"


def test_notes_that_cannot_be_written_anew_go_on_as_they_are(tmp_path: Path, notes: Started) -> None:
    (tmp_path / f"{started.FILE}.new").mkdir()
    for job in range(3000):
        notes.note(start(job))
        notes.ended((job, 1))
    assert known(tmp_path, range(0, 3000, 500)) == list(range(0, 3000, 500))


def test_a_keeper_that_has_never_nothing_to_do_forgets_no_end_that_it_could_not_record(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of a command cannot be put back, since a file stands in the way of all runs; it must not run again."""
    runs = rig.home / "runs"
    rig.sh(1, f"mv {runs} {rig.home}/aside; touch {runs}")
    rig.end(1)
    runs.unlink()
    many = range(10**17, 10**17 + 1100)  # with long lines
    for job in many:
        rig.spawn(job, "/bin/true")
    for job in many:
        rig.end(job)
    assert (Path(rig.dir) / started.FILE).stat().st_size < started.LONGEST + 1000
    rig.kill()
    assert verdict.look(str(rig.run_dir(1)), rig.dir)[0] == verdict.LOST


def test_what_was_refused_counts_as_never_started(rig: Rig) -> None:
    """Where it was noted before the system refused to spawn it too: wherever the descriptors run out."""
    before = resource.prlimit(rig.pid, resource.RLIMIT_NOFILE)
    (rig.home / "in").touch()  # what it reads is opened after it was noted
    refused: list[int] = []
    for limit in range(5, 30):
        resource.prlimit(rig.pid, resource.RLIMIT_NOFILE, (limit, before[1]))
        rig.spawn(limit, "/bin/true", stdin=str(rig.home / "in"))
        rig.send({"op": "hello"})
        rig.next("hello")  # a refusal comes before that
        if not rig.run_dir(limit).exists():
            refused.append(limit)
    noted = [line.split()[0] for line in (Path(rig.dir) / started.FILE).read_bytes().split(b"\n") if b" -1 " in line]
    assert noted and {int(job) for job in noted} < set(refused)
    rig.kill()
    assert {verdict.look(str(rig.run_dir(job)), rig.dir)[0] for job in refused} == {verdict.NEVER_STARTED}


FAR = Start(job=1, claim=1, keeper="k1", boot_id="b", pid_namespace=4, started_at=5.0)


@pytest.mark.parametrize(
    ("recorded", "noted", "expected"),
    [
        (None, None, verdict.NEVER_STARTED),
        (None, 0, verdict.LOST),
        (None, 61, verdict.LOST),
        (FAR, 61, verdict.LOST),
        (replace(FAR, job=2), None, verdict.NEVER_STARTED),
        (replace(FAR, keeper="k2"), 61, verdict.LOST),
    ],
)
def test_what_a_keeper_does_not_know_is_judged_by_what_it_noted_too(
    tmp_path: Path, recorded: Start | None, noted: int | None, expected: str
) -> None:
    keeper, run_dir = tmp_path / "k1", tmp_path / "runs" / "1" / "1"
    keeper.mkdir()
    if noted is not None:
        (keeper / started.FILE).write_text(f"\n1 1 {noted} 7 4 5.0\n")
    if recorded:
        ClaimFiles(str(run_dir), recorded).close()
    assert verdict.look_at_promised(str(run_dir), str(keeper))[0] == expected
