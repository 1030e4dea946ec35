"""Queues that are Python packages: huey, which runs tasks, and persist-queue and litequeue, which only store."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from benchmarks.ground import ROOT, Ground
from benchmarks.inside import command, inside
from benchmarks.measure import NotHere
from benchmarks.processes import timed

MODULES = {"huey": "huey", "persist-queue": "persistqueue", "litequeue": "litequeue"}
CALLERS = ("64", "1")  # which is better depends on the disk: both are tried, and the better one counts


def need(package: str) -> None:
    """NotHere if a package is not installed."""
    if find_spec(MODULES[package]) is None:
        raise NotHere(f"{package} is not installed (make bench brings it)")


def version_of(package: str) -> str | None:
    """Its version, if it is installed."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return None


def huey_environ(ground: Ground, *, fsync: bool = True) -> dict[str, str]:
    """The environment of one huey, with a database of its own."""
    need("huey")
    folder = ground.fresh()
    return {
        "PATH": os.environ["PATH"],
        "HOME": folder,
        "PYTHONPATH": ROOT,
        "BENCH_DB": f"{folder}/huey.db",
        "BENCH_FSYNC": "1" if fsync else "0",
    }


def huey_drain(ground: Ground, jobs: int) -> float:
    """Seconds of a consumer with four threads that runs so many `true`."""
    env = huey_environ(ground)
    inside("huey_queue", "fill", jobs, env=env)
    return timed(command("huey_queue", "drain", jobs), env)


def huey_enqueue(ground: Ground, jobs: int, *, fsync: bool) -> float:
    """Tasks a second."""

    def once(callers: str) -> float:
        env = {**huey_environ(ground, fsync=fsync), "BENCH_CALLERS": callers}
        return jobs / inside("huey_queue", "enqueue", jobs, env=env)["seconds"]

    return max(map(once, CALLERS))


def store(ground: Ground, name: str, jobs: int) -> float:
    """Items a second that are put into a queue that only stores."""
    need(name.removesuffix("-full"))

    def once(callers: str) -> float:
        folder = ground.fresh()
        env = {"PATH": os.environ["PATH"], "HOME": folder, "BENCH_CALLERS": callers}
        return jobs / inside("small_queues", name, folder, jobs, env=env)["seconds"]

    return max(map(once, CALLERS))
