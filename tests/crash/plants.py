"""Faults of the kind that a storm is there to find, planted into real parts: each must be found.

A storm that finds nothing proves something only if it would find these.
"""

import os
from collections.abc import Callable
from typing import Any


def apply(plants: str, name: str, module: Any) -> None:
    """Plant these (separated by commas), as far as this is the module that they go into."""
    for plant in plants.split(","):
        target, change = PLANTS[plant]
        if name == target:
            change(module)


def _verdict_for(wrong: str, right: str) -> Callable[[Any], None]:
    """Whoever looks at a dead worker's claim gives this verdict where the other is right (names of `verdict`)."""

    def change(module: Any) -> None:
        decide = module.decide

        def decided(*args: Any, **kwargs: Any) -> str:
            found = decide(*args, **kwargs)
            return getattr(module, wrong) if found == getattr(module, right) else found

        module.decide = decided

    return change


def _no_retries(module: Any) -> None:
    """A job's first failure is its last."""
    decide = module.decide

    def decided(outcome: Any, **more: Any) -> Any:
        return decide(outcome, **{**more, "failures": 1000})

    module.decide = decided


def _no_timeouts(module: Any) -> None:
    """Whatever a command's time-out is, it runs on."""
    spawn = module.Command.spawn

    def spawned(self: Any, home: int) -> None:
        spawn(self, home)
        self._deadline = module.NEVER

    module.Command.spawn = spawned


def _acknowledged_before_the_commit(module: Any) -> None:
    """Of submissions, some are rolled back after their ids have been made."""
    write = module.Database.write

    def written(self: Any, change: Any, *args: Any, **kwargs: Any) -> Any:
        if change.__name__ != "admit" or os.getpid() % 4:
            return write(self, change, *args, **kwargs)
        made: list[Any] = []

        def undone(*args: Any, **kwargs: Any) -> None:
            made.append(change(*args, **kwargs))
            raise ValueError

        try:
            write(self, undone, *args, **kwargs)
        except ValueError:
            pass
        return made[0]

    module.Database.write = written


def _every_end_is_a_success(module: Any) -> None:
    """The keeper records exit code 0, whatever it was."""
    write = module.Command._write

    def written(self: Any, end: Any) -> Any:
        from queue_core.value import replace

        return write(self, replace(end, status=0))

    module.Command._write = written


def _spool_file_removed_before_its_commit(module: Any) -> None:
    """Whoever takes a file in and dies before the commit has lost the jobs that were in it."""
    ingest = module.Queue.ingest_spool

    def ingested(self: Any) -> int:
        from queue_core import spool

        read = spool.read

        def taken(path: str) -> Any:
            admissions = read(path)
            os.unlink(path)
            return admissions

        spool.read = taken
        try:
            return ingest(self)
        finally:
            spool.read = read

    module.Queue.ingest_spool = ingested


PLANTS = {
    # The job of a command that lives on without a keeper is handed out again.
    "alone counts as lost": ("queue_core.keeper.verdict", _verdict_for("LOST", "ALONE")),
    # What ran, and nobody knows how it ended, is put back as if it had not.
    "lost counts as never started": ("queue_core.keeper.verdict", _verdict_for("NEVER_STARTED", "LOST")),
    # What a dead worker's keeper still runs is put back as if it had not been started.
    "keepers not asked": ("queue_core.keeper.verdict", _verdict_for("NEVER_STARTED", "ASK_KEEPER")),
    "no retries": ("queue_core.lifecycle", _no_retries),
    "no time-outs": ("queue_core.keeper.command", _no_timeouts),
    "acknowledged before the commit": ("queue_core.sqlite.engine", _acknowledged_before_the_commit),
    "spool file removed before its commit": ("queue_core.service", _spool_file_removed_before_its_commit),
    "every end is a success": ("queue_core.keeper.command", _every_end_is_a_success),
}
