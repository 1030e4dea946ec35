"""One attempt of a handler: a function with its context, its time-out, and what its end means.

Whatever a function raises or returns is its job's outcome and never the worker's trouble.
"""

from __future__ import annotations

import contextvars
import inspect
import json
import logging
import math
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

import anyio
import anyio.from_thread
import anyio.lowlevel

from queue_core.handlers import Context, GiveUp, remove_temporary
from queue_core.jobs import Outcome
from queue_core.outcomes import NEVER_STARTED, seal
from queue_core.secret_shapes import mask_text
from queue_core.value import replace
from queue_core.worker.threads import on_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from queue_core.handlers import Handler, Reason
    from queue_core.jobs import Lease
    from queue_core.model import OutcomeKind
    from queue_core.service import Queue

    Answer = tuple[Any, BaseException | None]

log = logging.getLogger("runq.handlers")

LONGEST_RESULT = 1024 * 1024  # characters of JSON that the database keeps of one
LONGEST_ERROR = 1000  # characters of an exception that are kept as the job's error


class Call:
    """One attempt, from its lease to its outcome."""

    def __init__(self, queue: Queue, handler: Handler, lease: Lease) -> None:
        self.lease = lease
        self.in_thread = not handler.is_coroutine
        self.started_at: float = queue.clock()
        self._queue = queue
        self._handler = handler
        self._context = Context(queue, lease)
        self._scope = anyio.CancelScope()
        self._thread: _Thread | None = None
        self._timeout = lease.timeout if lease.timeout is not None else handler.timeout
        self._run_dir = queue.home.run(lease.job, lease.claim)
        self._keeps_secrets = queue.settings.output_secrets == "keep"

    def stop(self, reason: Reason) -> None:
        """Tell the function; a coroutine is ended by it, a plain function has to look."""
        self._context.stop(reason)
        if not self.in_thread:
            self._scope.cancel()

    async def run(self) -> Outcome:
        """The function's end as an outcome."""
        misfit = self._handler.misfit(self.lease.arguments)
        if misfit is not None:
            return self._outcome("spawn_failed", error=clean(misfit))
        outcome = NEVER_STARTED
        try:
            async with anyio.create_task_group() as watch:
                watch.start_soon(self._enforce_limits)
                outcome = await self._outcome_of_function()
                watch.cancel_scope.cancel()
        finally:
            if outcome is not NEVER_STARTED or not self.runs_on:
                with anyio.CancelScope(shield=True):
                    await on_thread(remove_temporary, self._run_dir)
        return outcome

    @property
    def runs_on(self) -> bool:
        """Whether the function goes on in its thread, although nobody waits for it any more."""
        return self._thread is not None and not self._thread.has_answered

    def when_returned(self, settle: Callable[[Call, Outcome], None]) -> None:
        """Have the function's own thread tell its outcome, for whom nobody waits any more."""

        def tell(answer: Answer) -> None:
            outcome = self._ended(*answer)
            remove_temporary(self._run_dir)
            settle(self, outcome)

        if self._thread is not None:
            self._thread.leave_to(tell)

    async def _outcome_of_function(self) -> Outcome:
        answer: Answer = (None, None)
        with self._scope:
            try:
                answer = await self._answer()
            except GeneratorExit:
                raise
            except anyio.get_cancelled_exc_class() as raised:
                if anyio.current_effective_deadline() == -math.inf:
                    raise  # it was this function that was to end
                answer = (None, raised)  # it has waited for something that was cancelled: a failure like any other
            except BaseException as raised:
                answer = (None, raised)
        if self._scope.cancelled_caught:
            with anyio.CancelScope(shield=True):
                return await on_thread(self._stopped)
        return await on_thread(self._ended, *answer)

    async def _answer(self) -> Answer:
        function, arguments = self._handler.function, self.lease.arguments
        if not self.in_thread:
            return await function(self._context, **arguments), None
        self._thread = _Thread(lambda: function(self._context, **arguments), name=f"runq-job-{self.lease.job}")
        return await self._thread.answer()

    def _ended(self, result: object, error: BaseException | None) -> Outcome:
        if error is None:
            # One that knew that it was to stop and has nothing to show has stopped; else what is done is done.
            knew = self._context.told or self._scope.cancel_called
            return self._stopped() if knew and result is None else self._succeeded(result)
        if self._context.stop_reason is not None:
            return self._stopped()
        name = self._handler.name
        if isinstance(error, GiveUp):  # no fault of the handler's, but its answer
            reason = clean(str(error)) or "its handler gave up"
            log.warning("job %d: the handler %s gave up: %s", self.lease.job, name, reason)
            self._note(_traceback(error, self._handler))
            return self._outcome("exited", exit_code=1, error=reason, permanent=True)
        log.warning("job %d: the handler %s has failed", self.lease.job, name, exc_info=error)
        self._note(_traceback(error, self._handler))
        return self._outcome("exited", exit_code=1, error=in_words(error))

    def _note(self, text: str) -> None:
        """Keep a text in the job's output, if there is room: how it ended is kept in any case."""
        try:
            self._context.log(text)
        except OSError as error:
            log.warning("job %d: its output could not be written (%s)", self.lease.job, error.strerror)

    def _succeeded(self, result: object) -> Outcome:
        try:
            written = None if result is None else json.dumps(result, default=_as_text, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            return self._lost_result(f"its result is nothing for JSON: {clean(str(error))}")
        if written is not None and len(written) > LONGEST_RESULT:
            return self._lost_result(
                f"its result has {len(written)} characters, and {LONGEST_RESULT} is the most: return a file's path"
            )
        return replace(self._outcome("exited", exit_code=0), result=written)

    def _lost_result(self, why: str) -> Outcome:
        """The function has done its work, and what it returned cannot be kept: to do it again would not help."""
        return self._outcome("exited", exit_code=1, error=why, permanent=True)

    def _stopped(self) -> Outcome:
        return self._outcome(self._context.stop_reason or "interrupted")

    def _outcome(
        self, kind: OutcomeKind, *, exit_code: int | None = None, error: str | None = None, permanent: bool = False
    ) -> Outcome:
        return Outcome(
            kind=kind,
            exit_code=exit_code,
            error=error if error is None or self._keeps_secrets else mask_text(error),
            permanent=permanent,
            started_at=self.started_at,
            finished_at=self._queue.clock(),
            output_bytes=self._context.output_bytes,
            cut_bytes=self._context.cut_bytes,
            tail=seal(self._run_dir, None if self._keeps_secrets else ()),
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


class _Thread:
    """A function in a thread of its own, which no pool's limit holds up and no program's end waits for.

    What it raises is given back, not raised: it must not be taken for what befalls whoever waits here.
    """

    def __init__(self, call: Callable[[], Any], *, name: str) -> None:
        self._call = call
        self._returned = anyio.Event()
        self._token = anyio.lowlevel.current_token()
        self._answered: Answer | None = None
        self._left_to: Callable[[Answer], None] | None = None
        self._deciding = threading.Lock()
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self._run,), name=name, daemon=True).start()

    @property
    def has_answered(self) -> bool:
        return self._answered is not None

    async def answer(self) -> Answer:
        """What it has returned or raised."""
        await self._returned.wait()
        assert self._answered is not None
        return self._answered

    def leave_to(self, tell: Callable[[Answer], None]) -> None:
        """Nobody waits any more: the answer goes there, now or when there is one."""
        with self._deciding:
            self._left_to = tell
            answered = self._answered
        if answered is not None:
            tell(answered)

    def _run(self) -> None:
        try:
            answer: Answer = (self._call(), None)
        except BaseException as error:
            answer = (None, error)
        with self._deciding:
            self._answered = answer
            left_to = self._left_to
        if left_to is not None:
            left_to(answer)
            return
        try:
            anyio.from_thread.run_sync(self._returned.set, token=self._token)
        except RuntimeError:  # the event loop has ended before
            pass


