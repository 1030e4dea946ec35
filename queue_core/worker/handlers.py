"""The handlers of one worker at work: leases come in, ends go out, as `commands` does it for commands.

Coroutines run on the worker's event loop, plain functions in threads of their own. A coroutine can be
ended; a thread cannot, so a plain function that is to stop is told so and waited for: as long as it
has not returned, its job counts as running, and is run nowhere else. Where even the worker has to go
before that, the worker's proof of life stays until the process ends; then the attempt is lost.
"""

from __future__ import annotations

import contextvars
import json
import logging
import math
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.from_thread
import anyio.lowlevel

from queue_core.handlers import Context, GiveUp, remove_temporary
from queue_core.jobs import Outcome, Settlement
from queue_core.outcomes import NEVER_STARTED, tail_of
from queue_core.value import replace
from queue_core.worker.threads import on_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from anyio.abc import TaskGroup

    from queue_core.handlers import Handler, Reason
    from queue_core.jobs import Lease, Orphan
    from queue_core.keeper.protocol import Claim
    from queue_core.model import OutcomeKind
    from queue_core.service import Queue

log = logging.getLogger("runq.handlers")

T = TypeVar("T")

LONGEST_RESULT = 1024 * 1024  # characters of JSON that the database keeps of one


class Handlers:
    """Every claim of this worker's that a function runs. `wake` is called when one has ended."""

    def __init__(self, queue: Queue, ended: list[Settlement], *, wake: Callable[[], None]) -> None:
        self._queue = queue
        self._wake = wake
        self._table = dict(queue.handlers)  # what this worker registers is what it can run
        self._calls: dict[Claim, _Call] = {}
        self._ended = ended  # where the ends go
        self._tasks: TaskGroup | None = None

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def left_behind(self) -> bool:
        """Whether functions go on in threads although this worker has to leave."""
        return bool(self._calls)

    @property
    def names(self) -> tuple[str, ...]:
        """What this worker can run besides commands."""
        return tuple(self._table)

    def open(self, tasks: TaskGroup) -> None:
        """Begin."""
        self._tasks = tasks

    def start(self, leases: Sequence[Lease]) -> None:
        """Run the functions that were claimed."""
        assert self._tasks is not None
        for lease in leases:
            handler = self._table[lease.handler or ""]
            call = _Call(self._queue, handler, lease)
            self._calls[lease.job, lease.claim] = call
            log.info("job %d claim %d starts: handler %s", lease.job, lease.claim, handler.name)
            self._tasks.start_soon(self._run, call)

    def end(self, claims: Iterable[Claim], reason: Reason) -> None:
        """Have these stop, if they are here."""
        for claim in claims:
            call = self._calls.get(claim)
            if call is not None:
                call.stop(reason)

    def end_all(self, reason: Reason) -> None:
        """Have all of them stop."""
        self.end(list(self._calls), reason)

    def recall(self, mine: Iterable[Orphan]) -> None:
        """What the store holds for this worker's and was never begun here: the answer that gave it was lost."""
        for one in mine:
            if (one.job, one.claim) not in self._calls:
                self._over(one.job, one.claim, one.token, NEVER_STARTED)

    async def _run(self, call: _Call) -> None:
        outcome = NEVER_STARTED
        try:
            outcome = await call.run()
        except Exception as error:  # a full disk, when it was to note how the function ended
            log.exception("job %d: its handler's end could not be noted", call.lease.job)
            outcome = Outcome(kind="exited", exit_code=1, error=_in_words(error), started_at=call.started_at)
        except BaseException:  # this worker is being torn down, by whoever runs its event loop
            if call.in_thread:
                raise  # the function goes on: nobody may say that it has ended
            outcome = Outcome(kind="interrupted", started_at=call.started_at)
            self._finish(call, outcome)
            raise
        self._finish(call, outcome)

    def _finish(self, call: _Call, outcome: Outcome) -> None:
        lease = call.lease
        del self._calls[lease.job, lease.claim]
        self._over(lease.job, lease.claim, lease.token, outcome)

    def _over(self, job: int, claim: int, token: str, outcome: Outcome) -> None:
        self._ended.append(Settlement(job=job, claim=claim, token=token, outcome=outcome))
        self._wake()


