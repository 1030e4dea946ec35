"""The bytecode of what `runq add` and `runq hook` import, in one file beside Python's own caches.

Finding and opening 25 small modules one by one takes Python as long as all that they then do. So the
first run of a verb leaves their code objects in one file of `__pycache__`, and later runs load that:
8 of 58 million instructions less. It is a cache like Python's own: bound to the interpreter's magic
number and to every source's size and time, ignored when it does not fit, and not written where Python
would write none.
"""

from __future__ import annotations

import os
import sys
from marshal import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import CodeType, ModuleType
    from typing import Any

    # name, source file, whether it is a package, the source's mtime (ns) and size, its code
    Entry = tuple[str, str, bool, int, int, CodeType]


def load(verb: str) -> None:
    """Load what the verb always needs from its bundle; where there is none that fits, make one for the next run."""
    path = _path(verb)
    entries = _read(path)
    if entries is None:
        if not sys.dont_write_bytecode:
            _write(path, _in_order(verb))
        return
    for entry in entries:
        if entry[0] not in sys.modules:
            _execute(entry)


def _path(verb: str) -> str:
    tag = sys.implementation.cache_tag
    level = sys.flags.optimize or ""
    return f"{os.path.dirname(__file__)}/__pycache__/{verb}.{tag}{level}.bundle"


def _magic() -> bytes:
    return sys.modules["_frozen_importlib_external"].MAGIC_NUMBER


def _read(path: str) -> list[Entry] | None:
    """The entries of a bundle that fits this interpreter and these sources."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            content = os.read(descriptor, 1 << 24)
        finally:
            os.close(descriptor)
        magic, entries = loads(content)  # noqa: S302 - a cache of Python's own kind, in Python's own folder
        return entries if magic == _magic() and all(map(_fits, entries)) else None
    except (OSError, ValueError, EOFError, TypeError):
        return None


def _fits(entry: Entry) -> bool:
    found = os.stat(entry[1])
    return found.st_mtime_ns == entry[3] and found.st_size == entry[4]


def _execute(entry: Entry) -> None:
    """What importing the module would do, without looking for it."""
    name, file, package, _, _, code = entry
    module = type(sys)(name)
    module.__file__ = file
    parent, _, child = name.rpartition(".")
    module.__package__ = name if package else parent
    if package:
        module.__path__ = [os.path.dirname(file)]
    sys.modules[name] = module
    try:
        exec(code, module.__dict__)  # noqa: S102 - our own code, as Python's import would run it
    except BaseException:
        del sys.modules[name]
        raise
    if parent:
        setattr(sys.modules[parent], child, module)


def _in_order(verb: str) -> list[ModuleType]:
    """Import what the verb always needs, and note in which order the modules finish."""
    import builtins

    finished: dict[str, ModuleType] = {}
    original = builtins.__import__

    def watching(name: str, *rest: Any, **named: Any) -> ModuleType:
        before = set(sys.modules)
        module = original(name, *rest, **named)
        for new in [name for name in sys.modules if name not in before and name.startswith("queue_core.")]:
            for one in (new.rpartition(".")[0], new):  # a package has finished before what it holds
                finished.setdefault(one, sys.modules[one])
        return module

    builtins.__import__ = watching
    try:
        for name in ("dispatch", "options", verb):
            __import__(f"queue_core.cli.{name}")
    finally:
        builtins.__import__ = original
    return list(finished.values())


def _write(path: str, modules: Iterable[ModuleType]) -> None:
    """Write a bundle, whole or not at all; a folder that is not ours to write to stays as it is."""
    part = f"{path}.{os.getpid()}"
    try:
        content = dumps((_magic(), [_entry(module) for module in modules]))
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.replace(part, path)
    except (OSError, ValueError, AttributeError):
        return


def _entry(module: ModuleType) -> Entry:
    spec: Any = module.__spec__
    file: str = spec.origin
    found = os.stat(file)
    code: CodeType = spec.loader.get_code(module.__name__)
    return module.__name__, file, hasattr(module, "__path__"), found.st_mtime_ns, found.st_size, code
