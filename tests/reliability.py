"""Try everything against runq's promises, and print the table of claims: `make reliability`.

Runs the storms of `tests/crash` (their size is an option), then the tests that are marked with a claim. Exit code 1
if any claim was found broken, or was not tried at all.
"""

import argparse
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests import claims

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs" / "reliability.md"


def main() -> int:
    """Try, print, judge."""
    given = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder, "figures")
        figures.touch()
        env = {**os.environ, "RUNQ_CLAIMS": str(figures)}
        began = time.monotonic()
        storm = [sys.executable, "-m", "tests.crash", "--kills", str(given.kills), "--seed", str(given.seed)]
        marked = [sys.executable, "-m", "pytest", "-n", str(given.jobs), "-m", "claim", "tests"]
        codes = [subprocess.run(command, cwd=ROOT, env=env, check=False).returncode for command in (storm, marked)]
        rows = claims.table(figures.read_text().splitlines())
    seconds = time.monotonic() - began
    _show(rows, seconds, given.seed)
    if given.write:
        _write(rows, seconds, given)
    return int(any(codes) or any(row.broken or not row.tried for row in rows))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=2000, help="how many processes the storms kill (default 2000)")
    parser.add_argument("--seed", type=int, default=1, help="what makes a storm the same again")
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    parser.add_argument("--jobs", type=int, default=2, help="how many tests run at a time")
    return parser.parse_args()


def _show(rows: list[claims.Row], seconds: float, seed: int) -> None:
    shown = Table("CLAIM", "TRIED", "BROKEN", box=None, pad_edge=False)
    for row in rows:
        shown.add_row(row.promise, _figures(row), str(row.broken))
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(shown)
    console.print(f"in {seconds / 60:.0f} min, seed {seed}")


def _figures(row: claims.Row) -> str:
    return ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in row.tried.items()) or "not tried"


def _write(rows: list[claims.Row], seconds: float, given: argparse.Namespace) -> None:
    """The same table in the docs, with what it was measured by and on."""
    lines = [
        f"`make reliability KILLS={given.kills} SEED={given.seed}`: {seconds / 60:.0f} minutes on {os.cpu_count()} "
        f"cores with {platform.system()}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}.",
        "",
        "| claim | tried | broken |",
        "|---|---|---|",
        *(f"| {row.promise} | {_figures(row)} | {row.broken} |" for row in rows),
    ]
    before, _, rest = DOCS.read_text().partition("<!-- table -->\n")
    after = rest.partition("<!-- /table -->")[2]
    DOCS.write_text("\n".join([f"{before}<!-- table -->", *lines, f"<!-- /table -->{after}"]))


if __name__ == "__main__":
    sys.exit(main())
