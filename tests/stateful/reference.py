"""What the queue does, in lists and dictionaries: read it as the specification. How a store does it is its own affair.

Nothing here knows the engine or the product's code. Whoever asks for what cannot be is `Refused`, and then nothing has
changed. Where a store may choose (a new job's id, which of several queues is next, in which order one end ends others),
the reference does not choose for it: it is told the choice, and says `Illegal` if the rules do not allow it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.stateful.book import (
    ENDED,
    OVERFLOW,
    WAITING,
    Book,
    Job,
    New,
    Queue,
    Refused,
    all_or_none,
    delay,
    require,
    stronger,
    verdict,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


class Reference(Book):
    """The queue. Times are seconds since the epoch, and given."""

    # putting in

    @all_or_none
    def enqueue(
        self, jobs: Sequence[New], *, now: float, capacity: int, parallelism: int, ids: Iterable[int] = ()
    ) -> list[tuple[int, str, bool]]:
        """Store jobs, all or none: each one's id, its state, and whether it was there already under its unique key.

        `ids` are those that the store has chosen for new ones: they grow, and none is used again.
        """
        self._refuse_overflow(jobs, capacity)
        refs: dict[str, int] = {}
        receipts: list[tuple[int, str, bool]] = []
        chosen = iter(ids)
        for new in jobs:
            receipts.append(self._admit(new, refs, chosen, now, parallelism))
            if new.ref is not None:
                refs[new.ref] = receipts[-1][0]
        return receipts

    def _refuse_overflow(self, jobs: Sequence[New], capacity: int) -> None:
        """Whoever asks for what is there already takes up no room."""
        limit = capacity if jobs[0].caller == "agent" else capacity * OVERFLOW
        keys = {new.unique for new in jobs if new.unique and self.live_with(new.unique) is None}
        really_new = len(keys) + sum(new.unique is None for new in jobs)
        if really_new and self.waiting() + really_new > limit:
            raise Refused("QueueFull")

    def _admit(
        self, new: New, refs: Mapping[str, int], ids: Iterator[int], now: float, parallelism: int
    ) -> tuple[int, str, bool]:
        self._ensure_queue(new.queue, parallelism)
        needs = self._open_needs(new, refs)
        there = self.live_with(new.unique)
        if there and there.state == "held" and there.asked.caller == "agent" and new.caller != "agent":
            # What may never be approved stands in for nobody's job but an agent's.
            self._cancel_waiting(there, now)
            there, needs = None, self._open_needs(new, refs)
        if there:
            return there.id, there.state, True
        chosen = next(ids, self.newest_id + 1)
        require(chosen > self.newest_id, "an id was used again")
        self.newest_id = chosen
        job = Job(self.newest_id, new, "held" if new.held else "blocked", new.due_at, needs)
        self.jobs[job.id] = job
        if not new.held:
            self._go_on(job, now)
        for name, lock_capacity in new.locks:  # the latest word on a lock's capacity counts
            self.locks[name] = lock_capacity or self.locks.get(name, 1)
        return job.id, job.state, False

    def _ensure_queue(self, name: str, parallelism: int) -> None:
        if name not in self.queues:
            self.queues[name] = Queue(self.slots or parallelism, self.all_paused_by)

    def _open_needs(self, new: New, refs: Mapping[str, int]) -> set[tuple[int, str]]:
        """What a new job has to wait for. Refused: what is not there, and what can never come."""
        needs: set[tuple[int, str]] = set()
        asked = {"success": new.after, "any": new.after_any, "failure": new.after_failure}
        for condition, ids in asked.items():
            for needed in ids:
                job = self.jobs.get(refs.get(needed, 0) if isinstance(needed, str) else needed)
                fate = verdict(condition, job.state) if job else "never"
                if job is None or fate == "never":
                    raise Refused("InvalidJob")
                if fate == "open":
                    needs.add((job.id, condition))
        return needs

    def _go_on(self, job: Job, now: float) -> None:
        """A job that is not held, or no longer: it is blocked, or scheduled, or available."""
        later = job.due_at is not None and job.due_at > now
        job.state = "blocked" if job.needs else "scheduled" if later else "available"

    # running

    def exchange(
        self,
        settlements: Iterable[tuple[int, int, str, str, int | None]],
        *,
        handed_out: Sequence[tuple[int, int, str]],
        worker: str,
        host: str,
        want: int,
        max_running: int,
        now: float,
        permanent: Sequence[int] = (),
    ) -> list[str | None]:
        """Settle what ended, then claim up to `want` jobs; `handed_out` (job, claim, token) is what the store chose."""
        settled = [self.settle(*one, now=now, permanent=permanent) for one in settlements]
        if want <= 0:
            require(not handed_out, "nothing was wanted")
            return settled
        self._promote_due(now)
        for job_id, claim, token in handed_out:
            job = self.jobs[job_id]
            require(job in self._startable(), f"job {job_id} may not start now")
            job.claim += 1
            job.attempt += 1
            require(job.claim == claim, f"claim {claim} of job {job_id} is not the next")
            job.state, job.token, job.worker, job.host = "running", token, worker, host
            self.turns += 1
            self.queues[job.asked.queue].served = self.turns
        room = max_running - sum(job.host == host for job in self.running())
        require(len(handed_out) <= want and (not handed_out or room >= 0), "more was handed out than may be")
        require(len(handed_out) == want or room <= 0 or not self._startable(), "what could start was not handed out")
        return settled

    def could_start(self, now: float) -> bool:
        """Whether a claim would bring anything now."""
        before = self.copied()
        self._promote_due(now)
        found = bool(self._startable())
        self.__dict__.update(before)
        return found

    def _promote_due(self, now: float) -> None:
        for job in self.jobs.values():
            if job.state == "scheduled" and job.due_at is not None and job.due_at <= now:
                job.state = "available"

    def _startable(self) -> list[Job]:
        """The jobs that may start next: one of each queue that can go on and was served as long ago as any such."""
        heads = [job for name in self.queues if (job := self._head(name))]
        longest_ago = min((self.queues[job.asked.queue].served for job in heads), default=0)
        return [job for job in heads if self.queues[job.asked.queue].served == longest_ago]

    def _head(self, queue: str) -> Job | None:
        """The job of a queue that may start: its first, past those that wait for a lock.

        A sequential one runs alone: it waits until nothing of its queue runs, and what is behind it waits as well.
        """
        running = [job for job in self.running() if job.asked.queue == queue]
        if self.queues[queue].paused_by or len(running) >= self.queues[queue].slots:
            return None
        available = [job for job in self.jobs.values() if job.state == "available" and job.asked.queue == queue]
        first = min((job for job in available if self._has_its_locks(job)), key=lambda job: job.place, default=None)
        if first is None or any(job.asked.sequential for job in running) or (first.asked.sequential and running):
            return None
        return first

    def _has_its_locks(self, job: Job) -> bool:
        used = Counter(name for other in self.running() for name in other.locks)
        return all(used[name] < self.locks[name] for name in job.locks)

    def settle(
        self, job_id: int, claim: int, token: str, kind: str, code: int | None, *, now: float, permanent: Sequence[int]
    ) -> str | None:
        """How a claim ended, and what becomes of the job. None: this is not the claim that runs, nothing is changed."""
        job = self.jobs.get(job_id)
        if job is None or (job.state, job.claim, job.token) != ("running", claim, token):
            return None
        never_ran = kind == "never_started"
        cancelled, job.cancel_requested = job.cancel_requested, False
        job.token = job.worker = job.due_at = None
        if not never_ran:
            job.attempts.append((claim, kind))
            job.outcome = kind
        self.causes += 1
        if kind == "exited" and code == 0:  # a success is one, even if somebody wanted to cancel it
            self._end(job, "succeeded", now)
        elif cancelled:
            job.attempt -= never_ran
            self._end(job, "cancelled", now)
        elif never_ran or kind == "interrupted":  # taken back: that was no attempt
            job.attempt -= 1
            job.state = "available"
        elif kind == "spawn_failed" or code in permanent or job.failures >= job.asked.retries:
            job.failures += 1
            self._end(job, "dead", now)
        else:
            job.failures += 1
            job.state, job.due_at = "scheduled", now + delay(job.asked.backoff, job.asked.base, job.failures)
        return job.state

    def _end(self, job: Job, state: str, now: float) -> None:
        job.state, job.finished_at, job.cause = state, now, self.causes
        self.ends += 1
        job.end = self.ends
        if state == "cancelled":
            job.needs.clear()  # who is cancelled waits for nobody, not even when replayed
        self._tell(job, now)

    def _tell(self, ended: Job, now: float) -> None:
        """Those that waited for this job go on, wait on, or are cancelled as well."""
        for job in [job for job in self.jobs.values() if job.state in ("held", "blocked")]:
            fates = {need: verdict(need[1], ended.state) for need in job.needs if need[0] == ended.id}
            if "never" in fates.values():
                self._end(job, "cancelled", now)
            elif "met" in fates.values():
                job.needs -= {need for need, fate in fates.items() if fate == "met"}
                if job.state == "blocked":
                    self._go_on(job, now)

    def take_over(self, seen: Iterable[tuple[int, int, str, str]], worker: str) -> list[tuple[int, int]]:
        """Claims (job, claim, token, worker) that are still as they were seen become this worker's."""
        taken: list[tuple[int, int]] = []
        for job_id, *claim in seen:
            job = self.jobs.get(job_id)
            if job and job.state == "running" and claim == [job.claim, job.token, job.worker]:
                job.worker = worker
                taken.append((job_id, job.claim))
        return taken

    # what people and agents do to jobs that are there

    @all_or_none
    def cancel(self, ids: Iterable[int], *, now: float) -> list[tuple[int, str]]:
        """End what waits, ask for the end of what runs, leave what has ended; each with the state it was found in."""
        found: list[tuple[int, str]] = []
        for job in self.known(ids):
            found.append((job.id, job.state))
            if job.state in WAITING:
                self._cancel_waiting(job, now)
            elif job.state == "running":
                job.cancel_requested = True
        return found

    def _cancel_waiting(self, job: Job, now: float) -> None:
        self.causes += 1
        self._end(job, "cancelled", now)

    @all_or_none
    def approve(self, ids: Iterable[int], *, now: float) -> list[tuple[int, str]]:
        """Held jobs go on to whatever else they wait for."""
        moved: list[tuple[int, str]] = []
        for job in self.in_state(ids, "held"):
            self._go_on(job, now)
            job.approved_at = now
            moved.append((job.id, job.state))
        return moved

    @all_or_none
    def reject(self, ids: Iterable[int], *, now: float) -> list[tuple[int, str]]:
        """Held jobs are refused for good."""
        for job in self.in_state(ids, "held"):
            self._cancel_waiting(job, now)
            job.rejected_at = now
        return [(job_id, "cancelled") for job_id in ids]

    @all_or_none
    def discard(self, ids: Iterable[int], *, now: float) -> list[tuple[int, str]]:
        """Dead jobs are given up, and with them what waits for their success. Their end stays where it was."""
        for job in self.in_state(ids, "dead"):
            self.causes += 1
            job.state = "cancelled"
            self._tell(job, now)
        return [(job_id, "cancelled") for job_id in ids]

    @all_or_none
    def replay(self, ids: Iterable[int], *, held: Iterable[int], caller: str) -> list[tuple[int, str]]:
        """Ended jobs run again, with all their retries; those in `held` wait for an approval first.

        Of several with one unique key the first runs; if another with that key lives, none does.
        """
        moved: dict[int, str] = {}
        for job in self.in_state(ids, *ENDED):
            live = self.live_with(job.asked.unique)
            if live is not None and live.id not in moved:
                raise Refused("QueueError")
            if live is None:
                asks = job.id in held
                job.state = "held" if asks else "available"
                job.failures, job.attempts_before = 0, job.attempt
                job.finished_at = job.end = job.cause = job.due_at = None
                job.rejected_at = job.rejected_at if asks else None
                job.approved_at = None if caller == "agent" else job.approved_at  # a person's word was for that run
            moved[job.id] = job.state
        return list(moved.items())

    @all_or_none
    def pin(self, ids: Sequence[int], *, by: str, cap: int, now: float) -> tuple[list[tuple[int, str]], list[int]]:
        """Spare jobs from pruning; and whose pins gave way: the oldest automatic ones beyond `cap`, none just set."""
        jobs = list(self.known(ids))
        for job in jobs:
            if by == "person" or job.pinned != "person":
                job.pinned, job.pinned_at = by, now
        pins = [job for job in self.jobs.values() if job.pinned]
        old = [job for job in pins if job.pinned == "automatic" and job.id not in ids]
        too_many = sorted(old, key=lambda job: (job.pinned_at, job.id))[: max(0, len(pins) - cap)]
        for job in too_many:
            job.pinned = None
        return [(job.id, job.state) for job in jobs], [job.id for job in too_many]

    @all_or_none
    def unpin(self, ids: Iterable[int], *, by: str) -> list[tuple[int, str]]:
        """Take pins off; a person's pins a person alone."""
        jobs = list(self.known(ids))
        if by != "person" and any(job.pinned == "person" for job in jobs):
            raise Refused("NotAllowed")
        for job in jobs:
            job.pinned = None
        return [(job.id, job.state) for job in jobs]

    def prune(self, gone: Sequence[tuple[int, int]], *, before: float, limit: int) -> None:
        """Forget what ended before then, oldest first: not the dead, the pinned, nor what others still wait for."""
        needed = {need for job in self.jobs.values() for need, _ in job.needs}
        old = {job.id: job.finished_at for job in self.jobs.values() if (job.finished_at or before) < before}
        for job in self.jobs.values():
            if job.state == "dead" or job.pinned or job.id in needed:
                old.pop(job.id, None)
        ages = [old.pop(job_id, None) for job_id, _ in gone]
        require(None not in ages, "what was pruned was to be spared")
        require(len(ages) == limit or (len(ages) < limit and not old), "what could be pruned was not")
        require(all(max(ages, default=before) <= rest for rest in old.values()), "an older one was left")  # pyright: ignore
        for job_id, claim in gone:
            require(self.jobs.pop(job_id).claim == claim, "a pruned job is named with its last claim")

    def pause(self, name: str | None, *, by: str, parallelism: int) -> list[str]:
        """Hand out no more of this queue's jobs, or of all queues', those to come included."""
        meant = self._meant(name, parallelism)
        for queue in meant:
            self.queues[queue].paused_by = stronger(self.queues[queue].paused_by, by)
        if name is None:
            self.all_paused_by = stronger(self.all_paused_by, by)
        return meant

    @all_or_none
    def resume(self, name: str | None, *, by: str, parallelism: int) -> list[str]:
        """Go on handing out; what a person has paused a person alone resumes."""
        meant = self._meant(name, parallelism)
        pauses = [self.queues[queue].paused_by for queue in meant] + [self.all_paused_by] * (name is None)
        if by != "person" and "person" in pauses:
            raise Refused("NotAllowed")
        for queue in meant:
            self.queues[queue].paused_by = None
        if name is None:
            self.all_paused_by = None
        return meant

    def _meant(self, name: str | None, parallelism: int) -> list[str]:
        if name is not None or not self.queues:
            self._ensure_queue(name or "default", parallelism)
        return [name] if name is not None else sorted(self.queues)

    def configure(self, slots: int, own: Mapping[str, int]) -> None:
        """How many jobs of every queue may run at once, but of these that many; the latest word counts."""
        self.slots = slots
        for queue in self.queues.values():
            queue.slots = slots
        for name, count in own.items():
            self._ensure_queue(name, count)
            self.queues[name].slots = count
