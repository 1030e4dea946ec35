"""The machine that was measured on, by name: figures of two machines are not comparable, ratios nearly are."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from datetime import UTC, datetime
from typing import Any

from benchmarks.ground import ROOT


def described(place: str) -> dict[str, Any]:
    """What a reader needs to know of it; `place` is the folder that was written to."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "kernel": f"{platform.system()} {platform.release().partition('-')[0]}",
        "file system": _file_system(place),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }


def moment() -> dict[str, Any]:
    """When it was, what else the machine had to do, and what was measured."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "load": round(os.getloadavg()[0], 1),
        "commit": _commit(),
    }


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _file_system(place: str) -> str:
    try:
        with open("/proc/mounts") as file:
            mounts = [line.split()[1:3] for line in file]
    except OSError:
        return "unknown"
    real = os.path.realpath(place)
    fitting = [(where, kind) for where, kind in mounts if where == "/" or (real + "/").startswith(where + "/")]
    return max(fitting, key=lambda one: len(one[0]))[1]


def _commit() -> str:
    """The commit of the checkout; with a + if it was changed since."""
    git = ["git", "-C", ROOT]
    try:
        named = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--", "queue_core", "mcp_server"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return named.stdout.strip() + ("+" if changed.stdout.strip() else "")
