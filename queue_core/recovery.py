"""Claims whose worker is dead: whoever looks settles what is certain; the rest is a worker's to adopt."""

from __future__ import annotations

from queue_core import outcomes
from queue_core.handlers import remove_temporary
from queue_core.jobs import Settlement
from queue_core.keeper import verdict
from queue_core.liveness import worker_lives
from queue_core.secret_shapes import own_secrets
from queue_core.value import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from queue_core.home import Home
    from queue_core.jobs import Orphan, Outcome
    from queue_core.keeper.records import Record
    from queue_core.store import Store


class Found(Frozen):
    """What a look at the orphaned claims found."""

    settled: int = 0
    adoptable: tuple[Orphan, ...] = ()  # their keeper lives: a worker asks it
    alone: tuple[Orphan, ...] = ()  # the command lives on without a keeper: nothing else runs for that job

    @property
    def orphans(self) -> tuple[Orphan, ...]:
        """Whatever a worker can adopt, with a keeper or without."""
        return (*self.adoptable, *self.alone)


def orphans(store: Store, home: Home) -> list[Orphan]:
    """The claims whose worker is dead: its lock in this home tells, whatever the host was called then."""
    lives: dict[str, bool] = {}
    found: list[Orphan] = []
    for claim in store.running():
        if claim.worker not in lives:
            lives[claim.worker] = worker_lives(home, claim.worker)
        if not lives[claim.worker]:
            found.append(claim)
    return found


def recover(
    store: Store,
    home: Home,
    *,
    now: float,
    chance: Callable[[], float],
    permanent_exit_codes: Collection[int] = (),
    keep_secrets: bool = False,
) -> Found:
    """Judge every orphaned claim, settle those whose fate is certain, and name the others."""
    adoptable: list[Orphan] = []
    alone: list[Orphan] = []
    certain: list[Settlement] = []
    for orphan in orphans(store, home):
        run_dir = home.run(orphan.job, orphan.claim)
        what, record = (verdict.LOST, None) if orphan.handler else _look(run_dir, home, orphan)
        if what in SETTLED_BY:
            secrets = None if keep_secrets else secrets_in(store, orphan.job)
            outcome = outcome_of(what, record, now, tail=tail_for(what, run_dir, secrets))
            certain.append(Settlement(job=orphan.job, claim=orphan.claim, token=orphan.token, outcome=outcome))
            if orphan.handler:  # a function died with its process, and could not tidy up
                remove_temporary(run_dir)
        elif what == verdict.ASK_KEEPER:
            adoptable.append(orphan)
        else:
            alone.append(orphan)
    settled = 0
    if certain:
        states = store.settle(certain, now=now, chance=chance, permanent_exit_codes=permanent_exit_codes)
        settled = sum(state is not None for state in states)
        for one in certain:
            home.remove_input(one.job, one.claim)
    return Found(settled=settled, adoptable=tuple(adoptable), alone=tuple(alone))


def _look(run_dir: str, home: Home, orphan: Orphan) -> tuple[str, Record | None]:
    """What became of a command. One that cannot be looked at may live: it holds up its own job, and no other's."""
    try:
        return verdict.look(run_dir, home.keeper(orphan.keeper), orphan.token)
    except OSError:
        return verdict.ALONE, None


# The verdicts that say how a claim has ended.
SETTLED_BY = frozenset({verdict.NEVER_STARTED, verdict.LOST, verdict.SETTLE})


def secrets_in(store: Store, job_id: int) -> tuple[bytes, ...]:
    """The values of a job's own variables that its output must not show."""
    job = store.job(job_id)
    return own_secrets(job.env) if job is not None else ()


def tail_for(what: str, run_dir: str, secrets: outcomes.Secrets) -> bytes:
    """The end of what a claim has written, of which nothing is left unmasked on disk; what never started wrote none."""
    return b"" if what == verdict.NEVER_STARTED else outcomes.seal(run_dir, secrets)


def outcome_of(what: str, record: Record | None, now: float, *, tail: bytes) -> Outcome:
    """The outcome that one of those verdicts means."""
    if what == verdict.NEVER_STARTED:
        return outcomes.NEVER_STARTED
    if what == verdict.SETTLE and record is not None and record.end is not None:
        started_at = record.start.started_at if record.start else None
        return outcomes.of_end(record.end, started_at=started_at, tail=tail)
    return outcomes.lost(record, tail=tail, now=now)
