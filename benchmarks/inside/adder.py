"""One of several processes that add: a whole process each time, or from within; prints each time in seconds."""

from __future__ import annotations

import json
import os
import sys
import time


def processes(count: int, argv: list[str]) -> tuple[list[float], list[str]]:
    """Run a program so many times; what each run took, and what went wrong: any status but 0, any word said."""
    took: list[float] = []
    wrong: list[str] = []
    said = f"said-{os.getpid()}"
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, said, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
    ]
    for _ in range(count):
        began = time.perf_counter()
        pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=actions)
        _, status = os.waitpid(pid, 0)
        took.append(time.perf_counter() - began)
        if status:
            wrong.append(f"wait status {status}")
    if os.path.exists(said):
        with open(said) as file:
            wrong += file.read().splitlines()
    return took, wrong


def within(count: int) -> tuple[list[float], list[str]]:
    """The same by the library: what one durable add takes, an interpreter's start left out."""
    from queue_core import Queue

    queue = Queue.open()
    took: list[float] = []
    wrong: list[str] = []
    for _ in range(count):
        began = time.perf_counter()
        try:
            queue.submit(("true",))
        except Exception as error:
            wrong.append(str(error))
        took.append(time.perf_counter() - began)
        time.sleep(0.02)  # eight callers that work, not one loop that hammers
    queue.close()
    return took, wrong


def main() -> None:
    how, count, *argv = sys.argv[1:]
    os.chdir(os.environ["HOME"])
    took, wrong = within(int(count)) if how == "within" else processes(int(count), argv)
    print(json.dumps({"took": took, "wrong": wrong}))
