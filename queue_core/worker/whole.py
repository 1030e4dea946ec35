"""All of runq that a worker may come to need, imported before it works.

Much is imported where it is first used, because that is what makes `runq add` fast. A worker lives for long: when an
upgrade replaces the files under its feet, or removes them, a module that it had not needed yet would be of another
version, or gone, and with it the ends of what runs.
"""

from __future__ import annotations

import importlib
import pkgutil

_PACKAGES = ("queue_core", "queue_core.sqlite", "queue_core.sqlite.schema", "queue_core.keeper", "queue_core.worker")
# What no worker comes to need would be memory for nothing: a test holds who imports these to a list.
_PROGRAMS = (
    *("launch", "worker.boot"),
    *("keeper.main", "keeper.command", "keeper.connections", "keeper.output", "keeper.spawn", "keeper.confinement"),
)
_ASKED_BY_PEOPLE = (
    *("figures", "sqlite.figures", "job_files", "restoring", "sqlite.restore", "sqlite.inlet"),
    "setting_table",  # a worker's settings were read before
)
_OF_INSTALLS = (
    *("clients", "clients.change", "clients.claude", "clients.codex", "clients.files", "clients.json_edit"),
    *(
        "clients.json_part",
        "clients.json_tree",
        "clients.places",
        "clients.records",
        "clients.splices",
        "clients.vscode",
    ),
)
_OF_LIBRARY = ("api", "background", "waiting")
LEFT_OUT = frozenset(f"queue_core.{name}" for name in (*_PROGRAMS, *_ASKED_BY_PEOPLE, *_OF_LIBRARY, *_OF_INSTALLS))


def import_whole() -> None:
    """Import every module of these packages but those; the ones that are there cost nothing."""
    for package in _PACKAGES:
        for found in pkgutil.iter_modules(importlib.import_module(package).__path__, package + "."):
            if not found.ispkg and found.name not in LEFT_OUT:
                importlib.import_module(found.name)
