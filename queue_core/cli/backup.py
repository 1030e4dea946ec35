"""`runq backup`: take one now, list them, restore one. They work whatever state the database is in."""

from __future__ import annotations

import os
import random
import sys
import time

from queue_core import restoring, safekeeping, settings
from queue_core.callers import caller_of, origin_of
from queue_core.cli.context import action_of, complain, on_terminal, refuse_agents, report, write_json, write_lines
from queue_core.cli.options import JSON, Given, Option, Verb
from queue_core.cli.text import columns, duration, number_of, printable, size
from queue_core.errors import QueueError, UsageError
from queue_core.home import locate, prepare
from queue_core.views import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from queue_core.home import Home
    from queue_core.model import Caller
    from queue_core.restoring import Choice, Present
    from queue_core.safekeeping import Listed
    from queue_core.views import View

VERBS = {
    "backup": Verb(
        name="backup",
        summary="Copies of the queue's database: take one now, list them, restore one.",
        operands="ACTION",
        usage=("now [--to FILE] [--json]", "list [--json]", "restore [NAME|FILE] [--yes] [--json]"),
        actions={"now": ("to", "json"), "list": ("json",), "restore": ("yes", "json")},
        options=(
            Option(name="to", metavar="FILE", help="now: write it there, not into the home"),
            Option(name="yes", help="restore: do not ask"),
            JSON,
        ),
        more="Workers take one a night (backup_at, backup_keep) and one every so many ended jobs (snapshot_every,\n"
        "snapshot_keep). Those of `now`, and what a restore keeps as before-restore-…, are never removed unasked.\n"
        "restore takes the newest good one, or the one that is named; it is a person's alone, and needs all workers\n"
        "to be gone. Jobs are as they were then: what waited runs again, what has ended since has not.\n\n"
        "In a pipe `list` writes a line a backup: name, kind, taken, bytes, jobs, ok or what is wrong with it.",
        example="runq backup now\nrunq backup now --to /media/stick/runq.db\nrunq backup list\n"
        "runq work --stop && runq backup restore",
    ),
}


def run_backup(given: Given) -> int:
    """`runq backup now|list|restore`."""
    actions = {"now": _now, "list": _list, "restore": _restore}
    action = action_of(given, "backup", actions)
    if len(given.operands) > (2 if action == "restore" else 1):
        raise UsageError(f"runq backup {action} does not know what to do with `{given.operands[-1]}`")
    for option, its_action in (("to", "now"), ("yes", "restore")):
        if given.get(option) is not None and action != its_action:
            raise UsageError(f"--{option} goes with `runq backup {its_action}` alone")
    home = locate(os.environ)
    prepare(home)
    return actions[action](home, given)


def _now(home: Home, given: Given) -> int:
    if given.get("to") is not None:
        refuse_agents(home, "choose where a copy of the database goes: it holds what people and hooks have queued")
    made = safekeeping.take(home, time.time, given.get("to"))
    path = printable(made.backup.path)
    sentence = f"Backed up {number_of(made.jobs or 0, 'job')} ({size(made.size)}) to {path}."
    report(given, view(made), rows=[path], sentences=[_wrapped(sentence)])
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
                *(one.backup.name, _when(one), size(one.size), "" if one.jobs is None else str(one.jobs)),
                tables.coloured("wrong" if one.error else "ok"),
            )
            for one in found
        ]
        tables.show_rows(("NAME", "TAKEN", "SIZE", "JOBS", ""), rows)
        write_lines(_wrapped(f"{one.backup.name}: {printable(one.error)}") for one in found if one.error)
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


def _when(one: Listed) -> str:
    """How long ago a backup was taken, by the date in its name."""
    ago = time.time() - one.backup.taken_at
    return "in the future" if ago < 0 else f"{duration(ago)} ago"


def _wrapped(text: str) -> str:
    """Sentences in lines that fit the terminal, broken between words; a path is not broken."""
    import shutil
    import textwrap

    width = shutil.get_terminal_size().columns
    lines = (textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) for line in text.splitlines())
    return "\n".join("\n".join(line) for line in lines)


def _restore(home: Home, given: Given) -> int:
    caller = _caller()
    restoring.refuse_others(caller)
    choice = restoring.choose(home, given.operands[1] if len(given.operands) > 1 else None, now=time.time())
    chosen, present = choice.chosen, restoring.present(home)
    if given.get("yes"):
        for warning in choice.warnings:
            complain(printable(warning))
    else:
        _ask(_plan(choice, present))
    chosen_settings = settings.load(home, os.environ)
    done = restoring.restore_backup(
        home,
        chosen,
        origin_of(os.environ, caller),
        clock=time.time,
        chance=random.random,
        permanent_exit_codes=chosen_settings.permanent_exit_codes,
        keep_secrets=chosen_settings.output_secrets == "keep",
    )
    kept = f" The database from before is kept as {done.kept_as}." if done.kept_as else ""
    report(
        given,
        {"restored": view(chosen), "kept_as": done.kept_as},
        rows=[columns(chosen.backup.name, chosen.jobs, done.kept_as)],
        sentences=[
            _wrapped(f"Restored {number_of(chosen.jobs or 0, 'job')} from {printable(chosen.backup.name)}.{kept}")
        ],
    )
    return 0


def _caller() -> Caller:
    """Inside a queued job nobody is a person: it would have to end before a restore anyway."""
    return caller_of(os.environ, hook_verb=False, caller_of_job=lambda _: None)


def _plan(choice: Choice, present: Present) -> str:
    """What would happen, for a person to decide on."""
    chosen = choice.chosen
    now = {
        "sound": f"The queue holds {number_of(present.jobs or 0, 'job')} now; that database is kept as a backup",
        "unusable": "The database that is there cannot be used; the file is kept among the backups",
        "missing": "There is no database now",
    }[present.condition]
    taken = f"was taken {_when(chosen)} ({rfc3339(chosen.backup.taken_at)})"
    return _wrapped(
        f"{printable(chosen.backup.name)} {taken} and holds {number_of(chosen.jobs or 0, 'job')}.\n{now}.\n"
        "All jobs will be as they were then: what has ended since has not, what waited runs again, "
        "what was added since is gone.\n" + "".join(f"Mind: {printable(one)}.\n" for one in choice.warnings)
    )


def _ask(plan: str) -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("a restore undoes what happened since; without a terminal to ask on it needs --yes")
    sys.stdout.write(plan + "\nRestore it? [y/N] ")
    sys.stdout.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise QueueError("nothing was restored")
