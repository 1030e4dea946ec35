"""What wakes an event loop's tasks, without anyio's toll where the loop is asyncio's.

A wait with a time limit is a cancel scope there, and each wait for a descriptor registers it anew: four turns of the
loop and two system calls for what takes one callback. Another event loop gets anyio's.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import HasFileno


class Wake:
    """A flag that one task waits for. It is set and cleared on that task's event loop."""

    def __init__(self) -> None:
        self._set = False
        self._waiter: asyncio.Future[None] | None = None
        self._event: anyio.Event | None = None

    def is_set(self) -> bool:
        return self._set

    def clear(self) -> None:
        self._set = False

    def set(self) -> None:
        """Wake whoever waits."""
        self._set = True
        if self._waiter is not None:
            _finish(self._waiter)
        if self._event is not None:
            self._event.set()

    async def wait(self, seconds: float) -> bool:
        """Wait for at most so long; whether it is set. Others get a turn even if it was."""
        if self._set:
            await _let_others()
            return True
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._event = anyio.Event()
            with anyio.move_on_after(seconds):
                await self._event.wait()
            return self._set
        self._waiter = waiter = loop.create_future()
        timer = loop.call_later(seconds, _finish, waiter)
        try:
            await waiter
        finally:
            self._waiter = None
            timer.cancel()
        return self._set


async def _let_others() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        await anyio.lowlevel.checkpoint()
    else:
        await asyncio.sleep(0)


def _finish(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


async def whenever_readable(source: HasFileno, read: Callable[[], bool]) -> None:
    """Call `read` each time there may be something to read, until it returns False. Its errors are the caller's."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        while True:
            await anyio.wait_readable(source)
            if not read():
                return
    over: asyncio.Future[None] = loop.create_future()

    def look() -> None:
        try:
            if over.done() or read():
                return
        except BaseException as error:
            over.set_exception(error)
        else:
            _finish(over)
        loop.remove_reader(source)

    loop.add_reader(source, look)
    try:
        await over
    finally:
        loop.remove_reader(source)
