"""64 callers (or BENCH_CALLERS), each of which waits until its own is stored before it hands in the next."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

WAITING = int(os.environ.get("BENCH_CALLERS", "64"))


def seconds(put: Callable[[], object], count: int) -> float:
    """Seconds for so many by as many threads (the count is made to fit); whatever one of them raises is raised."""
    each = max(1, count // WAITING)
    wrong: list[Exception] = []

    def call() -> None:
        try:
            for _ in range(each):
                put()
        except Exception as error:
            wrong.append(error)

    callers = [threading.Thread(target=call) for _ in range(WAITING)]
    began = time.perf_counter()
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    took = time.perf_counter() - began
    if wrong:
        raise wrong[0]
    return took * count / (each * WAITING)
