"""`runq prune`, `runq logs` and `runq doctor`: keeping the installation in order."""

from __future__ import annotations

import os
import select
import sys

from queue_core import settings
from queue_core.changes import Bell
from queue_core.cli.context import complain, on_terminal, opened, refuse_agents, report, write_json, write_lines
from queue_core.cli.options import JSON, Given, Option, Verb
from queue_core.cli.text import columns, number_of, printable
from queue_core.errors import UsageError
from queue_core.home import locate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from queue_core.cli.checks import Chosen, Finding

POLL = 0.5  # seconds between two looks at a log: nobody rings for its lines
VERBS = {
    "prune": Verb(
        name="prune",
        summary="Forget jobs that ended long ago, and their output. Pinned jobs and those others wait for stay.",
        options=(
            Option(
                name="older-than",
                metavar="DAYS",
                kind="days",
                least=0,
                help="that ended longer ago: 7 (days), 36h (default: keep_days)",
            ),
            Option(name="keep", metavar="N", kind="int", least=0, help="keep the last N (default: keep_count)"),
            JSON,
        ),
        more="Workers do this by themselves, by the settings keep_days and keep_count.",
        example="runq prune\nrunq prune --older-than 1 --keep 100",
    ),
    "logs": Verb(
        name="logs",
        summary="What servers and workers did: the end of the log.",
        options=(
            Option(name="lines", metavar="N", kind="int", least=0, help="the last so many lines (default 50)"),
            Option(name="follow", help="go on as more comes"),
            JSON,
        ),
        example="runq logs --lines 200\nrunq logs --follow",
    ),
    "doctor": Verb(
        name="doctor",
        summary="Check the installation: home, database, settings, rules. Exit code 1: something is wrong.",
        options=(Option(name="all", help="show all settings, not only those that were changed"), JSON),
        example="runq doctor\nrunq doctor --all\nrunq doctor --json",
    ),
}


def run_prune(given: Given) -> int:
    """`runq prune`."""
    days: float | None = given.get("older_than")
    keep: int | None = given.get("keep")
    if days is not None and not 0 <= days < 1e6:
        raise UsageError(f"--older-than is a number of days, not {days:g}")
    if keep is not None and not 0 <= keep < 2**63:
        raise UsageError(f"--keep is a number of jobs, not {keep}")
    with opened() as queue:
        refuse_agents(queue.home, "prune: what it did would be forgotten with the rest")
        gone = queue.prune(older_than_days=days, keep=keep)
    report(given, {"pruned": gone}, rows=[str(gone)], sentences=[f"Forgot {number_of(gone, 'ended job')}."])
    return 0


def run_logs(given: Given) -> int:
    """`runq logs`."""
    lines: int = given.get("lines", 50)
    if given.get("follow") and given.get("json"):
        raise UsageError("--follow goes on while more comes, and --json is one document; give either")
    home = locate(os.environ)
    if settings.load(home, os.environ).isolation != "none":
        refuse_agents(home, 'read the logs where projects are kept apart (isolation = "project")')
    log = _Log(home.path("logs", "runq.log"), lines)
    if given.get("json"):
        write_json({"path": log.path, "lines": log.new().decode("utf-8", "replace").splitlines()})
        return 0
    if not os.path.exists(log.path):
        complain("there is no log yet; a worker or a server writes the first line")
    _write(log.new())
    if given.get("follow"):
        _follow(log)
    return 0


class _Log:
    """The log's file, followed over its rotation."""

    def __init__(self, path: str, lines: int) -> None:
        self.path = path
        self._lines: int | None = lines  # how many of those that are there at first
        self._inode = -1
        self._at = 0

    def new(self) -> bytes:
        """What has come since the last time; of a file that has replaced the old one, all."""
        from queue_core.cli.reading import start_of_last

        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return b""
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if found.st_ino != self._inode or found.st_size < self._at:
                self._inode = found.st_ino
                self._at = 0 if self._lines is None else start_of_last(descriptor, self._lines)
            self._lines = None
            file.seek(self._at)
            content = file.read()
            self._at += len(content)
            return content


def _write(content: bytes) -> None:
    if on_terminal():
        write_lines(printable(line) for line in content.decode("utf-8", "replace").splitlines())
    else:
        sys.stdout.buffer.write(content)
    sys.stdout.flush()


def _follow(log: _Log) -> None:
    """Until the person has seen enough: Ctrl-C."""
    with opened() as queue:
        bell = Bell(queue.home, "watch")
    try:
        while True:
            select.select([bell], [], [], POLL)
            bell.clear()
            _write(log.new())
    finally:
        bell.close()


def run_doctor(given: Given) -> int:
    """`runq doctor`: 1 if anything is wrong; warnings are the user's to judge."""
    from queue_core.cli.checks import examine, settings_in_force

    home = locate(os.environ)
    findings = examine(home, os.environ)
    chosen = settings_in_force(home, os.environ)
    shown = chosen if given.get("all") else [one for one in chosen if one.source != "default"]
    wrong = [finding for finding in findings if finding.level == "wrong"]
    if given.get("json"):
        write_json(
            {
                "verdict": "wrong" if wrong else "ok",
                "checks": [dict(finding.__dict__) for finding in findings],
                "settings": [dict(one.__dict__) for one in chosen],
            }
        )
    elif on_terminal():
        _show(findings, shown)
    else:
        write_lines(columns(finding.level, finding.name, finding.text) for finding in findings)
        write_lines(columns("setting", one.name, one.value, one.source) for one in shown)
        write_lines([columns("verdict", "wrong" if wrong else "ok", _verdict(findings))])
    return 1 if wrong else 0


def _verdict(findings: Sequence[Finding]) -> str:
    wrong = sum(finding.level == "wrong" for finding in findings)
    warnings = sum(finding.level == "warning" for finding in findings)
    if wrong:
        return f"{number_of(wrong, 'thing')} to mend, listed as `wrong` above"
    return "all is well" + (f", with {number_of(warnings, 'warning')}" if warnings else "")


def _show(findings: Sequence[Finding], chosen: Sequence[Chosen]) -> None:
    from queue_core.cli import tables

    rows = [(tables.coloured(finding.level), finding.name, printable(finding.text)) for finding in findings]
    tables.show_rows(("", "CHECK", "TEXT"), rows)
    write_lines([""])
    if chosen:
        tables.show_rows(("SETTING", "VALUE", "FROM", "TEXT"), [(o.name, o.value, o.source, o.meaning) for o in chosen])
    else:
        write_lines(["All settings are at their defaults; `runq doctor --all` shows them."])
    write_lines(["", f"Verdict: {_verdict(findings)}."])
