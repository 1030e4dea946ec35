"""A worker of commands speaks to nobody over TLS, which would be a seventh of its memory.

asyncio and anyio import `ssl`, and with it OpenSSL (4.4 MB), whether anybody wants it or not. asyncio has a way to do
without: the one for Pythons that were built without OpenSSL. anyio has none, but does no more than name its types.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

_SSL = "ssl"


class _Names(ModuleType):
    """Stands in for `ssl` where only names of it are needed."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Exception,), {})


def leave_tls_out() -> None:
    """Import asyncio and anyio without `ssl`; whoever imports that later gets it, but these two know no TLS.

    So it is only for a process in which nothing but runq's own code runs, before anything has imported them.
    """
    if _SSL in sys.modules or "asyncio" in sys.modules or "anyio" in sys.modules:
        return
    try:
        sys.modules[_SSL] = None  # pyright: ignore[reportArgumentType]
        import asyncio  # noqa: F401  # pyright: ignore[reportUnusedImport]

        sys.modules[_SSL] = _Names(_SSL)
        import anyio._backends._asyncio  # noqa: F401  # pyright: ignore[reportUnusedImport]
    finally:
        del sys.modules[_SSL]