class _Call:
    """One attempt: a function with its context, its time-out and its end."""

    def __init__(self, queue: Queue, handler: Handler, lease: Lease) -> None:
        self.lease = lease
        self.in_thread = not handler.is_coroutine
        self.started_at: float = queue.clock()
        self._queue = queue
        self._handler = handler
        self._context = Context(queue, lease)
        self._scope = anyio.CancelScope()
        self._timeout = lease.timeout if lease.timeout is not None else handler.timeout
        self._run_dir = queue.home.run(lease.job, lease.claim)

    def stop(self, reason: Reason) -> None:
        """Tell the function; a coroutine is ended by it, a plain function has to look."""
        self._context.stop(reason)
        if not self.in_thread:
            self._scope.cancel()

    async def run(self) -> Outcome:
        """The function's end as an outcome. Whatever it raises is the job's failure, not the worker's."""
        misfit = self._handler.misfit(self.lease.arguments)
        if misfit is not None:
            return self._outcome("spawn_failed", error=misfit)
        outcome = NEVER_STARTED
        try:
            async with anyio.create_task_group() as watch:
                watch.start_soon(self._enforce_limits)
                outcome = await self._outcome_of_function()
                watch.cancel_scope.cancel()
        finally:
            if outcome is not NEVER_STARTED or not self.in_thread:  # else it still works there
                with anyio.CancelScope(shield=True):
                    await on_thread(remove_temporary, self._run_dir)
        return outcome

    async def _outcome_of_function(self) -> Outcome:
        result: Any = None
        error: BaseException | None = None
        with self._scope:
            try:
                result, error = await self._call()
            except (Exception, SystemExit) as raised:
                error = raised
            except anyio.get_cancelled_exc_class() as raised:
                if anyio.current_effective_deadline() == -math.inf:
                    raise  # it was this function that was to end
                error = raised  # it has waited for something that was cancelled: a failure like any other
        if self._scope.cancelled_caught:
            return self._stopped()
        return await on_thread(self._ended, result, error)

    async def _call(self) -> tuple[Any, BaseException | None]:
        function, arguments = self._handler.function, self.lease.arguments
        if not self.in_thread:
            return await function(self._context, **arguments), None
        return await _in_thread(lambda: function(self._context, **arguments), name=f"runq-job-{self.lease.job}")

    def _ended(self, result: object, error: BaseException | None) -> Outcome:
        if error is None:  # also if it was to stop: what it has done is done
            return self._succeeded(result)
        if self._context.stop_reason is not None:
            return self._stopped()
        log.warning("job %d: the handler %s has failed", self.lease.job, self._handler.name, exc_info=error)
        self._context.log(_traceback(error, self._handler))
        if isinstance(error, GiveUp):
            return self._outcome("exited", exit_code=1, error=str(error) or "its handler gave up", permanent=True)
        return self._outcome("exited", exit_code=1, error=_in_words(error))

    def _succeeded(self, result: object) -> Outcome:
        try:
            written = None if result is None else json.dumps(result, default=str, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            return self._outcome(
                "exited", exit_code=1, error=f"its result is nothing for JSON: {error}", permanent=True
            )
        if written is not None and len(written) > LONGEST_RESULT:
            error = f"its result has {len(written)} characters, and {LONGEST_RESULT} is the most: return a file's path"
            return self._outcome("exited", exit_code=1, error=error, permanent=True)
        return replace(self._outcome("exited", exit_code=0), result=written)

    def _stopped(self) -> Outcome:
        reason = self._context.stop_reason or "interrupted"
        return self._outcome(reason)

    def _outcome(
        self, kind: OutcomeKind, *, exit_code: int | None = None, error: str | None = None, permanent: bool = False
    ) -> Outcome:
        return Outcome(
            kind=kind,
            exit_code=exit_code,
            error=error,
            permanent=permanent,
            started_at=self.started_at,
            finished_at=self._queue.clock(),
            output_bytes=self._context.output_bytes,
            cut_bytes=self._context.cut_bytes,
            tail=tail_of(self._run_dir),
        )

    async def _enforce_limits(self) -> None:
        """Stop a function that runs for too long, or gives no sign of life for too long."""
        begun = time.monotonic()
        heartbeat = self._handler.heartbeat
        while True:
            ends = [begun + self._timeout] if self._timeout is not None else []
            ends += [self._context.last_sign + heartbeat] if heartbeat is not None else []
            if not ends:
                return None
            left = min(ends) - time.monotonic()
            if left <= 0:
                return self.stop("timed_out")
            await anyio.sleep(left)


async def _in_thread(call: Callable[[], T], *, name: str) -> tuple[T | None, BaseException | None]:
    """Wait for a function in a thread of its own, which no pool's limit holds up and no program's end waits for.

    What it raises is given back, not raised: it must not be taken for what befalls whoever waits here.
    """
    returned = anyio.Event()
    token = anyio.lowlevel.current_token()
    answer: list[tuple[T | None, BaseException | None]] = []

    def run() -> None:
        try:
            answer.append((call(), None))
        except BaseException as error:
            answer.append((None, error))
        try:
            anyio.from_thread.run_sync(returned.set, token=token)
        except RuntimeError:  # the event loop has ended before
            pass

    threading.Thread(target=contextvars.copy_context().run, args=(run,), name=name, daemon=True).start()
    await returned.wait()
    return answer[0]


def _traceback(error: BaseException, handler: Handler) -> str:
    """Where it happened, from the handler's function on: what called that is no concern of its author."""
    first = error.__traceback__
    while first is not None and first.tb_frame.f_code is not getattr(handler.function, "__code__", None):
        first = first.tb_next
    return "".join(traceback.format_exception(error.with_traceback(first or error.__traceback__))).rstrip()


def _in_words(error: BaseException) -> str:
    """An exception as one line."""
    text = " ".join(str(error).split())
    name = type(error).__name__
    return (f"{name}: {text}" if text else name)[:500]
