"""The queue as a library: `from queue_core import enqueue, process_queue`. Nothing heavy is imported here.

Names are loaded when they are first used (PEP 562), so that `runq add` pays for none of them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from queue_core.api import enqueue as enqueue
    from queue_core.api import get_queue as get_queue
    from queue_core.api import get_result as get_result
    from queue_core.api import get_status as get_status
    from queue_core.api import get_worker as get_worker
    from queue_core.api import handler as handler
    from queue_core.api import process_queue as process_queue
    from queue_core.api import reset as reset
    from queue_core.api import start_worker as start_worker
    from queue_core.api import stop_worker as stop_worker
    from queue_core.api import wait as wait
    from queue_core.background import Background as Background
    from queue_core.errors import QueueError as QueueError
    from queue_core.errors import UnknownJob as UnknownJob
    from queue_core.handlers import Context as Context
    from queue_core.handlers import GiveUp as GiveUp
    from queue_core.handlers import Stopped as Stopped
    from queue_core.jobs import Filter as Filter
    from queue_core.model import NewJob as NewJob
    from queue_core.model import Origin as Origin
    from queue_core.service import Queue as Queue

_HOMES = {
    "Background": "background",
    "Context": "handlers",
    "Filter": "jobs",
    "GiveUp": "handlers",
    "NewJob": "model",
    "Origin": "model",
    "Queue": "service",
    "QueueError": "errors",
    "Stopped": "handlers",
    "UnknownJob": "errors",
    **dict.fromkeys(
        (
            "enqueue",
            "get_queue",
            "get_result",
            "get_status",
            "get_worker",
            "handler",
            "process_queue",
            "reset",
            "start_worker",
            "stop_worker",
            "wait",
        ),
        "api",
    ),
}
__all__ = [
    "Background",
    "Context",
    "Filter",
    "GiveUp",
    "NewJob",
    "Origin",
    "Queue",
    "QueueError",
    "Stopped",
    "UnknownJob",
    "enqueue",
    "get_queue",
    "get_result",
    "get_status",
    "get_worker",
    "handler",
    "process_queue",
    "reset",
    "start_worker",
    "stop_worker",
    "wait",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'queue_core' has no attribute {name!r}")
    return getattr(__import__(f"queue_core.{home}", fromlist=[name]), name)
