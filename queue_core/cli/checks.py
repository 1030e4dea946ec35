"""What `runq doctor` looks at: each check gives findings, and none of them stops the others."""

from __future__ import annotations

import math
import os
import stat
import sys
from difflib import get_close_matches

from queue_core import problems, rules, settings, spool
from queue_core.cli.text import number_of, size
from queue_core.clients import claude
from queue_core.errors import QueueError, SettingsError
from queue_core.home import NETWORK_FILE_SYSTEMS, file_system, free_mib
from queue_core.intake import least_free
from queue_core.known_programs import steering_variable
from queue_core.policy import without_effect
from queue_core.programs import find
from queue_core.quotas import QueueLimits
from queue_core.service import Queue
from queue_core.setting_table import SPECS, TABLES
from queue_core.sqlite import ballast, damage
from queue_core.sqlite.diagnosis import SQLITE_VERSION, diagnose
from queue_core.value import Frozen
from queue_core.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Literal

    from queue_core.home import Home
    from queue_core.settings import Settings

    Level = Literal["ok", "note", "warning", "wrong"]

PATIENCE = 1.0  # seconds that a look waits for whoever writes


class Finding(Frozen):
    """One thing that was looked at: `wrong` needs mending, a `warning` is for the user to decide."""

    name: str
    level: Level
    text: str


class Chosen(Frozen):
    """One setting in force."""

    name: str
    value: str
    source: str
    meaning: str


def examine(home: Home, environ: Mapping[str, str]) -> list[Finding]:
    """All findings, in the order in which a person would want to mend them."""
    found = [Finding(name="runq", level="ok", text=f"{VERSION}, Python {sys.version.split()[0]}")]
    found += _home(home)
    found += _settings(home, environ)
    chosen = _settings_or_defaults(home, environ)
    found += _rules(home, chosen)
    if not os.path.isdir(home.data):
        return found
    found += [*_disk(home, chosen), _sqlite(), *_database(home), *_spool(home)]
    if all(finding.level != "wrong" for finding in found if finding.name in ("home", "database", "settings")):
        found += _queue(home, environ)
    return found


def _home(home: Home) -> Iterator[Finding]:
    try:
        found = os.stat(home.data)
    except FileNotFoundError:
        yield Finding(name="home", level="note", text=f"{home.data} does not exist yet; it is made on first use")
        return
    except OSError as error:
        yield Finding(name="home", level="wrong", text=f"{home.data} cannot be looked at ({error.strerror})")
        return
    yield Finding(name="home", level=_home_level(found), text=home.data + _home_fault(found))
    kind = file_system(home.data)
    network = kind is not None and (kind in NETWORK_FILE_SYSTEMS or kind.startswith("fuse."))
    hint = ", a network file system, where a SQLite queue is not safe: set RUNQ_HOME to a local folder"
    text = (kind or "unknown here") + (hint if network else "")
    yield Finding(name="file system", level="wrong" if network else "ok", text=text)


def _home_level(found: os.stat_result) -> Level:
    return "wrong" if _home_fault(found) else "ok"


def _home_fault(found: os.stat_result) -> str:
    if not stat.S_ISDIR(found.st_mode):
        return " is not a folder: move it away or set RUNQ_HOME to another place"
    if found.st_uid != os.geteuid():
        return " belongs to another user: set RUNQ_HOME to a folder of your own"
    if found.st_mode & 0o077:
        return " is open to other users: check what is in it, then `chmod 700` it"
    return ""


