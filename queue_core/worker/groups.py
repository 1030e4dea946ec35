"""Task groups whose errors a caller can name."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from queue_core.errors import QueueError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from anyio.abc import TaskGroup


@asynccontextmanager
async def task_group() -> AsyncGenerator[TaskGroup]:
    """A group whose tasks end with the block. A QueueError comes out as itself, not wrapped in a group."""
    try:
        async with anyio.create_task_group() as tasks:
            yield tasks
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as errors:
        plain = _queue_error(errors)
        if plain is None:
            raise
        raise plain from errors


def _queue_error(errors: BaseExceptionGroup[BaseException]) -> QueueError | None:
    """The first error, if all are for the caller; None if anything else is among them, which is a fault of ours."""
    matching, others = errors.split(QueueError)
    if matching is None or others is not None:
        return None
    first: QueueError | BaseExceptionGroup[QueueError] = matching
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
