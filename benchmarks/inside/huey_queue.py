"""A program of huey's: SQLite with `fsync=True`, one task that runs a command and keeps what came of it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading

from huey import SqliteHuey
from huey.signals import SIGNAL_COMPLETE, SIGNAL_ERROR

from benchmarks.inside.callers import seconds

queue = SqliteHuey("bench", filename=os.environ.get("BENCH_DB", ":memory:"), fsync=os.environ.get("BENCH_FSYNC") != "0")


@queue.task()
def run(argv: list[str]) -> int:
    """Run a command; its exit status is the result, and stored."""
    return subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False).returncode


@queue.task()
def note() -> int:
    """When a command of its own has started, in nanoseconds since the epoch."""
    return int(subprocess.run(["date", "+%s%N"], stdout=subprocess.PIPE, check=True).stdout)


def fill(count: int) -> None:
    """Enqueue so many."""
    for _ in range(count):
        run(["true"])


def enqueue(count: int) -> None:
    """Enqueue so many from 64 threads, and print how long it took."""
    run(["true"])
    print(json.dumps({"seconds": seconds(lambda: run(["true"]), count)}))


def drain(count: int) -> None:
    """A consumer that ends after so many tasks."""
    done = threading.Event()
    left = [count]
    lock = threading.Lock()

    @queue.signal(SIGNAL_COMPLETE, SIGNAL_ERROR)
    def ended(*_: object, **__: object) -> None:
        with lock:
            left[0] -= 1
            if not left[0]:
                done.set()

    consumer = queue.create_consumer(workers=4, worker_type="thread", periodic=False)
    consumer.start()
    done.wait(300)
    sys.stdout.flush()
    os._exit(left[0] != 0)  # without the consumer's own way out, which waits for its threads' naps


def consume() -> None:
    """A consumer with huey's own settings, until it is told to end."""
    queue.create_consumer(workers=4, worker_type="thread").run()


def main() -> None:
    logging.disable(logging.CRITICAL)
    verb, *rest = sys.argv[1:]
    if verb == "add":
        run(["true"])
    elif verb == "consume":
        consume()
    else:
        {"fill": fill, "enqueue": enqueue, "drain": drain}[verb](int(rest[0]))
