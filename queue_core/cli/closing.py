"""What `runq work` and `runq process-queue` say at their end: what was done, what remains, and what keeps it."""

from __future__ import annotations

import sys

from queue_core.cli.text import number_of
from queue_core.jobs import Filter
from queue_core.model import ENDED
from queue_core.quotas import rest_end
from queue_core.sqlite import ballast

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from queue_core.cli.options import Given
    from queue_core.jobs import QueueRow
    from queue_core.service import Queue
    from queue_core.worker.options import Settled

LEFT = ("available", "scheduled", "blocked", "held", "running")  # the states of what remains, in this order
MOST = 100  # jobs that are looked at for the locks that they wait for


class Tally:
    """What this worker has brought to an end so far, and what it had to leave for later."""

    def __init__(self) -> None:
        self.ended: dict[str, int] = {}
        self.lost = 0  # leases that were lost: what became of these jobs, another worker tells
        self._latest: dict[int, str] = {}

    def count(self, settled: Settled) -> None:
        """One more attempt has ended."""
        if settled.state is None:
            self.lost += 1
            return
        self._latest[settled.job] = settled.state
        if settled.state in ENDED:
            self.ended[settled.state] = self.ended.get(settled.state, 0) + 1

    @property
    def retried(self) -> int:
        """Jobs whose last attempt here has failed, and that are tried again later."""
        return self._at_last("scheduled")

    @property
    def put_back(self) -> int:
        """Jobs that were taken back, and wait as if they had not been begun."""
        return self._at_last("available")

    def _at_last(self, state: str) -> int:
        return sum(latest == state for latest in self._latest.values())


def say_end(queue: Queue, tally: Tally, given: Given, *, until_empty: bool) -> None:
    """Say what was done and what remains: on stderr, or with --json as a document."""
    counts = queue.status_view()["counts"]
    remains = {state: counts[state] for state in LEFT if counts[state]}
    if given.get("json"):
        from queue_core.fastjson import dumps

        done = {"ended": tally.ended, "retried": tally.retried, "put_back": tally.put_back, "lost": tally.lost}
        sys.stdout.write(dumps({**done, "remaining": remains, "dead": counts["dead"]}) + "\n")
        return
    sentences = [_done(tally, remains, until_empty=until_empty), f"Remaining: {_listed(remains) or 'nothing'}."]
    sys.stderr.write(" ".join(sentences) + "\n")
    if until_empty:
        sys.stderr.writelines(f"{line}\n" for line in _causes(queue, remains))


def _done(tally: Tally, remains: Mapping[str, int], *, until_empty: bool) -> str:
    later = f"{number_of(tally.retried, 'failed attempt')} {'is' if tally.retried == 1 else 'are'} tried again later"
    parts = [_listed(tally.ended), later if tally.retried else "", f"{tally.lost} lost to other workers"]
    done = "; ".join(part for part in parts[: 3 if tally.lost else 2] if part)
    back = f" Put back: {tally.put_back}." if tally.put_back else ""
    return f"Done: {done or _nothing(remains, until_empty=until_empty)}.{back}"


def _nothing(remains: Mapping[str, int], *, until_empty: bool) -> str:
    if not until_empty or not remains:
        return "nothing"
    return "nothing was due" if set(remains) <= {"scheduled", "running"} else "nothing could run"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in counts.items())


def _causes(queue: Queue, remains: Mapping[str, int]) -> Iterator[str]:
    """Why jobs remain, and what to do about it: a line for each cause."""
    queues = queue.store.queues()
    yield from _paused(queues)
    if "available" in remains and ballast.spent(queue.home):
        yield f"{ballast.SPENT.format(queue.home.data)}.".replace("the", "The", 1)
    elif "available" in remains:
        yield from _keeping(queue, queues)
    if "held" in remains:
        yield f"{_jobs_wait(remains['held'])} for a person's approval: `runq list --state held`, `runq approve ID`."
    if "blocked" in remains:
        yield f"{_jobs_wait(remains['blocked'])} for other jobs: `runq status ID` says for which."
    if any(one.counts["scheduled"] for one in queues if not one.paused):
        yield "Scheduled jobs run when they are due, by any worker: `runq work`, or a session's own."


def _paused(queues: Iterable[QueueRow]) -> Iterator[str]:
    for one in queues:
        waiting = one.counts["available"] + one.counts["scheduled"]
        if one.paused and waiting:
            yield f"{_jobs_wait(waiting)} in the paused queue {one.name}: `runq resume {one.name}`."


def _keeping(queue: Queue, queues: Sequence[QueueRow]) -> Iterator[str]:
    """What keeps jobs that are ready from being started."""
    handlers = queue.store.unmanned()
    if handlers:
        whose = "the handler" if len(handlers) == 1 else "the handlers"
        yield f"Jobs wait for {whose} {', '.join(handlers)}, which no worker has: `runq work --app MODULE:QUEUE`."
    ready = queue.store.jobs(Filter(states=("available",), limit=MOST)).jobs
    locks = sorted({job.parked for job in ready if job.parked and not job.parked.startswith("@")})
    if locks:
        yield f"Jobs wait for {'the lock' if len(locks) == 1 else 'the locks'} {', '.join(locks)}, which others hold."
    open_queues = [one for one in queues if one.counts["available"] and not one.paused]
    yield from _resting(queue, open_queues)
    for one in open_queues:
        if one.counts["running"] >= one.slots:
            yield f"The queue {one.name} has no free place: {one.counts['running']} of {one.slots} are taken."
    most = queue.store.limits().get("max_running", queue.settings.max_running)
    if open_queues and len(queue.store.running(queue.host)) >= most:
        yield f"This host has no free place: {most} jobs run (`max_running`)."


def _resting(queue: Queue, queues: Iterable[QueueRow]) -> Iterator[str]:
    """Where the limits of starts are what is waited for."""
    now = queue.clock()
    for one in queues:
        end = rest_end(one.rests_until, now)
        if end is not None:
            starts = number_of(one.starts_per_minute or 0, "start")
            yield f"{one.name} has used its {starts} a minute: the next in {end - now:.0f} s, by any worker."
    end = rest_end(queue.store.rest_of_all(), now)
    if end is not None:
        starts = number_of(queue.store.limits().get("starts_per_minute") or 0, "start")
        yield f"All queues together have used their {starts} a minute: the next in {end - now:.0f} s, by any worker."


def _jobs_wait(count: int) -> str:
    return "1 job waits" if count == 1 else f"{count} jobs wait"
