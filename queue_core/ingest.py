"""The spool's way into the store: what hooks had to leave is taken in once, also by several at a time."""

from __future__ import annotations

from queue_core import spool
from queue_core.errors import QueueError, QueueFull, StoreBusy, StoreError, StoreFull
from queue_core.health import limit_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from queue_core.home import Home
    from queue_core.settings import Settings
    from queue_core.store import Store


def take_in(store: Store, home: Home, chosen: Settings, clock: Callable[[], float]) -> int:
    """Take in every file of the spool, oldest first; how many jobs that were. Each is taken in once.

    What there is no room for keeps in the spool; what holds no job is set aside and holds nobody up.
    """
    taken = 0
    for path in spool.pending(home):
        try:
            admissions = spool.read(path)
            if admissions is None:
                continue
            store.enqueue(
                admissions,
                now=clock(),
                capacity=limit_for("person", chosen.capacity),  # accepted is accepted, full or not
                parallelism=chosen.parallelism,
            )
        except (QueueFull, StoreBusy, StoreFull):
            break
        except StoreError:
            raise
        except (QueueError, *spool.NO_JOB):
            spool.set_aside(path)
            continue
        spool.remove(path)
        taken += len(admissions)
    return taken
