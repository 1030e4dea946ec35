"""Stand-ins for coding agents of different skill: each writes what it did beside the task, or fails at it.

A task is the last argument. Its first word says how hard it is: easy, tricky, hard, or impossible.
"""

import os
import sys
from pathlib import Path

SKILL = {"aider": ["easy"], "codex": ["easy", "tricky"], "claude": ["easy", "tricky", "hard"]}


def work(name: str) -> None:
    """Do the task, or exit with 1."""
    task = sys.argv[-1]
    tell(f"{name} reads: {task}")
    if task.partition(":")[0] not in SKILL[name]:
        sys.exit(f"{name} gives up on: {task}")
    tell(f"{name} writes")
    with Path("journal.txt").open("a") as journal:
        journal.write(f"{name}: {task}\n")
    print(f"{name} did: {task}")


def tell(text: str) -> None:
    """Progress: a line to the file that runq names, shown by `runq status ID`."""
    if "RUNQ_PROGRESS" in os.environ:
        with Path(os.environ["RUNQ_PROGRESS"]).open("a") as file:
            file.write(text + "\n")
