"""What a person sees on a terminal: tables and sheets, made with rich, readable at 80 columns."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from queue_core.cli.text import (
    ago,
    chain_line,
    command_of,
    command_with_steps,
    duration,
    lines_of,
    number_of,
    printable,
    readable,
    result,
    size,
    steps_of,
)
from queue_core.model import WAITING
from queue_core.views import folder_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queue_core.views import View

STYLES = {
    "held": "magenta",
    "blocked": "yellow",
    "scheduled": "yellow",
    "available": "cyan",
    "running": "bold blue",
    "succeeded": "green",
    "dead": "bold red",
    "cancelled": "dim",
    "ok": "green",
    "warning": "yellow",
    "error": "bold red",
    "wrong": "bold red",
    "note": "dim",
    "off": "dim",
    "idle": "green",
    "busy": "bold blue",
}
TAIL_LINES = 10
# The columns that give way on a narrow terminal, in this order, and how far.
SHORTEST = {"COMMAND": 16, "WHY": 16, "QUEUE": 8, "TEXT": 24, "PATTERN": 16, "PROGRAM": 12}


def console(*, stderr: bool = False) -> Console:
    """A console that takes text as it is: no markup, no emoji codes, nothing guessed."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def coloured(word: str) -> Text:
    """A state or a level in its colour."""
    return Text(word, STYLES.get(word, ""))


def show_overview(view: View, *, missed: bool) -> None:
    """The whole queue: health, workers (is one `missed`?), counts, queues, and what to do about what is wrong."""
    out, health, worker = console(), view["health"], view["worker"]
    out.print(Text.assemble("Health  ", coloured(health["level"]), f", {_fill(health)}"))
    out.print(Text.assemble("Worker  ", coloured(worker["state"]), _worker_hint(worker, missed=missed)))
    counts = [Text.assemble((str(n), "bold"), " ", coloured(state)) for state, n in view["counts"].items() if n]
    out.print(Text.assemble("Jobs    ", Text(", ").join(counts) if counts else "none"))
    if view["queues"]:
        out.print()
        out.print(_queues(out, view["queues"]))
    _print_problems(out, health["problems"])


def _fill(health: View) -> str:
    return f"{health['pending']} of {health['capacity']} waiting ({health['usage']:.0%})"


def _worker_hint(worker: View, *, missed: bool) -> str:
    if worker["pids"]:
        return f" (pid {', '.join(str(pid) for pid in worker['pids'])})"
    return ": a session's server boots one, or run `runq work`" if missed else ""


def _queues(out: Console, queues: View) -> Table:
    rows = [(name, *_queue(queue)) for name, queue in queues.items()]
    return make_table(out, ("QUEUE", "WAITING", "RUNNING", "DEAD", ""), rows)


def _queue(queue: View) -> tuple[str | Text, ...]:
    waiting = sum(queue.get(state, 0) for state in WAITING)
    running = f"{queue.get('running', 0)} of {queue['parallelism']}"
    return str(waiting), running, str(queue.get("dead", 0)), _why_it_hands_out_nothing(queue)


def _why_it_hands_out_nothing(queue: View) -> str | Text:
    if queue["paused"]:
        return Text("paused", "yellow")
    left = _seconds(queue["rests_until"]) - time.time() if queue.get("rests_until") else 0
    return Text(f"rests for {duration(left)}", "yellow") if left > 0 else ""


def _print_problems(out: Console, problems: Sequence[str]) -> None:
    if problems:
        out.print()
    for problem in problems:
        out.print(Text.assemble(("! ", "yellow"), printable(problem)))


def show_health(view: View) -> None:
    """How full the queue is, and what needs attention."""
    out = console()
    dead = number_of(view["dead"], "dead letter")
    out.print(Text.assemble(coloured(view["level"]), f": {_fill(view)}, {dead}"))
    _print_problems(out, view["problems"])


def show_jobs(jobs: Sequence[View], *, limit: int, newest: bool = True) -> None:
    """A list of jobs, a line each."""
    out = console()
    if not jobs:
        out.print("No jobs.")
        return
    rows = [
        (str(job["id"]), coloured(job["state"]), job["queue"], when(job), _result(job), _command(job)) for job in jobs
    ]
    out.print(make_table(out, ("ID", "STATE", "QUEUE", "WHEN", "RESULT", "COMMAND"), rows))
    if len(jobs) == limit:
        out.print(Text(f"The {'newest' if newest else 'first'} {limit}; --limit shows more.", "dim"))


