"""`runq stats`: figures of the last hours or days, as tables for people and as lines for programs."""

from __future__ import annotations

import os

from queue_core.cli.context import mind_unknown_queue, on_terminal, opened, write_json, write_lines
from queue_core.cli.options import JSON, Given, Option, Verb
from queue_core.cli.text import columns, duration, number_of, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import Console

    from queue_core.views import View

_TIMES = ("p50", "p90", "p99", "max")
_GROUP = "added, succeeded, dead, cancelled, attempts, failed, retries, waited (4), ran (4), ran in all"
VERBS = {
    "stats": Verb(
        name="stats",
        summary="How many jobs were added, how they ended, how long they waited and ran. Busiest programs first.",
        options=(
            Option(name="since", metavar="SPAN|TIME", help="24h (default), 90m, 7d, or a time: 2026-11-22T18:00"),
            Option(name="queue", metavar="Q", help="of this queue"),
            JSON,
        ),
        more="waited: from ready to started; ran: from started to ended; in seconds: p50, p90, p99 and the longest. "
        "A retry is an attempt of a job that had been attempted before. Jobs that were pruned are not counted.\n\n"
        f"In a pipe `queue NAME`, `program PATH` and `handler NAME` are followed by {_GROUP}; separated by tabs.",
        example="runq stats\nrunq stats --since 7d --queue ci\nrunq stats --json",
    ),
}


def run_stats(given: Given) -> int:
    """`runq stats`."""
    with opened() as queue:
        queue.settle_leftovers()
        mind_unknown_queue(queue, given.get("queue"))
        view = queue.stats(since=given.get("since", "24h"), queue=given.get("queue"))
    if given.get("json"):
        write_json(view)
    elif on_terminal():
        _show(view)
    else:
        write_lines(_lines(view))
    return 0


def _lines(view: View) -> Iterator[str]:
    for key in ("since", "until", "hours", "complete", "timed_attempts", "all_timed"):
        yield columns(key, view[key])
    yield columns("of_queue", view["queue"])
    for name, count in view["jobs"].items():
        yield columns("jobs", name, count, view["jobs_per_hour"][name])
    for key in ("attempts", "failed", "retries", "retry_rate"):
        yield columns(key, view[key])
    for outcome, count in view["outcomes"].items():
        yield columns("outcome", outcome, count)
    for key in ("waited", "ran"):
        yield columns(key, *view[key].values())
    yield columns("ran_in_all", view["ran_in_all"])
    for name, group in view["queues"].items():
        yield columns("queue", name, *_group(group))
    for group in view["programs"]:
        kind = "program" if group["program"] else "handler"
        yield columns(kind, group[kind], *_group(group))
    if view["other_programs"]:
        yield columns("others", view["other_programs"]["programs"], *_group(view["other_programs"]))
    for state, count in view["now"].items():
        yield columns("now", state, count)


def _group(group: View) -> Iterator[object]:
    yield from group["jobs"].values()
    for key in ("attempts", "failed", "retries"):
        yield group[key]
    yield from (*group["waited"].values(), *group["ran"].values(), group["ran_in_all"])


def _show(view: View) -> None:
    from rich.text import Text

    from queue_core.cli import tables

    out = tables.console()
    of = f"queue {printable(view['queue'])}" if view["queue"] is not None else "all queues"
    if not view["attempts"] and not any((*view["jobs"].values(), *view["now"].values())):
        out.print(f"No jobs in the last {duration(view['hours'] * 3600)}.")
        return
    out.print(Text.assemble(("The last ", "bold"), (duration(view["hours"] * 3600), "bold"), f" of {of}"))
    out.print()
    for label, text in _facts(view):
        out.print(Text.assemble((f"{label:<10}", "dim"), text))
    out.print()
    out.print(tables.make_table(out, ("", *(name.upper() for name in _TIMES)), _times(view)))
    _show_groups(out, "QUEUE", view["queues"].items())
    _show_groups(out, "PROGRAM", _named(view))
    for note in _notes(view):
        out.print(Text(f"\n{note}", "dim"))


def _facts(view: View) -> Iterator[tuple[str, str]]:
    hourly = view["jobs_per_hour"]
    yield "Jobs", ", ".join(f"{count} {name}" for name, count in view["jobs"].items())
    yield "Per hour", ", ".join(f"{hourly[name]:g} {name}" for name in view["jobs"])
    attempts = number_of(view["attempts"], "attempt")
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in view["outcomes"].items())
    yield "Attempts", f"{attempts}: {outcomes}" if outcomes else "none"
    if view["attempts"]:
        retries = "1 retry" if view["retries"] == 1 else f"{view['retries']} retries"
        yield "", f"{view['failed']} failed, {retries} ({view['retry_rate']:.0%})"
    now = ", ".join(f"{count} {state}" for state, count in view["now"].items() if count)
    yield "Now", now or "no jobs"


def _times(view: View) -> list[tuple[str, ...]]:
    return [(key, *(_time(view[key][name]) for name in _TIMES)) for key in ("waited", "ran")]


def _time(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)


def _show_groups(out: Console, heading: str, groups: Iterable[tuple[str, View]]) -> None:
    from queue_core.cli import tables

    headings = (heading, "ADDED", "DONE", "DEAD", "RETRIES", "WAITED P50/P90", "RAN P50/P90", "IN ALL")
    rows = [(printable(name), *_cells(group)) for name, group in groups]
    if rows:
        out.print()
        out.print(tables.make_table(out, headings, rows))


def _cells(group: View) -> Sequence[str]:
    jobs = group["jobs"]
    return (
        *(str(jobs["added"]), str(jobs["succeeded"]), str(jobs["dead"]), str(group["retries"])),
        *(_pair(group["waited"]), _pair(group["ran"]), _time(group["ran_in_all"])),
    )


def _pair(times: View) -> str:
    return "" if times["p50"] is None else f"{duration(times['p50'])}/{duration(times['p90'])}"


def _named(view: View) -> Iterator[tuple[str, View]]:
    """Programs by their bare names, where that is clear."""
    bare = [os.path.basename(group["program"] or "") for group in view["programs"]]
    for group, name in zip(view["programs"], bare, strict=True):
        if group["handler"]:
            yield f"{group['handler']} (handler)", group
        else:
            yield (name if bare.count(name) == 1 else group["program"]), group
    if view["other_programs"]:
        yield f"{view['other_programs']['programs']} others", view["other_programs"]


def _notes(view: View) -> Iterator[str]:
    if not view["all_timed"]:
        yield f"The times are those of the newest {view['timed_attempts']} attempts; all else is counted in full."
    if not view["complete"]:
        yield "Ended jobs that have been pruned are not counted (`keep_days`, `keep_count`): there may have been more."