def _settings(home: Home, environ: Mapping[str, str]) -> Iterator[Finding]:
    try:
        chosen = settings.load(home, environ)
    except SettingsError as error:
        yield Finding(name="settings", level="wrong", text=str(error))
        return
    where = home.settings_file if os.path.exists(home.settings_file) else f"{home.settings_file} (not there: defaults)"
    yield Finding(name="settings", level="ok", text=where)
    for name in environ:
        if name.startswith("RUNQ_") and name not in settings.NOT_SETTINGS and name[5:].lower() not in SPECS:
            yield Finding(
                name="settings", level="warning", text=f"{name} is set, and is no setting: unset it{_meant(name)}"
            )
        elif name[5:].lower() in SPECS and _from_the_file_alone(name[5:].lower()):
            text = f"{name} is set, and is ignored: {name[5:].lower()} is set in config.toml alone; unset it"
            yield Finding(name="settings", level="warning", text=text)
    yield from _escalation(chosen, environ)
    yield from _given_away(chosen)
    yield from _captures(chosen)
    if chosen.agents == "allow":
        text = 'agents = "allow": agents may run anything that no rule denies, unasked'
        yield Finding(name="agents", level="warning", text=text)
    else:
        yield Finding(name="agents", level="ok", text="what no rule covers waits for a person's approval")


def _meant(variable: str) -> str:
    near = get_close_matches(variable, ["RUNQ_" + name.upper() for name in SPECS], n=1)
    return f", or did you mean {near[0]}?" if near else ""


def _from_the_file_alone(name: str) -> bool:
    return SPECS[name].policy or SPECS[name].kind in TABLES


def _given_away(chosen: Settings) -> Iterator[Finding]:
    """Settings that give agents more than their writer may think."""
    for root in chosen.roots:
        real = os.path.realpath(os.path.expanduser(root))
        if real == "/":
            text = f'roots = ["{root}"]: agents may work anywhere; name the folders that they need'
            yield Finding(name="roots", level="warning", text=text)
        elif not os.path.isdir(real):
            text = f"the root {root} is no folder: make it, or take it out of `roots`"
            yield Finding(name="roots", level="warning", text=text)
    if chosen.output_secrets == "keep":
        text = 'output_secrets = "keep": secrets in output are stored and shown; "mask" leaves them out'
        yield Finding(name="output_secrets", level="warning", text=text)
    if steering := [name for name in chosen.pass_env if steering_variable(name)]:
        text = f"{', '.join(steering)} in `pass_env` can make agents' programs run others; take out what is not needed"
        yield Finding(name="pass_env", level="warning", text=text)


