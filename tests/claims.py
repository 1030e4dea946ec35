"""What runq promises, claim by claim, and what was tried against it: the figures behind `make reliability`.

A test is counted for a claim by `@pytest.mark.claim("key")`; who tries much in one test says how much with `tried`.
The figures go to the file that `RUNQ_CLAIMS` names, one JSON object a line, and nowhere without it.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

# Each key with its promise, in the order of the table. What breaks one makes the whole run fail.
CLAIMS = {
    "lost": "An accepted job is never lost",
    "overlap": "A job never runs beside itself",
    "unrecorded": "Every run is recorded",
    "twice": "Killing servers and workers runs nothing twice",
    "again": "A killed keeper's command runs again only after an attempt recorded as lost, of a job that may retry",
    "order": "What must not start before, beside or after another does not",
    "truth": "The recorded exit status and output are the true ones",
    "frames": "Garbage, huge and half frames on a server's stdin harm nobody else",
    "model": "The store does what a small model of it does, whoever interleaves",
    "faults": "A fault planted in the store is found by that model",
    "migration": "Migrations and upgrades are safe while others start or work",
    "file": "A database that is not ours, newer, damaged, removed or replaced is never written to",
    "wal": "The WAL stays bounded, and is not corrupted by several writers",
    "full": "On a full or read-only disk, what runs can be finished, and nothing half is accepted",
    "spool": "What a hook leaves in the spool is taken in once",
    "processes": "Nothing that a command does to its processes, streams or signals escapes its keeper",
    "sleep": "After sleep and reboot, ownership is verified before anything else",
    "restore": "A damaged database names its newest good backup, and it comes back",
}


THOROUGH = "RUNQ_CLAIMS" in os.environ
"""Whether figures are wanted: then as much is tried as they are for, and else as much as a usual run has time for."""


class Row(NamedTuple):
    """One claim with all that was tried against it, and how often it was found broken."""

    key: str
    promise: str
    tried: dict[str, int]
    broken: int


def tried(claim: str, *, broken: int = 0, **figures: int) -> None:
    """Note that so much was tried (`kills=3, jobs=40`), and how often the claim was broken."""
    if claim not in CLAIMS:
        raise KeyError(f"there is no claim {claim!r}; tests/claims.py has them")
    if path := os.environ.get("RUNQ_CLAIMS"):
        line = json.dumps({"claim": claim, "broken": broken, "tried": figures}) + "\n"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(file, line.encode())
        os.close(file)


def table(lines: Iterable[str]) -> list[Row]:
    """The sums of such lines, a row for each claim; one without figures was not tried."""
    sums: dict[str, Counter[str]] = {key: Counter() for key in CLAIMS}
    broken: Counter[str] = Counter()
    for line in lines:
        entry: dict[str, Any] = json.loads(line)
        sums[entry["claim"]].update(entry["tried"])
        broken[entry["claim"]] += entry["broken"]
    return [Row(key, promise, dict(sums[key]), broken[key]) for key, promise in CLAIMS.items()]
