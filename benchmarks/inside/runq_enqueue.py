"""runq as a library: so many jobs stored by 64 callers that each wait for their own to be durable."""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from typing import Any

from benchmarks.inside.callers import WAITING, seconds
from queue_core import Background, Queue


def threads(count: int) -> float:
    """Threads that call `submit`."""
    queue = Queue.open(group_commit=True)
    queue.submit(("true",))
    took = seconds(lambda: queue.submit(("true",)), count)
    assert queue.store.waiting() == count // WAITING * WAITING + 1
    queue.close()
    return took


def background(count: int) -> float:
    """`Background.enqueue` with at most 64 futures that are not done."""
    application = Background()

    @application.handler("score")
    def score(context: Any, memory_id: int) -> None:
        del context, memory_id

    application.enqueue("score", {"memory_id": 0}).result(30)
    pending: deque[Any] = deque()
    began = time.perf_counter()
    for number in range(count):
        if len(pending) == WAITING:
            pending.popleft().result(30)
        pending.append(application.enqueue("score", {"memory_id": number}))
    for future in pending:
        future.result(30)
    took = time.perf_counter() - began
    assert application.queue.store.waiting() == count + 1
    application.queue.close()
    return took


def main() -> None:
    how, count = sys.argv[1:]
    took = {"threads": threads, "background": background}[how](int(count))
    print(json.dumps({"seconds": took}))