def _escalation(chosen: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Rules whose command is not on this PATH: jobs are queued all the same, and nothing takes over."""
    for name, rule in chosen.escalate.items():
        try:
            find(rule.run[0], os.getcwd(), environ.get("PATH", os.defpath))
        except QueueError as error:
            yield Finding(name="settings", level="warning", text=f"[escalate.{name}] ends at its first step: {error}")


def _captures(chosen: Settings) -> Iterator[Finding]:
    """Captures that no hook which `runq install claude` or the plugin brings would ever bring about."""
    ready = {hook.event: hook.matcher for hook in claude.HOOKS if hook.verb == "hook"}
    for one in chosen.capture:
        for event in one.on:
            matcher = ready.get(event)
            missing = set(one.tools or ("other tools",)) - set(matcher.split("|")) if matcher else ()
            if event not in ready:
                text = f"{one}: no ready-made hook runs at {event}; add one for it that runs `runq hook`"
            elif missing:
                named = ", ".join(sorted(missing))
                text = (
                    f"{one}: the ready-made hook at {event} runs for {matcher}, so not for {named}; widen its matcher"
                )
            else:
                continue
            yield Finding(name="capture", level="note", text=text)


def _settings_or_defaults(home: Home, environ: Mapping[str, str]) -> Settings:
    try:
        return settings.load(home, environ)
    except SettingsError:
        return settings.Settings()


def _rules(home: Home, chosen: Settings) -> Iterator[Finding]:
    found, broken = rules.load_or_ask(home.rules_file)
    text = broken or (
        f"{number_of(len(found), 'rule')} in {home.rules_file}"
        if found
        else "none, so nothing is denied"
        if chosen.agents == "allow"
        else "none: an agent's job waits for your approval"
    )
    yield Finding(name="rules", level="wrong" if broken else "ok", text=text)
    for rule in found:
        if rule.program and not os.access(rule.program, os.X_OK):
            text = (
                f"the program of `{' '.join(rule.argv)}` is gone ({rule.program}): allow it again, or remove the rule"
            )
            yield Finding(name="rules", level="warning", text=text)
        if why := without_effect(rule, rules.resolve):
            text = f"`{' '.join(rule.argv)}` has no effect ({why}): remove it"
            yield Finding(name="rules", level="warning", text=text)


def _disk(home: Home, chosen: Settings) -> Iterator[Finding]:
    free = free_mib(home.data)
    enough = free >= least_free(chosen)
    room = "no end of room" if free == math.inf else f"{size(int(free * settings.MIB))} free"
    text = room + ("" if enough else ": free some, or jobs will be refused")
    yield Finding(name="disk", level="ok" if enough else "wrong", text=text)
    if ballast.spent(home):
        yield Finding(name="ballast", level="wrong", text=ballast.SPENT.format(home.data))


def _sqlite() -> Finding:
    if not problems.sqlite_has_wal_bug(tuple(int(part) for part in SQLITE_VERSION.split("."))):
        return Finding(name="sqlite", level="ok", text=SQLITE_VERSION)
    text = (
        f"{SQLITE_VERSION} has the WAL-reset bug, which cannot strike here: every write and checkpoint of runq's "
        "is under one lock. Open the file with no other program while workers run"
    )
    return Finding(name="sqlite", level="note", text=text)


def _database(home: Home) -> Iterator[Finding]:
    try:
        found = diagnose(home)
    except QueueError as error:
        yield Finding(name="database", level="wrong", text=str(error))
        return
    if not found.exists:
        yield Finding(name="database", level="note", text="not there yet; it is made on first use")
    elif found.error:
        yield Finding(name="database", level="wrong", text=f"{home.database}: {found.error}")
    else:
        damage.forget(home)  # if it was found damaged before, it has been mended since
        yield Finding(name="database", level="ok", text=f"schema {found.schema}, {size(found.size)}, sound")


def _spool(home: Home) -> Iterator[Finding]:
    waiting = len(spool.pending(home))
    text = f"{number_of(waiting, 'submission')} of hooks to take in: `runq status` does it" if waiting else "empty"
    yield Finding(name="spool", level="note" if waiting else "ok", text=text)


def _queue(home: Home, environ: Mapping[str, str]) -> Iterator[Finding]:
    """What only an open queue tells; a home without a database is left without one."""
    if not os.path.exists(home.database):
        return
    try:
        queue = Queue.open(environ, patience=PATIENCE)
        workers, limits, health = queue.worker_view(), queue.store.limits(), queue.health_view()
        queue.close()
    except QueueError as error:
        yield Finding(name="database", level="wrong", text=str(error))
        return
    pids = ", ".join(str(pid) for pid in workers["pids"])
    yield Finding(name="workers", level="ok", text=f"{workers['state']} (pid {pids})" if pids else "none is up")
    stored = {"parallelism": queue.settings.parallelism, "max_running": queue.settings.max_running, **limits}
    at_once = f"{stored['parallelism']} jobs of a queue at once, {stored['max_running']} on this host"
    yield Finding(name="limits", level="ok", text=f"{at_once}; {health['capacity']} waiting")
    for problem in health["problems"]:
        if not problem.startswith(("agents may", "the ballast")):  # said above
            yield Finding(name="queue", level="warning", text=problem)


def settings_in_force(home: Home, environ: Mapping[str, str]) -> list[Chosen]:
    """Every setting with its value and where that comes from."""
    chosen = _settings_or_defaults(home, environ)
    return [
        Chosen(
            name=name, value=_shown(getattr(chosen, name)), source=_source(name, chosen, environ), meaning=spec.meaning
        )
        for name, spec in SPECS.items()
    ]


def _source(name: str, chosen: Settings, environ: Mapping[str, str]) -> str:
    if name not in chosen.explicit:
        return "default"
    variable = "RUNQ_" + name.upper()
    return variable if variable in environ and not _from_the_file_alone(name) else "config.toml"


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(str(item) for item in value) or "none"  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, dict):
        return " ".join(_entry(name, entry) for name, entry in value.items()) or "none"  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _entry(name: str, entry: object) -> str:
    """One table of settings: a queue with its limits; of a rule or preset the name, since config.toml says the rest."""
    return f"{name}={entry}" if isinstance(entry, QueueLimits) else name
