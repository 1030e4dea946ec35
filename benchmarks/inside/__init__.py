"""Programs that run as processes of their own, so that none of them has to share an interpreter with the measuring."""

from __future__ import annotations

import json
import subprocess
import sys

from benchmarks.ground import ROOT


def inside(module: str, *arguments: str | int, env: dict[str, str], timeout: float = 300) -> dict[str, float]:
    """Run a module of this package with arguments; the figures it printed, if any."""
    done = subprocess.run(
        command(module, *arguments),
        env={**env, "PYTHONPATH": ROOT},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
        check=True,
    )
    last = done.stdout.decode().strip().rpartition("\n")[2]
    return json.loads(last) if last.startswith("{") else {}


def command(module: str, *arguments: str | int) -> list[str]:
    """The argv of one; imported, not run as `__main__`, as some queues name their tasks by the module."""
    code = f"from benchmarks.inside import {module}; {module}.main()"
    return [sys.executable, "-c", code, *map(str, arguments)]
