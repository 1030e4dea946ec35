"""All of runq that a worker may ever need, imported before it works.

Much is imported where it is first used, because that is what makes `runq add` fast. A worker lives for long: when an
upgrade replaces the files under its feet, or removes them, a module that it had not needed yet would be of another
version, or gone, and with it the ends of what runs.
"""

from __future__ import annotations

import importlib
import pkgutil

_PACKAGES = ("queue_core", "queue_core.sqlite", "queue_core.sqlite.schema", "queue_core.keeper", "queue_core.worker")
_OF_PROGRAMS = frozenset({"queue_core.launch"})  # what runs as a program of its own


def import_whole() -> None:
    """Import every module of these packages (not of the command line's); those that are there cost nothing."""
    for package in _PACKAGES:
        for found in pkgutil.iter_modules(importlib.import_module(package).__path__, package + "."):
            if not found.ispkg and found.name not in _OF_PROGRAMS:
                importlib.import_module(found.name)
