"""Telling others that something has ended, hundreds of times a second where nobody may be there to hear it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from queue_core import changes

if TYPE_CHECKING:
    from queue_core.home import Home

SETTLED = 3_000_000_000  # nanoseconds: longer than any file system takes for the same moment


class Ringer:
    """Rings all bells but the worker's own.

    Where none hung but that, the folder is not read again before it has changed. A folder that has changed just now
    could change once more without looking it.
    """

    def __init__(self, home: Home, own: changes.Bell) -> None:
        self._home = home
        self._own = own
        self._alone_since = -1  # the folder's last change, when nothing but the own bell hung in it

    def ring(self, *topics: changes.Topic) -> None:
        """Wake those who wait for one of these."""
        try:
            changed = os.stat(self._home.bells).st_mtime_ns
            if changed == self._alone_since:
                return
            alone = all(name == self._own.name for name in os.listdir(self._home.bells))
        except OSError:
            return
        self._alone_since = changed if alone and time.time_ns() - changed > SETTLED else -1
        if not alone:
            changes.ring(self._home, *topics, but=self._own)
