"""A record is read as far as it is whole; locks tell who lives; verdicts follow in one order."""

import fcntl
import itertools
import os
from pathlib import Path

import pytest

from queue_core.keeper import locks, processes, protocol, records, verdict
from queue_core.keeper.protocol import Lines, ProtocolError
from queue_core.keeper.records import ClaimFiles, End, Record, Start

START = Start(job=1, claim=2, keeper="k", boot_id=processes.boot_id(), pid_namespace=1, started_at=5.5)
END = End(status=256, ended_at=6.5, output_bytes=10)


@pytest.fixture
def claim(tmp_path: Path) -> str:
    return str(tmp_path / "runs" / "1" / "2")


def test_a_record_grows_by_parts_and_keeps_its_size(claim: str) -> None:
    path = Path(claim, "record")
    files = ClaimFiles(claim, START)
    assert records.read(claim) == Record(start=START)
    size = path.stat().st_size
    files.spawned(77, 88)
    assert (record := records.read(claim)) and record.start
    assert (record.start.pid, record.start.ticks, record.end) == (77, 88, None)
    files.write_end(records.text_of(END))
    assert (record := records.read(claim)) and record.end == END
    assert path.stat().st_size == size == 4096
    assert path.stat().st_blocks * 512 >= 4096  # no hole that a full disk could refuse to fill
    files.close()


def test_a_directory_without_a_record_has_none(tmp_path: Path) -> None:
    assert records.read(str(tmp_path)) is None
    assert not records.locked(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"x" * 4096, b"\n" * 5000])
def test_an_empty_or_scrambled_record_is_no_start(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "record").write_bytes(content)
    assert records.read(str(tmp_path)) == Record()


def test_any_torn_end_reads_as_absent(claim: str) -> None:
    files = ClaimFiles(claim, START)
    files.write_end(records.text_of(END))
    files.close()
    path = Path(claim, "record")
    whole = path.read_bytes()
    length = len(whole[2048:].rstrip())
    for at in range(2048, 2048 + length, 7):
        path.write_bytes(whole[:at] + b"\0" + whole[at + 1 :])
        assert records.read(claim) == Record(start=START)


def test_what_a_newer_version_adds_is_left_out() -> None:
    assert records.end_of({"status": 0, "weather": "fine"}) == End(status=0)


def test_a_symbolic_link_is_no_record(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"")
    (tmp_path / "record").symlink_to(tmp_path / "elsewhere")
    assert records.read(str(tmp_path)) is None  # no error: one command must not keep others' ends from being settled


def test_the_lock_is_held_until_the_last_copy_is_closed(claim: str) -> None:
    files = ClaimFiles(claim, START)
    copy = os.dup(files.lock)
    assert records.locked(claim)
    files.close()
    assert records.locked(claim)
    os.close(copy)
    assert not records.locked(claim)


def test_who_asks_for_the_lock_is_not_taken_for_its_holder(claim: str) -> None:
    ClaimFiles(claim, START).close()
    asking = os.open(Path(claim, "record"), os.O_RDONLY)
    fcntl.flock(asking, fcntl.LOCK_SH)
    assert not records.locked(claim)
    os.close(asking)


def test_a_lock_that_is_held_is_not_taken_a_second_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "TRIES", 3)
    first, second = (os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT) for _ in range(2))
    locks.take(first)
    with pytest.raises(BlockingIOError):
        locks.take(second)
    os.close(first)
    locks.take(second)
    os.close(second)


def test_a_process_is_known_by_its_start_and_not_by_its_pid() -> None:
    here = {"pid_namespace": processes.pid_namespace(), "pid": os.getpid()}
    ticks = processes.start_ticks(os.getpid())
    base = {name: value for name, value in START.__dict__.items() if name not in here} | here
    assert records.process_alive(Start(**base | {"ticks": ticks}))
    assert not records.process_alive(Start(**base | {"ticks": (ticks or 0) + 1}))
    assert not records.process_alive(Start(**base | {"ticks": None}))
    assert not records.process_alive(Start(**base | {"ticks": ticks, "boot_id": "another"}))
    assert not records.process_alive(Start(**base | {"ticks": ticks, "pid_namespace": -1}))
    assert not records.process_alive(None)


FACTS = ("same_boot", "keeper_alive", "locked", "process_alive")
RECORDS = {
    "none": None,
    "torn": Record(),
    "started": Record(start=START),
    "ended": Record(start=START, end=END),
}


def expected(record: str, same_boot: bool, keeper_alive: bool, locked: bool, process_alive: bool) -> str:
    """The order of the questions, once more, as a list of rows; the first that fits counts."""
    rows = [
        (record == "ended", verdict.SETTLE),
        (not same_boot, verdict.LOST),
        (keeper_alive, verdict.ASK_KEEPER),
        (locked, verdict.ALONE),
        (record in ("none", "torn"), verdict.NEVER_STARTED),
        (process_alive, verdict.ALONE),
        (True, verdict.LOST),
    ]
    return next(result for fits, result in rows if fits)


@pytest.mark.parametrize("record", RECORDS)
@pytest.mark.parametrize("facts", list(itertools.product([False, True], repeat=4)))
def test_every_combination_of_facts_has_its_verdict(record: str, facts: tuple[bool, bool, bool, bool]) -> None:
    assert verdict.decide(RECORDS[record], **dict(zip(FACTS, facts, strict=True))) == expected(record, *facts)


def test_messages_come_out_whole_however_they_are_cut() -> None:
    wire = protocol.encode({"op": "hello", "text": "é\udcff\n"}) + b"\n" + protocol.encode({"n": 1})
    for size in (1, 2, 7, len(wire)):
        lines = Lines()
        out = [m for at in range(0, len(wire), size) for m in lines.feed(wire[at : at + size])]
        assert out == [{"op": "hello", "text": "é\udcff\n"}, {"n": 1}]


def test_a_line_that_never_ends_is_an_error() -> None:
    lines = Lines(longest=100)
    lines.feed(b"x" * 100)
    with pytest.raises(ProtocolError):
        lines.feed(b"x")
