"""task-spooler: its queue is its server's memory; each waiting job is a process, which runs the command itself."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager

from benchmarks.ground import Ground
from benchmarks.measure import NotHere

# It holds a connection for each job that waits, 1,000 at the most: a longer queue is drained in parts.
PART = 750
SLOTS = 4


def found() -> str:
    """Where it is; Debian's name is `tsp`, others' `ts`, which may be another program."""
    path = shutil.which("tsp")
    if path is None:
        raise NotHere("no `tsp` on the PATH (task-spooler)")
    return path


def version() -> str:
    """As it says itself."""
    return subprocess.run([found(), "-V"], capture_output=True, text=True, check=False).stdout.split(" - ")[0].strip()


@contextmanager
def spooler(ground: Ground) -> Generator[dict[str, str]]:
    """A server of our own: its environment."""
    folder = ground.fresh()
    env = {
        "PATH": os.environ["PATH"],
        "HOME": folder,
        "TMPDIR": folder,
        "TS_SOCKET": f"{folder}/s",
        "TS_SLOTS": str(SLOTS),
    }
    tsp(env, "-S", str(SLOTS))
    try:
        yield env
    finally:
        subprocess.run([found(), "-K"], env=env, stdout=subprocess.DEVNULL, check=False)


def tsp(env: dict[str, str], *arguments: str) -> str:
    """One call; what it printed."""
    done = subprocess.run(
        [found(), *arguments],
        env=env,
        cwd=env["HOME"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=120,
        check=True,
    )
    return done.stdout.decode().strip()


def parts(jobs: int) -> int:
    """In how many parts so many are drained."""
    return math.ceil(jobs / PART)


def drain(ground: Ground, jobs: int, *, output: bool) -> float:
    """Seconds to run so many `true`, four at once, from the moment that all of them wait."""
    count = parts(jobs)
    shares = [jobs // count + (number < jobs % count) for number in range(count)]
    return sum(_drain_part(ground, share, output) for share in shares)


def _drain_part(ground: Ground, jobs: int, output: bool) -> float:
    with spooler(ground) as env:
        gate = f"{env['HOME']}/gate"
        os.mkfifo(gate)
        tsp(env, "-n", "-N", str(SLOTS), "sh", "-c", f"read line < {gate}")  # takes all slots until it is let go
        for _ in range(jobs):
            tsp(env, *(() if output else ("-n",)), "true")
        tsp(env, "-n", "-N", str(SLOTS), "true")  # needs all slots again: when it has run, all have
        began = time.perf_counter()
        with open(gate, "w") as opened:
            opened.write("go\n")
        tsp(env, "-w")
        return time.perf_counter() - began
