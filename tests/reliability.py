"""Try everything against runq's promises, and print the table of claims: `make reliability`.

Runs the storms of `tests/crash` (their size is an option), then the tests that are marked with a claim. Exit code 1
if any claim was found broken, or was not tried at all.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests import claims

ROOT = Path(__file__).parent.parent
# Where tests that are marked with a claim stand.
MARKED = ("tests/crash", "tests/stateful", "tests/sqlite", "tests/worker", "tests/keeper", "tests/unit", "tests/cli")


def main() -> int:
    """Try, print, judge."""
    given = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder, "figures")
        figures.touch()
        env = {**os.environ, "RUNQ_CLAIMS": str(figures)}
        began = time.monotonic()
        storm = [sys.executable, "-m", "tests.crash", "--kills", str(given.kills), "--seed", str(given.seed)]
        marked = [sys.executable, "-m", "pytest", "-n", str(given.jobs), "-m", "claim", *MARKED]
        codes = [subprocess.run(command, cwd=ROOT, env=env, check=False).returncode for command in (storm, marked)]
        rows = claims.table(figures.read_text().splitlines())
    _show(rows, time.monotonic() - began, given.seed)
    return int(any(codes) or any(row.broken or not row.tried for row in rows))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=2000, help="how many processes the storms kill (default 2000)")
    parser.add_argument("--seed", type=int, default=1, help="what makes a storm the same again")
    parser.add_argument("--jobs", type=int, default=2, help="how many tests run at a time")
    return parser.parse_args()


def _show(rows: list[claims.Row], seconds: float, seed: int) -> None:
    shown = Table("CLAIM", "TRIED", "BROKEN", box=None, pad_edge=False)
    for row in rows:
        figures = ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in row.tried.items())
        shown.add_row(row.promise, figures or "not tried", str(row.broken))
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(shown)
    console.print(f"in {seconds / 60:.0f} min, seed {seed}")


if __name__ == "__main__":
    sys.exit(main())
