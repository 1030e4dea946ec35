"""What a storm asks for, job by job, and what it was told of each: the one side that the witness compares."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, Literal, NamedTuple

from tests.crash import job

Answer = Literal["unknown", "accepted", "refused"]
LASTING = (0, 5, 20, 60, 150, 300)  # milliseconds
JOB = str(Path(job.__file__))


class Need(NamedTuple):
    """Which task has to end before, and whether it has to succeed."""

    number: int
    success: bool


class Task:
    """One job that is asked for: what it does, how it is queued, and what was answered."""

    def __init__(self, number: int, chance: Random, folder: Path, lasting: Sequence[int] = LASTING) -> None:
        self.number = number
        self.failures = chance.choices((0, 1, 2, 9), (70, 14, 8, 8))[0]
        self.code = chance.randrange(1, 100)
        self.milliseconds = chance.choice(lasting)
        self.size = chance.choice((0, 31, 500, 4000, 4000, 30_000, 200_000))
        self.retries = chance.choice((0, 1, 2, 3))
        self.timeout = 0.2 if chance.random() < 0.04 else None
        if self.timeout:
            self.milliseconds = 2500
        self.options: dict[str, Any] = {"queue": chance.choice(("default", "default", "one", "two"))}
        if chance.random() < 0.06:
            self.options["sequential"] = True
        if chance.random() < 0.1:
            self.options["locks"] = [chance.choice(("lock0=1", "lock1=1", "lock2=2"))]
        if chance.random() < 0.08:
            self.options["delay"] = round(chance.uniform(0.05, 0.5), 2)
        self.unique = f"key{chance.randrange(4)}" if chance.random() < 0.06 else None
        self.need: Need | None = None
        self.answer: Answer = "unknown"
        self.id: int | None = None  # as it was acknowledged
        self.said = ""  # why it was refused
        self._folder = folder

    @property
    def argv(self) -> list[str]:
        plan = (self.number, self.failures, self.code, self.milliseconds, self.size)
        return [sys.executable, "-I", "-S", JOB, str(self._folder), *map(str, plan)]

    @property
    def fields(self) -> dict[str, Any]:
        """As `runq add --file` and the MCP tool `enqueue` take it."""
        fields = {**self.options, "retries": self.retries, "meta": {"n": str(self.number)}, "argv": self.argv}
        if self.timeout:
            fields["timeout"] = self.timeout
        if self.unique:
            fields["unique"] = self.unique
        return fields

    @property
    def words(self) -> list[str]:
        """As `runq add` and `runq hook` take it."""
        words: list[str] = []
        for name, value in self.fields.items():
            if name == "meta":
                words += ["--meta", f"n={self.number}"]
            elif name == "locks":
                words += ["--lock", value[0]]
            elif value is True:
                words.append(f"--{name}")
            elif name != "argv":
                words += [f"--{name}", str(value)]
        return [*words, "--", *self.argv]

    @property
    def line(self) -> str:
        return json.dumps(self.fields)

    def accept(self, job_id: int | None = None) -> None:
        self.answer, self.id = "accepted", job_id

    def refuse(self, why: str) -> None:
        self.answer, self.said = "refused", why


def number_of(argv: list[str]) -> int | None:
    """The number of the task that a job of the queue is of; None if it is none of ours."""
    try:
        return int(argv[argv.index(JOB) + 2])
    except (ValueError, IndexError):
        return None
