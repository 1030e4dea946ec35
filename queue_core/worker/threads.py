"""Blocking calls off the event loop, on threads that are the worker's own.

anyio's usual threads are shared with the program around it: an application whose requests take all of
them while they wait for a job would keep the worker from ever running that job.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

if TYPE_CHECKING:
    from collections.abc import Callable

    _Call = tuple[Callable[[], Any], asyncio.AbstractEventLoop, asyncio.Future[Any]]

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

MOST = 16  # threads at once; each call takes milliseconds

_limiter: RunVar[anyio.CapacityLimiter] = RunVar("runq-threads")  # one for each event loop


async def on_thread(call: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
    """Do something that may block."""
    try:
        limiter = _limiter.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(MOST)
        _limiter.set(limiter)
    return await anyio.to_thread.run_sync(call, *arguments, limiter=limiter)


class OwnThread:
    """A thread for calls that come one after the other and often.

    Handing a call over costs less than half of what a pool's does: there is no limiter, no context, no choice of a
    thread. An event loop that is not asyncio's gets the pool.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._begun = False

    async def do(self, call: Callable[[], T]) -> T:
        """Do something that may block, after what was asked for before. It is never abandoned half way."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return await on_thread(call)
        if not self._begun:
            threading.Thread(target=self._run, name=self._name, daemon=True).start()
            self._begun = True  # not before: where no thread can be had, the next call asks for one again
        answer: asyncio.Future[T] = loop.create_future()
        self._calls.put((call, loop, answer))
        with anyio.CancelScope(shield=True):
            await answer
        return answer.result()

    def close(self) -> None:
        """Nothing more will be asked for."""
        self._calls.put(None)

    def _run(self) -> None:
        while one := self._calls.get():
            call, loop, answer = one
            try:
                tell, what = answer.set_result, call()
            except BaseException as error:
                # A future refuses StopIteration, and whoever asked would wait for ever.
                what = RuntimeError(repr(error)) if isinstance(error, StopIteration) else error
                tell = answer.set_exception
            try:
                loop.call_soon_threadsafe(_tell, answer, tell, what)
            except RuntimeError:  # the loop was closed without waiting
                return
            del one, call, loop, answer, tell, what  # nothing is kept alive until the next call


def _tell(answer: asyncio.Future[Any], tell: Callable[[Any], None], what: Any) -> None:
    if not answer.done():  # whoever waited may have been torn away
        tell(what)
