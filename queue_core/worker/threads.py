"""Blocking calls off the event loop, on threads that are the worker's own.

anyio's usual threads are shared with the program around it: an application whose requests take all of
them while they wait for a job would keep the worker from ever running that job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

if TYPE_CHECKING:
    from collections.abc import Callable

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