def show_dead(jobs: Sequence[View]) -> None:
    """The dead letters: what failed, how often, and why."""
    out = console()
    if not jobs:
        out.print("No dead letters.")
        return
    rows = [
        (
            *(str(job["id"]), job["queue"], when(job), str(job["attempt"]), _why(job)),
            *(_next(job["escalated_to"]), _command(job)),
        )
        for job in jobs
    ]
    headings = ("ID", "QUEUE", "WHEN", "TRIES", "WHY", "NEXT", "COMMAND")
    out.print(make_table(out, *without_empty(headings, rows, "NEXT")))
    out.print(Text("`runq output ID` shows what one said; `runq dead retry ID...` runs it again.", "dim"))


def show_schedules(schedules: Sequence[View]) -> None:
    """What is queued again and again, when next, and what keeps it from being queued."""
    out = console()
    if not schedules:
        out.print("No schedules. `runq schedule add NAME --every 1h -- PROGRAM` makes one.")
        return
    rows = [
        (
            printable(one["name"]),
            " ".join(filter(None, (one["when"], one["tz"]))),
            *_turns(one),
            Text(command_of(one)),
        )
        for one in schedules
    ]
    out.print(
        make_table(out, ("SCHEDULE", "RUNS", "NEXT", "LAST", "COMMAND"), rows, give_way=_fold_order(rows), fold=True)
    )
    _print_problems(out, [f"{one['name']}: {one['trouble']}" for one in schedules if one["trouble"]])


def _fold_order(rows: Sequence[Sequence[str | Text]]) -> tuple[tuple[str, int], ...]:
    """How schedules' columns give way: nothing of them is cut, and a cron line breaks between its fields first."""
    field = min(40, max(cell_len(word) for row in rows for word in str(row[1]).split()))
    return (
        *(("COMMAND", 40), ("RUNS", max(32, field)), ("COMMAND", 20), ("SCHEDULE", 20)),
        *(("RUNS", max(16, field)), ("SCHEDULE", 12), ("COMMAND", 12), ("RUNS", 16), ("COMMAND", 8)),
    )


def _turns(schedule: View) -> tuple[Text | str, str]:
    """When a schedule is due next, and which job it queued last."""
    left = _seconds(schedule["next_at"]) - time.time() if schedule["next_at"] else None
    due = Text("never", "dim") if left is None else "in " + duration(left) if left > 0 else Text("due", "yellow")
    last = f"job {schedule['last_job']}" if schedule["last_job"] else ""
    return Text("paused", "yellow") if schedule["paused"] else due, last


