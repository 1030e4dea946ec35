"""Try everything against runq's promises, and print the table of claims: `make reliability`.

Runs the storms of `tests/crash` (their size is an option), then the tests that are marked with a claim. Exit code 1
if any claim was found broken, or was not tried at all. Why it failed stands at the very end: of a long log, often only
the last lines are kept.
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
from xml.etree import ElementTree

from rich.console import Console
from rich.table import Table

from tests import claims
from tests.crash import failures

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs" / "reliability.md"
MOST = 8  # reasons of a kind that are told at the end


def main() -> int:
    """Try, print, judge."""
    given = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        figures, storms_failures, report = Path(folder, "figures"), Path(folder, "failures"), Path(folder, "tests.xml")
        figures.touch()
        storms_failures.touch()
        env = {**os.environ, "RUNQ_CLAIMS": str(figures), failures.FILE: str(storms_failures)}
        began = time.monotonic()
        commands = (storms(given.kills, given.seed), marked_tests(given.jobs, report))
        codes = [subprocess.run(command, cwd=ROOT, env=env, check=False).returncode for command in commands]
        rows = claims.table(figures.read_text().splitlines())
        found = (storms_failures.read_text().splitlines(), failed_tests(report))
    seconds = time.monotonic() - began
    _show(rows, seconds, given.seed)
    if given.write:
        _write(rows, seconds, given)
    failed = int(any(codes) or any(row.broken or not row.tried for row in rows))
    if failed:
        _say_why([*_of("storms", codes[0], found[0]), *_of("tests", codes[1], found[1]), *_of_claims(rows)])
    return failed


def storms(kills: int, seed: int) -> list[str]:
    """The command that plays them."""
    return [sys.executable, "-m", "tests.crash", "--kills", str(kills), "--seed", str(seed)]


def marked_tests(jobs: int, report: Path) -> list[str]:
    """The command that runs the tests of a claim, and reports them in JUnit's format."""
    return [sys.executable, "-m", "pytest", "-n", str(jobs), "-m", "claim", f"--junitxml={report}", "tests"]


def failed_tests(report: Path) -> list[str]:
    """The names of those that failed, each with the beginning of why; none if they were cut short before a report."""
    try:
        cases = [(case, wrong) for case in ElementTree.parse(report).iter("testcase") for wrong in case]
    except (FileNotFoundError, ElementTree.ParseError):
        return []
    return [
        f"{case.get('classname')}::{case.get('name')}: {wrong.get('message', '')}"
        for case, wrong in cases
        if wrong.tag in ("failure", "error")
    ]


def _of(what: str, code: int, reasons: list[str]) -> list[str]:
    """Not every way to fail leaves a reason."""
    more = [f"and {len(reasons) - MOST} more"] if len(reasons) > MOST else []
    return [f"the {what} ended with code {code}", *reasons[:MOST], *more] if code or reasons else []


def _of_claims(rows: list[claims.Row]) -> list[str]:
    return [
        f"broken {row.broken} times: {row.promise}" if row.broken else f"not tried: {row.promise}"
        for row in rows
        if row.broken or not row.tried
    ]


def _say_why(reasons: list[str]) -> None:
    console = _console()
    console.print("FAILED:")
    for why in reasons:
        console.print(f"  {' '.join(why.split())}"[: console.width], markup=False, highlight=False)


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
    console = _console()
    console.print(shown)
    console.print(f"in {seconds / 60:.0f} min, seed {seed}")


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 160)


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
