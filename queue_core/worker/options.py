"""What kind of worker one is, and what it tells of."""

from __future__ import annotations

from typing import Literal

from queue_core.value import Frozen

Mode = Literal["work", "finish", "drain", "stop"]


class Options(Frozen):
    """What kind of worker this is."""

    parallelism: int | None = None  # this worker's own cap
    commands: bool = True  # whether it runs commands too, or only what its program has declared handlers for
    until_empty: bool = False  # leave when nothing is claimable or running, wait for no backoff
    booted_by: str | None = None  # the server that booted it: then it leaves when idle, or as its session ends


class Settled(Frozen):
    """One attempt's end, for whoever watches the worker (the progress bar, the tests)."""

    job: int
    outcome: str
    state: str | None
