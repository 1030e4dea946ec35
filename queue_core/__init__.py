"""The queue as a library: `from queue_core import enqueue, process_queue`. Nothing heavy is imported here.

Names are loaded when they are first used (PEP 562), so that `runq add` pays for none of them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from queue_core.api import (
        enqueue as enqueue,
    )
    from queue_core.api import (
        get_queue as get_queue,
    )
    from queue_core.api import (
        get_status as get_status,
    )
    from queue_core.api import (
        get_worker as get_worker,
    )
    from queue_core.api import (
        process_queue as process_queue,
    )
    from queue_core.api import (
        reset as reset,
    )
    from queue_core.api import (
        start_worker as start_worker,
    )
    from queue_core.api import (
        stop_worker as stop_worker,
    )
    from queue_core.errors import QueueError as QueueError
    from queue_core.model import NewJob as NewJob
    from queue_core.service import Queue as Queue

_HOMES = {
    "Queue": "service",
    "NewJob": "model",
    "QueueError": "errors",
    **dict.fromkeys(
        (
            "enqueue",
            "get_status",
            "process_queue",
            "start_worker",
            "stop_worker",
            "get_queue",
            "get_worker",
            "reset",
        ),
        "api",
    ),
}
__all__ = [
    "NewJob",
    "Queue",
    "QueueError",
    "enqueue",
    "get_queue",
    "get_status",
    "get_worker",
    "process_queue",
    "reset",
    "start_worker",
    "stop_worker",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'queue_core' has no attribute {name!r}")
    return getattr(__import__(f"queue_core.{home}", fromlist=[name]), name)
