"""`runq schedule`: commands that are queued again and again."""

from __future__ import annotations

from queue_core import views
from queue_core.cli.add import job_of
from queue_core.cli.context import action_of, on_terminal, opened, origin, report, write_json, write_lines
from queue_core.cli.job_options import JOB_OPTIONS
from queue_core.cli.options import JSON, Given, Option, Verb
from queue_core.cli.text import columns, command_of, printable
from queue_core.errors import UsageError
from queue_core.recurrence import interval
from queue_core.schedules import MISSED, admission_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from queue_core.jobs import ScheduleRow
    from queue_core.views import View

# Of `runq add`: what would be of one moment only makes no sense for what comes again.
_ONCE = ("after", "after-any", "after-failure", "at", "silent", "json")
_TIMING = (
    Option(name="cron", metavar="LINE", help="when: 'minute hour day-of-month month day-of-week'"),
    Option(name="every", metavar="INTERVAL", help="or how often, from now on: 90s, 15m, 2h, 1d"),
    Option(name="tz", metavar="ZONE", help="the cron line's time zone (default: this machine's)"),
    Option(name="missed", metavar="RULE", choices=MISSED, help="what was missed: skip, run once (default), or all"),
    Option(name="replace", help="instead of the schedule of this name, if there is one"),
)
VERBS = {
    "schedule": Verb(
        name="schedule",
        summary="Queue a command again and again: while a worker is up, and when one comes up after its time.",
        operands="ACTION",
        usage=(
            "add NAME (--cron LINE | --every INTERVAL) [options] -- PROGRAM [ARG...]",
            "list [--json]",
            "remove NAME... [--json]",
            "pause NAME... [--json]",
            "resume NAME... [--json]",
        ),
        actions=dict.fromkeys(("list", "remove", "pause", "resume"), ("json",)),
        options=(*_TIMING, *(option for option in JOB_OPTIONS if option.name not in _ONCE), JSON),
        command=True,
        more="Any worker queues what is due, each due time once. One that lies more than 60 s back was missed:\n"
        "`skip` queues nothing for it, `once` one job for all of them together, `all` one for each. What was due\n"
        "while a schedule was paused counts for nothing; what a person has paused is a person's to resume, replace or\n"
        "remove. --unique KEY keeps a run from being queued beside the\n"
        "one before; --delay counts from each due time. In a pipe `list` writes a line a schedule: name, when,\n"
        "zone, next, last job, paused, trouble, command.",
        example="runq schedule add nightly --cron '30 3 * * *' --tz Europe/Berlin -- make backup\n"
        "runq schedule add fetch --every 15m --missed skip --unique fetch -- git fetch\n"
        "runq schedule pause nightly",
    ),
}


def run_schedule(given: Given) -> int:
    """`runq schedule add|list|remove|pause|resume`."""
    actions = {"add": _add, "list": _list, "remove": _remove, "pause": _pause, "resume": _resume}
    return actions[action_of(given, "schedule", actions)](given)


def _add(given: Given) -> int:
    name = _only_name(given)
    timing = {option.name for option in _TIMING}
    job = job_of(
        Given(
            values={key: value for key, value in given.values.items() if key not in timing},
            operands=(),
            command=given.command,
        ),
        given.command or (),
        None,
    )
    with opened() as queue:
        row = queue.schedules.put(
            name,
            job,
            origin(queue),
            cron=given.get("cron"),
            every=given.get("every"),
            tz=given.get("tz"),
            missed=given.get("missed", "once"),
            replace=bool(given.get("replace")),
        )
    view = _view(row)
    report(
        given,
        {"schedule": view},
        rows=[columns(row.name, view["next_at"])],
        sentences=[f"Schedule {row.name}: {_when(view)}, {_how_it_goes_on(row)}."],
    )
    return 0


def _how_it_goes_on(row: ScheduleRow) -> str:
    if row.paused:
        return f"but rests like the one before it, until `runq schedule resume {row.name}`"
    return f"next at {_local(row)}"


def _only_name(given: Given) -> str:
    if len(given.operands) != 2:
        too_much = (
            f"; `{printable(given.operands[2])}` is too much (the command goes behind `--`)"
            if given.operands[2:]
            else ""
        )
        raise UsageError(
            "runq schedule add takes one name: runq schedule add NAME --cron 'M H D M W' -- PROGRAM [ARG...]" + too_much
        )
    return given.operands[1]


def _list(given: Given) -> int:
    if len(given.operands) > 1:
        raise UsageError("runq schedule list takes no names; it shows all schedules")
    _refuse_options(given)
    with opened() as queue:
        found = [_view(row) for row in queue.schedules.list()]
    if given.get("json"):
        write_json({"schedules": found})
    elif on_terminal():
        _show(found)
    else:
        write_lines(_line(view) for view in found)
    return 0


def _remove(given: Given) -> int:
    names = _names(given)
    with opened() as queue:
        queue.schedules.remove(*names)
    return _say(given, {"removed": list(names)}, names, "Schedule {0} is removed; jobs that it has queued stay.")


def _pause(given: Given) -> int:
    names = _names(given)
    with opened() as queue:
        rows = queue.schedules.pause(*names)
    return _say(given, _views(rows), names, "Schedule {0} rests until `runq schedule resume {0}`.")


def _resume(given: Given) -> int:
    names = _names(given)
    with opened() as queue:
        rows = queue.schedules.pause(*names, paused=False)
    return _say(given, _views(rows), names, "Schedule {0} goes on.")


def _views(rows: list[ScheduleRow]) -> View:
    return {"schedules": [_view(row) for row in rows]}


def _say(given: Given, document: View, names: tuple[str, ...], sentence: str) -> int:
    report(given, document, rows=[columns(name) for name in names], sentences=[sentence.format(name) for name in names])
    return 0


def _names(given: Given) -> tuple[str, ...]:
    """The schedules that are meant, each once."""
    _refuse_options(given)
    action, *names = given.operands
    if not names:
        raise UsageError(f"say which: runq schedule {action} NAME...; `runq schedule list` shows the names")
    return tuple(dict.fromkeys(names))


def _refuse_options(given: Given) -> None:
    """Everything but --json goes with add alone."""
    wrong = [key for key in given.values if key != "json"]
    if wrong or given.command is not None:
        what = f"--{wrong[0].replace('_', '-')}" if wrong else "a command"
        raise UsageError(f"{what} goes with `runq schedule add` alone")


def _view(row: ScheduleRow) -> View:
    return views.schedule(row, admission_of(row))


def _when(view: View) -> str:
    """`30 3 * * *` or `every 15m`."""
    return view["cron"] or f"every {interval(view['every'])}"


def _line(view: View) -> str:
    told = (view["tz"], view["next_at"], view["last_job"], view["paused"], view["trouble"])
    return columns(view["name"], _when(view), *told, command_of(view))


def _local(row: ScheduleRow) -> str:
    """The next due time on the clock of the schedule's time zone; an interval's on this machine's."""
    from datetime import datetime

    from queue_core.recurrence import time_zone

    zone = time_zone(row.zone) if row.cron is not None else None
    return f"{datetime.fromtimestamp(row.next_at or 0.0, zone):%Y-%m-%d %H:%M:%S}" + (f" {row.zone}" if zone else "")


def _show(found: list[View]) -> None:
    from queue_core.cli import tables

    tables.show_schedules([{**view, "when": _when(view)} for view in found])
