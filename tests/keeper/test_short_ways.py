"""Where the keeper takes a shorter way than the obvious one, it leads to the same."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from queue_core.keeper import boot, connections, processes, protocol, records
from queue_core.keeper.processes import Births
from queue_core.keeper.records import End

from .conftest import Rig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [
    pytest.mark.claim("processes"),
    pytest.mark.skipif(not processes.HAVE_PROC, reason="there is nothing to compare with"),
]


@pytest.fixture
def spawn() -> Iterator[Callable[[], int]]:
    """Spawns a process that lives until the end of the test."""
    reading, writing = os.pipe()
    pids: list[int] = []

    def spawned() -> int:
        actions = [(os.POSIX_SPAWN_DUP2, reading, 0)]
        pids.append(os.posix_spawn("/bin/cat", ["cat"], {}, file_actions=actions))
        return pids[-1]

    yield spawned
    os.close(writing)
    os.close(reading)
    for pid in pids:
        os.waitpid(pid, 0)


def born(births: Births, spawn: Callable[[], int]) -> tuple[int | None, int | None]:
    """The start ticks of a new child by the clock, and as /proc has them."""
    before = births.now()
    pid = spawn()
    return births.ticks(pid, before if before == births.now() else None), processes.start_ticks(pid)


def test_the_clock_and_proc_say_the_same_of_a_childs_birth(
    monkeypatch: pytest.MonkeyPatch, spawn: Callable[[], int]
) -> None:
    births = Births()
    for _ in range(30):
        by_clock, by_proc = born(births, spawn)
        assert by_clock == by_proc
    asked: list[int] = []
    monkeypatch.setattr(processes, "start_ticks", asked.append)
    for _ in range(100):  # until one is spawned within a tick
        before = births.now()
        pid = spawn()
        if births.ticks(pid, before if before == births.now() else None) is not None:
            break
    else:
        pytest.fail(f"the clock was never trusted, /proc was asked for {asked}")


def test_a_system_that_counts_otherwise_is_asked_each_time(
    monkeypatch: pytest.MonkeyPatch, spawn: Callable[[], int]
) -> None:
    births, clock = Births(), time.clock_gettime_ns

    def ahead(which: int) -> int:
        return clock(which) + 10**12

    monkeypatch.setattr(time, "clock_gettime_ns", ahead)
    for _ in range(30):
        by_clock, by_proc = born(births, spawn)
        assert by_clock == by_proc
    assert births.now() is None


def test_a_clock_that_goes_wrong_later_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    births, seen = Births(), [100]
    monkeypatch.setattr(processes, "start_ticks", lambda _pid: seen[0])  # pyright: ignore
    for _ in range(Births.COMPARED_FIRST):
        assert births.ticks(1, 100) == 100
    seen[0] = 200
    assert births.ticks(1, 100) == 100
    told = [births.ticks(1, 100) for _ in range(Births.COMPARED_AGAIN)]
    assert told[-1] == 200
    assert births.now() is None


BLIND = """
import errno
import queue_core.keeper.processes as processes
def none_left(pid):
    raise OSError(errno.EMFILE, "no descriptors")
processes.start_ticks = none_left
"""


def test_a_command_whose_birth_cannot_be_looked_up_runs_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = boot._CODE.split("; ", 2)[:2], boot._CODE.split("; ", 2)[2]  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(boot, "_CODE", "; ".join(before) + BLIND + after)
    rig = Rig(tmp_path)
    for job in (1, 2):
        rig.spawn(job, "/bin/true")
        assert rig.end(job).status == 0
        assert (start := rig.record(job).start) and start.pid is None
    rig.hang_up()
    rig.wait()


def test_what_is_put_together_by_hand_is_the_message() -> None:
    end = End(status=0, error='a "quote" and \u00e9', ended_at=5.25, output_bytes=7)
    line = protocol.ended((3, 4), records.text_of(end))
    assert line.endswith(b"\n")
    assert json.loads(line) == protocol.about("ended", (3, 4), end=end.__dict__)


def test_messages_of_one_turn_go_out_together() -> None:
    ours, theirs = socket.socketpair()
    connection = connections.adopt(ours.detach())
    theirs.setblocking(False)
    for number in range(3):
        connection.send({"op": "error", "error": str(number)})
    with pytest.raises(BlockingIOError):
        theirs.recv(1)
    connection.flush()
    assert [message["error"] for message in protocol.Lines().feed(theirs.recv(4096))] == ["0", "1", "2"]
    connection.close()
    theirs.close()


def test_more_than_a_socket_holds_is_said_in_one_turn(rig: Rig) -> None:
    rig.send({"op": "watch", "claims": [[job, 1] for job in range(30_000)]})
    assert len(rig.next("watching")["unknown"]) == 30_000


@pytest.mark.parametrize("size", [1, 7, 10**6])
def test_lines_are_the_same_in_pieces_of_any_size(size: int) -> None:
    sent = [{"op": "a"}, {"op": "b", "text": "x" * 50}, {"op": "c"}]
    data = b"\n".join([b"", *[protocol.encode(message) for message in sent]])
    lines = protocol.Lines()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert [message for piece in pieces for message in lines.feed(piece)] == sent


def test_the_first_time_out_is_kept_whoever_else_ends(rig: Rig) -> None:
    """What is due next is not asked of every command at every turn."""
    rig.sh(1, "exec sleep 60", timeout=0.8, grace=0.1)
    rig.sh(2, "exec sleep 60", timeout=0.2, grace=0.1)
    rig.sh(3, "exec sleep 60", timeout=3600.0)
    for job in (4, 5):
        rig.spawn(job, "/bin/true", timeout=60.0)
        assert rig.end(job).reason is None
    assert [rig.end(job).reason for job in (2, 1)] == ["timed_out", "timed_out"]
    rig.send(protocol.end((3, 1), "cancelled"))
    assert rig.end(3).reason == "cancelled"
