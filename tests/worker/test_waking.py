"""What wakes the worker's loop: a flag with a time limit, and descriptors that have something to read."""

from __future__ import annotations

import os
import socket

import anyio
import anyio.lowlevel
import pytest

from queue_core.worker.waking import Wake, whenever_readable

LONG = 30.0  # seconds that nothing here takes


def test_a_wait_ends_when_it_is_set_or_when_its_time_is_over() -> None:
    async def main() -> None:
        wake = Wake()
        assert not await wake.wait(0.001)
        with anyio.fail_after(LONG):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_set_soon, wake)
                assert await wake.wait(2 * LONG)
            assert await wake.wait(2 * LONG), "what was set stays set until it is cleared"
        wake.clear()
        assert not await wake.wait(0.001)

    anyio.run(main)


async def _set_soon(wake: Wake) -> None:
    await anyio.lowlevel.checkpoint()
    wake.set()


def test_a_wait_can_be_cancelled_and_begun_again() -> None:
    async def main() -> None:
        wake = Wake()
        with anyio.move_on_after(0.001) as waited:
            await wake.wait(LONG)
        assert waited.cancelled_caught
        wake.set()
        assert await wake.wait(LONG)

    anyio.run(main)


def test_each_time_there_is_something_it_is_read_until_the_reader_has_enough() -> None:
    ours, theirs = socket.socketpair()
    read: list[bytes] = []

    def take() -> bool:
        read.append(os.read(ours.fileno(), 2))
        return read[-1] != b""

    async def main() -> None:
        theirs.sendall(b"abc")
        theirs.close()
        with anyio.fail_after(LONG):
            await whenever_readable(ours, take)

    with ours:
        anyio.run(main)
    assert read == [b"ab", b"c", b""]


def test_what_a_reader_raises_is_its_callers_and_nothing_is_read_after_it() -> None:
    ours, theirs = socket.socketpair()
    calls: list[int] = []

    def fail() -> bool:
        calls.append(1)
        raise KeyError("mine")

    async def main() -> None:
        theirs.sendall(b"abc")
        with anyio.fail_after(LONG), pytest.raises(KeyError, match="mine"):
            await whenever_readable(ours, fail)
        await anyio.sleep(0)  # what is unread would call it again, were it still asked

    with ours, theirs:
        anyio.run(main)
    assert calls == [1]
