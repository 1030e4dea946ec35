"""What a client's hook says on standard input: one JSON object. Lean, and never waited for long."""

from __future__ import annotations

import os
import sys
import time

from queue_core import errors
from queue_core.fastjson import loads
from queue_core.shapes import is_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PATIENCE = 0.5  # seconds that the hook's input may take
MOST = 16 * 1024 * 1024  # bytes of it: as many as a job may have as its input


def read() -> tuple[bytes, dict[str, Any]]:
    """The hook's JSON, as it came and as it is meant; none is fine when a person types the command. InvalidJob."""
    silent = sys.stdin is None or sys.stdin.isatty()  # pyright: ignore[reportUnnecessaryComparison]
    raw, ended = (b"", True) if silent else _read_within(PATIENCE)
    try:
        payload: Any = loads(raw.decode("utf-8", "replace")) if raw.strip() else {}
    except ValueError as error:
        if not ended:
            raise errors.InvalidJob(f"the hook's input did not end within {PATIENCE} s; nothing was queued") from None
        raise errors.InvalidJob(f"the hook's input is not valid JSON ({error}); nothing was queued") from None
    if not is_object(payload):
        raise errors.InvalidJob("the hook's input is JSON, but no object; nothing was queued")
    return raw, payload


def _read_within(seconds: float) -> tuple[bytes, bool]:
    """Standard input until its end, or for so long, and whether it has ended: a hook must not hang. InvalidJob.

    Some clients leave the pipe open behind their JSON, so what has not ended may be whole all the same.
    """
    import select

    poll = select.poll()
    poll.register(0, select.POLLIN)
    chunks: list[bytes] = []  # joined once: a pipe gives 64 KiB at a time
    size = 0
    give_up = time.monotonic() + seconds
    while (left := give_up - time.monotonic()) > 0 and poll.poll(left * 1000):
        chunk = os.read(0, 1 << 20)
        if not chunk:
            return b"".join(chunks), True
        chunks.append(chunk)
        size += len(chunk)
        if size > MOST:
            raise errors.InvalidJob(f"the hook's input has more than {MOST} bytes; nothing was queued")
    return b"".join(chunks), False
