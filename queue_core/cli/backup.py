"""`runq backup`: take one now, list them, restore one. They work whatever state the database is in."""

from __future__ import annotations

import os
import random
import sys
import time

from queue_core import restoring, safekeeping, settings
from queue_core.callers import caller_of
from queue_core.cli.context import complain, on_terminal, report, write_json, write_lines
from queue_core.cli.options import JSON, Given, Option, Verb
from queue_core.cli.text import columns, duration, number_of, printable, size
from queue_core.errors import QueueError, UsageError
from queue_core.home import locate, prepare
from queue_core.views import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from queue_core.home import Home
    from queue_core.model import Caller
    from queue_core.restoring import Present
    from queue_core.safekeeping import Listed
    from queue_core.views import View

VERBS = {
    "backup": Verb(
        name="backup",
        summary="Copies of the queue's database: take one now, list them, restore one.",
        operands="now | list | restore [NAME|FILE]",
        options=(
            Option(name="to", metavar="FILE", help="now: write it there, instead of into the home's backups"),
            Option(name="yes", help="restore: do not ask"),
            JSON,
        ),
        more="Workers take one a night (backup_at, backup_keep) and one every so many ended jobs (snapshot_every,\n"
        "snapshot_keep). Those of `now`, and what a restore keeps as before-restore-…, are never removed unasked.\n"
        "restore takes the newest good one, or the one that is named; it is a person's alone, and needs all workers\n"
        "to be gone. Jobs are as they were then: what waited runs again, what has ended since has not.\n"
        "In a pipe `list` writes a line a backup: name, kind, taken, bytes, jobs, ok or what is wrong with it.",
        example="runq backup now\nrunq backup now --to /media/stick/runq.db\nrunq backup list\n"
        "runq work --stop && runq backup restore",
    ),
}


def run_backup(given: Given) -> int:
    """`runq backup now|list|restore`."""
    actions = {"now": _now, "list": _list, "restore": _restore}
    action = given.operands[0] if given.operands else "list"
    if action not in actions:
        raise UsageError(f"runq backup knows now, list and restore, not `{action}`; see `runq backup --help`")
    if len(given.operands) > (2 if action == "restore" else 1):
        raise UsageError(f"runq backup {action} does not know what to do with `{given.operands[-1]}`")
    for option, its_action in (("to", "now"), ("yes", "restore")):
        if given.get(option) is not None and action != its_action:
            raise UsageError(f"--{option} goes with `runq backup {its_action}` alone")
    home = locate(os.environ)
    prepare(home)
    return actions[action](home, given)


def _now(home: Home, given: Given) -> int:
    made = safekeeping.take(home, time.time(), given.get("to"))
    path = printable(made.backup.path)
    sentence = f"Backed up {number_of(made.jobs or 0, 'job')} ({size(made.size)}) to {path}."
    report(given, view(made), rows=[path], sentences=[sentence])
    return 0


def _list(home: Home, given: Given) -> int:
    found = safekeeping.listed(home)
    if given.get("json"):
        write_json({"folder": home.backups, "backups": [view(one) for one in found]})
    elif not on_terminal():
        write_lines(_line(one) for one in found)
    elif found:
        from queue_core.cli import tables

        rows = [
            (
                *(one.backup.name, f"{_ago(one)} ago", size(one.size)),
                *("" if one.jobs is None else str(one.jobs), one.error or "ok"),
            )
            for one in found
        ]
        tables.show_rows(("NAME", "TAKEN", "SIZE", "JOBS", ""), rows)
    else:
        write_lines([f"There are no backups in {home.backups}; `runq backup now` takes one."])
    return 0


def view(one: Listed) -> View:
    """A backup as `--json` shows it."""
    return {
        "name": one.backup.name,
        "path": one.backup.path,
        "kind": one.backup.kind,
        "taken_at": rfc3339(one.backup.taken_at),
        "size": one.size,
        "jobs": one.jobs,
        "ok": one.error is None,
        "error": one.error,
    }


def _line(one: Listed) -> str:
    what = one.backup
    return columns(what.name, what.kind, rfc3339(what.taken_at), one.size, one.jobs, one.error or "ok")


def _ago(one: Listed) -> str:
    return duration(max(0.0, time.time() - one.backup.taken_at))


def _restore(home: Home, given: Given) -> int:
    caller = _caller()
    restoring.refuse_others(caller)
    chosen = restoring.choose(home, given.operands[1] if len(given.operands) > 1 else None)
    present = restoring.present(home)
    if not given.get("yes"):
        _ask(_plan(home, chosen, present))
    permanent = settings.load(home, os.environ).permanent_exit_codes
    done = restoring.restore_backup(
        home, chosen, caller, now=time.time(), chance=random.random, permanent_exit_codes=permanent
    )
    if done.replaced:
        complain("sessions that were open while the database was damaged have to be started anew")
    kept = f" The database from before is kept as {done.kept_as}." if done.kept_as else ""
    report(
        given,
        {"restored": view(chosen), "kept_as": done.kept_as},
        rows=[columns(chosen.backup.name, chosen.jobs, done.kept_as)],
        sentences=[f"Restored {number_of(chosen.jobs or 0, 'job')} from {printable(chosen.backup.name)}.{kept}"],
    )
    return 0


def _caller() -> Caller:
    """Inside a queued job nobody is a person: it would have to end before a restore anyway."""
    return caller_of(os.environ, hook_verb=False, caller_of_job=lambda _: None)


def _plan(home: Home, chosen: Listed, present: Present) -> str:
    """What would happen, for a person to decide on."""
    now = {
        "sound": f"The queue holds {number_of(present.jobs or 0, 'job')} now; that database is kept as a backup",
        "unusable": "The database that is there cannot be used; the file is kept among the backups",
        "missing": "There is no database now",
    }[present.condition]
    return (
        f"{printable(chosen.backup.name)} was taken {_ago(chosen)} ago ({rfc3339(chosen.backup.taken_at)})"
        f" and holds {number_of(chosen.jobs or 0, 'job')}.\n{now}.\n"
        "All jobs will be as they were then: what has ended since has not, what waited runs again,\n"
        "what was added since is gone.\n"
    )


def _ask(plan: str) -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("a restore undoes what happened since; without a terminal to ask on it needs --yes")
    sys.stdout.write(plan + "Restore it? [y/N] ")
    sys.stdout.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise QueueError("nothing was restored")