def in_words(error: BaseException) -> str:
    """An exception as one line; of a group of one, the one that matters."""
    inner: list[BaseException] = list(getattr(error, "exceptions", ()))
    if len(inner) == 1:
        return in_words(inner[0])
    text, name = str(error), type(error).__name__
    return clean(f"{name}: {text}" if text else name)


def clean(text: str) -> str:
    """A text as the database keeps it: one line, not endless, and nothing that is no Unicode."""
    line = " ".join(text[: 4 * LONGEST_ERROR].split())[:LONGEST_ERROR]
    return line.encode("utf-8", "backslashreplace").decode()


def _traceback(error: BaseException, handler: Handler) -> str:
    """Where it happened, from the handler's function on: what called that is no concern of its author."""
    first = error.__traceback__
    while first is not None and first.tb_frame.f_code is not getattr(handler.function, "__code__", None):
        first = first.tb_next
    return "".join(traceback.format_exception(error.with_traceback(first or error.__traceback__))).rstrip()


def _as_text(value: object) -> str:
    """What a result may hold besides JSON; a worker of commands never imports these."""
    from datetime import date, datetime, time, timedelta
    from decimal import Decimal
    from pathlib import PurePath
    from uuid import UUID

    if isinstance(value, (date, datetime, time, timedelta, Decimal, PurePath, UUID)):
        return str(value)
    if inspect.iscoroutine(value):
        value.close()
        raise TypeError("it is a coroutine that nobody has awaited; declare the coroutine function itself")
    raise TypeError(f"it holds a {type(value).__name__}")
