"""Python's SQLite driver, imported as cheaply as it can be.

`sqlite3` itself adds date types that nobody here uses (1.6 ms), and its C core `_sqlite3` imports
`functools`, for `lru_cache` alone, which brings `collections` with it: 13 million instructions, half
as many as the whole interpreter takes to start. So a process that has not loaded `functools` yet (a
hook's) shows the driver a stand-in that holds the same C function.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any


def _load() -> ModuleType:
    if "functools" in sys.modules:
        import _sqlite3

        return _sqlite3
    stand_in = type(sys)("functools")
    stand_in.__dict__["lru_cache"] = _lru_cache
    sys.modules["functools"] = stand_in
    try:
        import _sqlite3
    finally:
        del sys.modules["functools"]
    return _sqlite3


def _lru_cache(maxsize: int) -> Callable[[Callable[..., Any]], Any]:
    """`functools.lru_cache` as the driver calls it: for its cache of prepared statements."""
    wrapper: Any = __import__("_functools")._lru_cache_wrapper
    return lambda function: wrapper(function, maxsize, False, tuple)


if not TYPE_CHECKING:
    try:
        sqlite3 = _load()
    except ImportError:  # an interpreter that is made otherwise
        import sqlite3

__all__ = ["sqlite3"]
