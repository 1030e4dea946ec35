"""nq: a file a job, each job a process that waits for the files before its own. One at a time a folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import time

from benchmarks.ground import Ground
from benchmarks.measure import NotHere

FOLDERS = 4  # so many queues, to run four at once


def found() -> str:
    """Where it is."""
    path = shutil.which("nq")
    if path is None:
        raise NotHere("no `nq` on the PATH")
    return path


def environ(ground: Ground) -> dict[str, str]:
    """A queue of our own."""
    folder = ground.fresh()
    return {"PATH": os.environ["PATH"], "HOME": folder, "NQDIR": folder}


def drain(ground: Ground, jobs: int) -> float:
    """Seconds to run so many `true` in four queues at once, from the moment that all of them wait."""
    queues = [environ(ground) for _ in range(FOLDERS)]
    for number, env in enumerate(queues):
        gate = f"{env['HOME']}/gate"
        os.mkfifo(gate)
        _nq(env, "sh", "-c", f"read line < {gate}")
        for _ in range(jobs // FOLDERS + (number < jobs % FOLDERS)):
            _nq(env, "true")
    began = time.perf_counter()
    for env in queues:
        with open(f"{env['HOME']}/gate", "w") as opened:
            opened.write("go\n")
    waiting = [subprocess.Popen([found(), "-w"], env=env, cwd=env["HOME"], stdout=subprocess.DEVNULL) for env in queues]
    for one in waiting:
        one.wait(120)
    return time.perf_counter() - began


def _nq(env: dict[str, str], *argv: str) -> None:
    subprocess.run(
        [found(), *argv],
        env=env,
        cwd=env["HOME"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        timeout=60,
        check=True,
    )
