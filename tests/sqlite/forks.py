"""Processes that start within a millisecond of each other, some of which are killed on their way."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager

# Forks those of a round, and kills some of its own children at their moments.
_STARTER = """
import json, os, signal, sys, time

for line in sys.stdin:
    folder, delays = json.loads(line)
    children = []
    for _ in delays:
        pid = os.fork()
        if not pid:
            try:
                one(folder)
            except BaseException as error:
                sys.stderr.write(f"{error!r}\\n")
                os._exit(1)
            os._exit(0)
        children.append(pid)
    began = time.monotonic()
    for delay, pid in sorted((delay, pid) for delay, pid in zip(delays, children) if delay is not None):
        time.sleep(max(0.0, began + delay - time.monotonic()))
        os.kill(pid, signal.SIGKILL)
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]), flush=True)
"""


class Forks:
    """Starts rounds of such processes, each of which calls `one(folder)`."""

    def __init__(self, one: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", one + _STARTER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, folder: str, delays: Sequence[float | None]) -> list[int]:
        """One process for each delay, killed after so many seconds (None: not at all); their exit codes."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps([folder, delays]) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> str:
        """What they have complained of."""
        return self._process.communicate()[1]


@contextmanager
def forks(one: str) -> Generator[Forks]:
    """With `one` as the code of a function `one(folder)`; none of them may have anything to complain of."""
    made = Forks(one)
    complaints = ""
    try:
        yield made
    finally:
        complaints = made.close()
    assert complaints == ""
