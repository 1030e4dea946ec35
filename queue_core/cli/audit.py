"""`runq audit`: who queued, approved, cancelled, replayed what, and when."""

from __future__ import annotations

from queue_core.cli.context import on_terminal, opened, project_of, write_json, write_lines
from queue_core.cli.options import JSON, Given, Option, Verb, job_id
from queue_core.cli.text import columns, printable, quoted
from queue_core.errors import UsageError
from queue_core.jobs import DeedFilter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from queue_core.views import View

MOST = 100_000  # deeds that one list may show
DEEDS = (
    *("queued", "held", "denied", "approved", "rejected", "cancelled", "replayed", "discarded"),
    *("pinned", "unpinned", "paused", "resumed", "scheduled", "unscheduled", "allowed", "restored"),
)
VERBS = {
    "audit": Verb(
        name="audit",
        summary="Who queued, approved, cancelled, replayed what, and when; newest first. It outlives the jobs.",
        operands="[ID]",
        options=(
            Option(name="what", metavar="W", choices=DEEDS, help="only this was done"),
            Option(name="caller", metavar="C", choices=("person", "hook", "agent"), help="by such a caller"),
            Option(name="session", metavar="ID", help="in this session"),
            Option(name="project", metavar="DIR", help="in this project"),
            Option(name="since", metavar="SPAN|TIME", help="since then: 24h, 7d, 2026-11-22"),
            Option(name="limit", metavar="N", kind="int", help="at most so many (default 50)"),
            JSON,
        ),
        more="In a pipe each deed is a line: time, what, job, caller, client, session, project, command or name; "
        "separated by tabs, `-` for nothing. `audit_days` says how far back it goes.",
        example="runq audit\nrunq audit 7\nrunq audit --what approved --since 7d --json",
    ),
}


def run_audit(given: Given) -> int:
    """`runq audit [ID]`."""
    if len(given.operands) > 1:
        raise UsageError(f"runq audit takes one id at most; `{printable(given.operands[1])}` is too much")
    limit: int = given.get("limit", 50)
    if not 0 < limit <= MOST:
        raise UsageError(f"--limit is a number from 1 to {MOST}, not {limit}")
    with opened() as queue:
        deeds = queue.audit(
            DeedFilter(
                job=job_id(given.operands[0]) if given.operands else None,
                what=given.get("what"),
                caller=given.get("caller"),
                session=given.get("session"),
                project=project_of(given),
                since=_since(given.get("since"), queue.clock()),
                limit=limit,
            )
        )
    if given.get("json"):
        write_json({"deeds": deeds})
    elif on_terminal():
        _show(deeds, limit)
    else:
        write_lines(_line(deed) for deed in deeds)
    return 0


def _since(text: str | None, now: float) -> float | None:
    from queue_core import figures

    return None if text is None else figures.beginning(text, now)


def _line(deed: View) -> str:
    names = ("at", "what", "job", "caller", "client", "session", "project")
    return columns(*(deed[name] for name in names), _what(deed))


def _what(deed: View) -> str | None:
    return quoted(deed["argv"]) if deed["argv"] is not None else deed["about"]


def _show(deeds: list[View], limit: int) -> None:
    from queue_core.cli import tables

    if not deeds:
        write_lines(["Nothing of the kind was noted."])
        return
    rows = [
        (
            deed["at"][:19].replace("T", " "),
            deed["what"],
            str(deed["job"] or "-"),
            _who(deed),
            printable(_what(deed) or "-"),
        )
        for deed in deeds
    ]
    tables.show_rows(("WHEN (UTC)", "WHAT", "JOB", "WHO", "COMMAND"), rows)
    if len(deeds) == limit:
        write_lines([f"The newest {limit}; --limit shows more."])


def _who(deed: View) -> str:
    client = f" ({deed['client']})" if deed["client"] else ""
    return printable(f"{deed['caller']}{client}")
