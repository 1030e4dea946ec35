"""Between a command's end and its settlement: the secrets in its output are masked, where it lies.

A short output is done at once; a long one in a thread, of few, so that neither the worker's loop nor what else
has ended waits for it. Until it is done the claim stays this worker's, and running: whoever finds it after a
kill masks it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from queue_core import outcomes, recovery
from queue_core.errors import QueueError
from queue_core.secret_shapes import own_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from anyio.abc import TaskGroup

    from queue_core.keeper.protocol import Claim
    from queue_core.service import Queue

SHORT = 256 * 1024  # bytes of output that take no longer than an exchange with the store
AT_ONCE = 2  # long outputs
STORE_PAUSE = 0.5  # seconds after the store could not be read


class Sealer:
    """Masks the outputs of one worker's commands; `then` is called with each one's last bytes."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._keep = queue.settings.output_secrets == "keep"
        self._secrets: dict[Claim, tuple[bytes, ...]] = {}  # of what this worker has started itself
        self._latest: tuple[Mapping[str, str], tuple[bytes, ...]] = ({}, ())  # jobs added together have one environment

    def open(self, tasks: TaskGroup) -> None:
        """Begin."""
        self._tasks = tasks
        self._limiter = anyio.CapacityLimiter(AT_ONCE)

    def expect(self, claim: Claim, env: Mapping[str, str]) -> None:
        """A command with these variables of its own is about to start."""
        if self._latest[0] is not env:
            self._latest = (env, own_secrets(env))
        self._secrets[claim] = self._latest[1]

    def forget(self, claim: Claim) -> None:
        """There will be no output."""
        self._secrets.pop(claim, None)

    def seal(self, claim: Claim, then: Callable[[bytes], None]) -> None:
        """A command is over: mask what it has written, now or soon."""
        run_dir = self._queue.home.run(*claim)
        secrets = None if self._keep else self._secrets.pop(claim, None)
        known = self._keep or secrets is not None
        size = outcomes.output_size(run_dir) or 0
        if not size:  # nothing to mask, whoever knows the secrets
            then(b"")
        elif known and (self._keep or size <= SHORT):
            then(outcomes.seal(run_dir, secrets))
        else:
            self._tasks.start_soon(self._seal_on_thread, claim, secrets, then)

    async def _seal_on_thread(
        self, claim: Claim, secrets: tuple[bytes, ...] | None, then: Callable[[bytes], None]
    ) -> None:
        run_dir = self._queue.home.run(*claim)
        while secrets is None:
            secrets = await self._look_up(claim[0])
        then(await anyio.to_thread.run_sync(outcomes.seal, run_dir, secrets, limiter=self._limiter))

    async def _look_up(self, job_id: int) -> tuple[bytes, ...] | None:
        """The secrets of a job that another worker has started; None while the store cannot tell."""
        try:
            return await anyio.to_thread.run_sync(recovery.secrets_in, self._queue.store, job_id, limiter=self._limiter)
        except QueueError:  # nor could the end be settled now
            await anyio.sleep(STORE_PAUSE)
            return None
