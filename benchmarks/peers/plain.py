"""xargs and GNU parallel: they run what they are given, and remember nothing."""

from __future__ import annotations

import os
import shutil
import subprocess

from benchmarks.ground import ROOT, Ground
from benchmarks.inside import command
from benchmarks.measure import NotHere
from benchmarks.processes import timed


def _given(ground: Ground, jobs: int) -> tuple[str, dict[str, str]]:
    folder = ground.fresh()
    path = f"{folder}/lines"
    with open(path, "w") as file:
        file.writelines(f"{number}\n" for number in range(jobs))
    return path, {"PATH": os.environ["PATH"], "HOME": folder}


def xargs(ground: Ground, jobs: int) -> float:
    """Seconds for `xargs -P4 -n1 true`."""
    if shutil.which("xargs") is None:
        raise NotHere("no `xargs` on the PATH")
    path, env = _given(ground, jobs)
    return timed(["xargs", "-a", path, "-P4", "-n1", "true"], env)


def parallel(ground: Ground, jobs: int) -> float:
    """Seconds for `parallel -j4 true`, output grouped as it does by itself."""
    path, env = _given(ground, jobs)
    return timed([_parallel(), "--will-cite", "-j4", "-a", path, "true"], env)


def _parallel() -> str:
    found = shutil.which("parallel")
    if found is None:
        raise NotHere("no `parallel` on the PATH (GNU parallel)")
    if not _version(found).startswith("GNU parallel"):
        raise NotHere("the `parallel` on the PATH is not GNU's")
    return found


def parallel_version() -> str:
    """As it says itself."""
    return _version(_parallel())


def _version(path: str) -> str:
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False, timeout=30).stdout
    return said.partition("\n")[0]


def bare_spawns(ground: Ground, jobs: int) -> float:
    """The floor: Python that starts so many `true`, four at once, and waits for them."""
    env = {"PATH": os.environ["PATH"], "HOME": ground.root, "PYTHONPATH": ROOT}
    return timed(command("floors", "spawn", jobs), env)
