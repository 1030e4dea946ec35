"""What can go wrong, by name; the classes themselves are in `exceptions`.

They are made when one of them is first asked for: making 20 classes takes Python as long as adding a row takes
SQLite, and a `runq add` that goes well needs none. So whatever a hook runs says `errors.StoreError`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from queue_core.exceptions import *  # noqa: F403
else:

    def __getattr__(name):
        if name.startswith("__"):
            raise AttributeError(name)
        from queue_core import exceptions

        return getattr(exceptions, name)
