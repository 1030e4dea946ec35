"""Why storms failed, for whoever started them and tells it at the end of everything else."""

import os
from pathlib import Path

FILE = "CRASH_FAILURES"  # where to note it, if anybody wants to know
LONGEST = 400  # characters


def note(*reasons: str) -> None:
    """A line each."""
    if path := os.environ.get(FILE):
        with Path(path).open("a") as file:
            file.writelines(" ".join(why.split())[:LONGEST] + "\n" for why in reasons)