def make_table(
    out: Console,
    headings: Sequence[str],
    rows: Sequence[Sequence[str | Text]],
    *,
    give_way: Sequence[tuple[str, int]] = tuple(SHORTEST.items()),
    fold: bool = False,
) -> Table:
    """Only what may be long gives way on a narrow terminal; `TEXT` (with `fold`, all) goes on in the next line."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading, width in zip(headings, _widths(out.width, headings, rows, give_way), strict=True):
        folds = fold or heading == "TEXT"
        table.add_column(
            heading,
            no_wrap=not folds,
            overflow="fold" if folds else "ellipsis",
            width=width,
            justify="right" if heading in ("ID", "TRIES", "#") else "left",
        )
    for row in rows:
        table.add_row(*row)
    return table


def without_empty(
    headings: Sequence[str], rows: Sequence[Sequence[str | Text]], heading: str
) -> tuple[list[str], list[list[str | Text]]]:
    """A table without that column, if nothing stands in it."""
    at = list(headings).index(heading)
    drop = not any(len(row[at]) for row in rows)
    kept = [number for number in range(len(headings)) if number != at or not drop]
    return [headings[number] for number in kept], [[row[number] for number in kept] for row in rows]


def _widths(
    room: int, headings: Sequence[str], rows: Sequence[Sequence[str | Text]], give_way: Sequence[tuple[str, int]]
) -> list[int]:
    """Columns as wide as their widest cell; those that give way do so in this order, and so far."""
    columns = [[heading, *(row[number] for row in rows)] for number, heading in enumerate(headings)]
    widths = [max(_cell_width(cell) for cell in column) for column in columns]
    over = sum(widths) + 2 * (len(widths) - 1) - room
    for heading, shortest in give_way:
        if over > 0 and heading in headings:
            at = headings.index(heading)
            less = min(over, max(0, widths[at] - shortest))
            widths[at] -= less
            over -= less
    return widths


def _cell_width(cell: str | Text) -> int:
    return cell.cell_len if isinstance(cell, Text) else cell_len(cell)


def _command(job: View) -> Text:
    command = command_with_steps(job)
    return Text.assemble((printable(job["name"]) + ": ", "bold"), command) if job["name"] else Text(command)


def _why(job: View) -> Text:
    return Text(printable(job["error"] or ""), "red")


def _next(successor: int | None) -> str:
    """Which job has taken over."""
    return f"job {successor}" if successor else ""


def _result(view: View) -> str:
    return result(view) or ""


def when(job: View) -> str:
    """When the latest thing happened to a job, or when it is due."""
    if job["state"] == "scheduled" and job["scheduled_at"]:
        left = _seconds(job["scheduled_at"]) - time.time()
        return "in " + duration(left) if left > 0 else "due"
    return _ago(job["finished_at"] or (job["state"] == "running" and job["started_at"]) or job["created_at"])


def _ago(moment: str) -> str:
    return ago(max(0.0, time.time() - _seconds(moment)))


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def show_job(job: View, *, pid: int | None = None) -> None:
    """One job as a sheet: what it is, how it goes (in the process `pid`) or went, what it wrote last."""
    out = console()
    title = f"  {printable(job['name'])}" if job["name"] else ""
    out.print(Text.assemble((f"Job {job['id']}", "bold"), "  ", coloured(job["state"]), title))
    out.print(Text.assemble(("  $ ", "dim"), command_of(job)))
    facts = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for label, text in (("running", _running(job, pid)), *_facts(job)):
        if text:
            facts.add_row(label, printable(text))
    out.print(facts)
    if job["attempts"]:
        out.print()
        out.print(_attempts(out, job))
    _print_tail(out, job)
    _print_result(out, job)


def _running(job: View, pid: int | None) -> str | None:
    """Since when, and which attempt it is."""
    if job["state"] != "running" or not job["started_at"]:
        return None
    process = f", process {pid}" if pid else ""
    return f"attempt {job['attempt']}, for {duration(max(0.0, time.time() - _seconds(job['started_at'])))}{process}"


def _print_result(out: Console, job: View) -> None:
    """What a handler has returned, as JSON."""
    if job["handler"] and job["result"] is not None:
        out.print(Text("\nResult", "dim"))
        for line in json.dumps(job["result"], indent=2, ensure_ascii=False).splitlines():
            out.print(Text("  " + printable(line)), overflow="fold")


def _facts(job: View) -> list[tuple[str, str | None]]:
    limit = duration(job["timeout"]) if job["timeout"] else None
    pinned = "yes: pruning spares it" if job["pinned"] else None
    stopping = "it is being stopped" if job["cancel_requested"] else None
    kind = ", sequential" if job["sequential"] else ""
    return [
        ("waits for", job["waiting_for"]),
        ("why", job["error"] if job["waiting_for"] is None else None),
        ("progress", printable(job["progress"] or "")),
        ("cancel", stopping),
        ("folder", folder_of(job["cwd"])),
        ("program", job["program"]),
        ("queue", f"{job['queue']}, priority {job['priority']}{kind}"),
        ("queued", f"{_ago(job['created_at'])} by {'an agent' if job['caller'] == 'agent' else 'a ' + job['caller']}"),
        ("attempts", f"{job['attempt']} of {job['max_attempts']}"),
        ("time-out", limit),
        ("locks", ", ".join(job["locks"])),
        ("variables", ", ".join(map(printable, job["own_env"]))),
        ("unique", job["unique"]),
        ("schedule", job["schedule"]),
        ("on dead", steps_of(job) or None),
        ("handed over", chain_line(job["chain"]) if job["chain"] else None),
        ("meta", ", ".join(f"{key}={value}" for key, value in job["meta"].items())),
        ("pinned", pinned),
    ]


def _attempts(out: Console, job: View) -> Table:
    rows = [(str(number), *_attempt(attempt)) for number, attempt in enumerate(job["attempts"], 1)]
    return make_table(out, *without_empty(("#", "ENDED", "RESULT", "TOOK", "OUTPUT", "WHY"), rows, "WHY"))


def _attempt(attempt: View) -> tuple[str, ...]:
    took = duration(max(0.0, _seconds(attempt["finished_at"]) - _seconds(attempt["started_at"])))
    return (
        *(_ago(attempt["finished_at"]), _result(attempt), took),
        *(size(attempt["output_bytes"]), printable(attempt["error"] or "")),
    )


def _print_tail(out: Console, job: View) -> None:
    lines = [readable(line) for line in lines_of(job["output_tail"]) if line.strip()]
    if not lines:
        return
    more = " (`runq output` shows all of it)" if len(lines) > TAIL_LINES else ""
    out.print(Text(f"\nOutput{more}", "dim"))
    for line in lines[-TAIL_LINES:]:
        out.print(Text("  " + line), overflow="fold")


def show_rows(headings: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> None:
    """Any other table."""
    out = console()
    out.print(make_table(out, headings, rows))
