"""The versions of all peers that are here."""

from __future__ import annotations

import subprocess

from benchmarks.measure import NotHere
from benchmarks.peers import bunqueue, plain, python_queues, tsp


def here() -> list[str]:
    """One text each."""
    found = [python_queues.version_of(package) for package in python_queues.MODULES]
    for version in (tsp.version, plain.parallel_version, bunqueue.version):
        try:
            found.append(version())
        except (NotHere, OSError, subprocess.SubprocessError):
            continue
    return [text for text in found if text]
