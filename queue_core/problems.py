"""What a person should know besides the capacity, in words, each with what to do about it."""

from __future__ import annotations

import os

from queue_core import backups, checkup, rules, safekeeping, spool
from queue_core.escalation import TAKEN_OVER
from queue_core.health import level
from queue_core.home import free_mib
from queue_core.intake import least_free
from queue_core.jobs import Filter
from queue_core.sqlite import ballast
from queue_core.views import how_to_approve, pending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from queue_core.home import Home
    from queue_core.jobs import Totals
    from queue_core.look import Look

LARGE_WAL = 32.0  # MiB; SQLite checkpoints every 4, and workers empty it
FIXED_SQLITE = ((3, 44, 6), (3, 50, 7), (3, 51, 3))  # each the first of its line without the WAL-reset bug


def found(queue: Look, totals: Totals) -> list[str]:
    """Everything worth a person's attention now; empty is good."""
    by_state = totals.counts
    checks = (
        checkup.problem(queue.home),
        _wal(queue),
        _full(queue, by_state),
        _dead(queue, by_state),
        _held(queue, by_state),
        _disk(queue),
        _ballast(queue),
        _policy(queue),
        _spool(queue),
        _backups(queue),
        _paused(totals.paused),
        _unmanned(queue),
        _schedules(queue),
    )
    return [text for text in checks if text]


def _full(queue: Look, by_state: Mapping[str, int]) -> str | None:
    if level(pending(by_state), queue.settings.capacity) != "error":
        return None
    return "the queue is full: agents are refused; let jobs end, cancel some, or raise `capacity`"


def _dead(queue: Look, by_state: Mapping[str, int]) -> str | None:
    """Those that nobody has taken over: of a chain that has died to its end, only the end is to be seen to."""
    count = by_state["dead"]
    if count and queue.scope is None:
        count -= queue.store.handed_over()
    elif count:  # a list of them would show no others
        count = len(queue.ids(Filter(states=("dead",), no_successor_in=TAKEN_OVER["retry"])))
    if not count:
        return None
    letters = "dead letter" if count == 1 else "dead letters"
    return f"{count} {letters}: `runq dead list` shows why, `runq dead retry --all` runs them again"


def _held(queue: Look, by_state: Mapping[str, int]) -> str | None:
    count = by_state["held"]
    if count and queue.scope is not None:
        count = len(queue.ids(Filter(states=("held",))))
    if not count:
        return None
    return f"{count} waiting for approval: `runq list --state held`, {how_to_approve('ID')} or `runq reject ID`"


def _disk(queue: Look) -> str | None:
    free = free_mib(queue.home.data)
    if free >= least_free(queue.settings):
        return None
    return f"only {int(free)} MiB are free where the queue lives: free some, or jobs will be refused"


def _wal(queue: Look) -> str | None:
    """Readers of runq's own are short, so that a WAL that cannot be emptied has most likely another program's in it."""
    if wal_mib(queue.home) > LARGE_WAL:
        queue.store.leave_tidy()
    if (grown := wal_mib(queue.home)) <= LARGE_WAL:
        return None
    return (
        f"the database's WAL has grown to {grown:.0f} MiB and cannot be emptied now: if that stays so, another program "
        f"reads without an end; close whatever else has {queue.home.database} open"
    )


def _ballast(queue: Look) -> str | None:
    return ballast.SPENT.format(queue.home.data) if ballast.spent(queue.home) else None


def _policy(queue: Look) -> str | None:
    broken = rules.load_or_ask(queue.home.rules_file)[1]
    if broken:
        return f"no rule is in force, and agents have to ask for everything: {broken}"
    if queue.settings.agents == "allow":
        return 'agents may run anything: config.toml says agents = "allow"'
    return None


def _spool(queue: Look) -> str | None:
    broken = [name for name in _names(queue.home.spool) if name.endswith(".broken")]
    if broken:
        return f"{len(broken)} spooled jobs cannot be read: look into {queue.home.spool}"
    waiting = len(spool.pending(queue.home))
    return f"{waiting} submissions wait in the spool for the database" if waiting else None


def _paused(waiting: Mapping[str, int]) -> str | None:
    if not waiting:
        return None
    names, count = list(waiting), sum(waiting.values())
    jobs = "1 job waits" if count == 1 else f"{count} jobs wait"
    if len(names) == 1:
        return f"{jobs} in the paused queue {names[0]}: `runq resume {names[0]}` hands out again"
    return f"{jobs} in paused queues ({', '.join(names)}): `runq resume` hands out again, of a queue or of all"


def _unmanned(queue: Look) -> str | None:
    names = queue.store.unmanned()
    if not names or queue.scope is not None:  # they may be other projects', which are not named here
        return None
    return f"jobs wait for handlers that no worker has ({', '.join(names)}): start the program that declares them"


def _schedules(queue: Look) -> str | None:
    from queue_core.schedules import may_see

    troubled = [row for row in queue.store.schedules() if row.trouble and may_see(queue, row)]
    if not troubled:
        return None
    more = f" (and {len(troubled) - 1} more: `runq schedule list`)" if troubled[1:] else ""
    return f"the schedule {troubled[0].name} could not queue its job: {troubled[0].trouble}{more}"


def _backups(queue: Look) -> str | None:
    home, chosen = queue.home, queue.settings
    if not (chosen.backup_at or chosen.snapshot_every):
        return None
    failed = safekeeping.failure(home)
    if failed is not None:
        return f"the last backup failed: {failed}"
    began, now = backups.began(home), queue.clock()
    missed = began is not None and backups.missed(now, backups.there(home), since=began, at=chosen.backup_at)
    if not missed or not queue.live_workers():  # without a worker nothing is backed up, and little happens
        return None
    return f"no nightly backup for {missed / 86400:.0f} days, although a worker is up: `runq logs` may tell why"


def wal_mib(home: Home) -> float:
    """The size of the database's WAL, in MiB."""
    try:
        return os.stat(home.database + "-wal").st_size / (1024 * 1024)
    except OSError:
        return 0.0


def sqlite_has_wal_bug(version: tuple[int, ...]) -> bool:
    """Whether this SQLite can corrupt a WAL file with several writers (3.7.0 to 3.51.2, but for backports).

    Source: SQLite's own advisory for 3.51.3; runq's flock discipline avoids it (0 of 29 rounds).
    """
    if version >= (3, 51, 3) or version < (3, 7, 0):
        return False
    return not any(version[:2] == fixed[:2] and version >= fixed for fixed in FIXED_SQLITE)


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
