"""The console script `runq`: it loads as little as it can before it knows what is wanted.

What `runq add` and `runq hook` need comes from one file of bytecode. Finding and opening 25 small
modules one by one takes Python as long as all that they then do, so the first run of a verb leaves their
code in one file of `__pycache__`, and later runs load that: 6 million instructions of 58 less. What they
need now and then lies there as well, to be unpacked when it is imported, and where the interpreter's own
extension modules are, which it would look for in every folder of its path. It is a cache like Python's own:
bound to the interpreter's magic number and to every source's size and time, and ignored when it does not
fit. (`cli/bundle.py` writes it.)
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, ModuleType
    from typing import Any

    # name, source file, whether it is a package, the source's mtime (ns) and size, its code (packed, if not always run)
    Entry = tuple[str, str, bool, int, int, CodeType | bytes | None]

_HERE = os.path.dirname(__file__) + "/"
_found_before: dict[str, Entry] = {}  # what is only loaded when it is imported
FAST_VERBS = ("add", "hook", "digest")


def main() -> int:
    """Run `runq` with the process's arguments. Exit codes: 0 fine, 1 the thing asked for failed, 2 usage."""
    if sys.argv[1:2] and sys.argv[1] in FAST_VERBS:
        import gc

        gc.disable()  # nothing of so short a process is worth a collector's look
        load(sys.argv[1])
    from queue_core.cli.dispatch import run

    return run(sys.argv[1:])


def load(verb: str) -> None:
    """Load what the verb always needs from its bundle; where there is none that fits, make one for the next run."""
    path = _path(verb)
    bundle = _read(path)
    if bundle is None:
        if not sys.dont_write_bytecode:
            from queue_core.cli.bundle import write

            write(path, verb, magic())
        return
    for entry in bundle[1]:
        _found_before[entry[0]] = entry
    sys.meta_path.insert(0, sys.modules[__name__])  # pyright: ignore[reportArgumentType]
    for entry in bundle[0]:
        if entry[0] not in sys.modules:
            _execute(entry)


def _path(verb: str) -> str:
    tag = sys.implementation.cache_tag
    level = sys.flags.optimize or ""
    return f"{os.path.dirname(__file__)}/__pycache__/runq-{verb}.{tag}{level}.bundle"


def magic() -> bytes:
    """What bytecode is bound to: the interpreter's own number."""
    return sys.modules["_frozen_importlib_external"].MAGIC_NUMBER


def _read(path: str) -> tuple[list[Entry], list[Entry]] | None:
    """What a bundle that fits this interpreter and these sources has to be run at once, and what only now and then."""
    from marshal import loads

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            content = os.read(descriptor, os.fstat(descriptor).st_size)
        finally:
            os.close(descriptor)
        found, always, seldom = loads(content)  # noqa: S302 - a cache of Python's own kind, in Python's own folder
        return (always, seldom) if found == magic() and all(map(_fits, always)) else None
    except (OSError, ValueError, EOFError, TypeError):
        return None


def _fits(entry: Entry) -> bool:
    if not entry[1].startswith(_HERE):  # a tree that was copied with its caches would run the other one's code
        return False
    return _is_unchanged(entry)


def _is_unchanged(entry: Entry) -> bool:
    found = os.stat(entry[1])
    return found.st_mtime_ns == entry[3] and found.st_size == entry[4]


def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
    """As a finder of Python's import does: where this module is loaded from, if the bundle still knows."""
    entry = _found_before.get(name)
    try:
        if entry is None or not (_fits(entry) if entry[5] else _is_ours(entry)):
            return None
    except OSError:
        return None
    if entry[5]:
        spec: Any = type(sys.__spec__)(name, sys.modules[__name__], origin=entry[1], is_package=entry[2])
    else:
        loader = sys.modules["_frozen_importlib_external"].ExtensionFileLoader(name, entry[1])
        spec = type(sys.__spec__)(name, loader, origin=entry[1])
    spec.has_location = True
    return spec


def _is_ours(entry: Entry) -> bool:
    """Whether this interpreter would look for its extensions there: others may share the folder with the sources."""
    return os.path.dirname(entry[1]) in sys.path and _is_unchanged(entry)


def create_module(spec: Any) -> None:
    """As a loader of Python's import does: an ordinary module will do."""


def exec_module(module: ModuleType) -> None:
    """As a loader of Python's import does: run the module's code."""
    from marshal import loads

    code: Any = _found_before[module.__name__][5]
    exec(loads(code), module.__dict__)  # noqa: S102, S302 - as above


def _execute(entry: Entry) -> None:
    """What importing the module would do, without looking for it."""
    name, file, package = entry[:3]
    code: Any = entry[5]
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


if __name__ == "__main__":
    sys.exit(main())
