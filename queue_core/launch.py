"""The console script `runq`: it loads as little as it can before it knows what is wanted.

What `runq add` and `runq hook` always need comes from one file of bytecode. Finding and opening 25 small
modules one by one takes Python as long as all that they then do, so the first run of a verb leaves their
code in one file of `__pycache__`, and later runs load that: 6 of 58 million instructions less. It is a
cache like Python's own: bound to the interpreter's magic number and to every source's size and time, and
ignored when it does not fit. (`cli/bundle.py` writes it.)
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

    # name, source file, whether it is a package, the source's mtime (ns) and size, its code
    Entry = tuple[str, str, bool, int, int, CodeType]

_HERE = os.path.dirname(__file__) + "/"
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
    entries = _read(path)
    if entries is None:
        if not sys.dont_write_bytecode:
            from queue_core.cli.bundle import write

            write(path, verb, magic())
        return
    for entry in entries:
        if entry[0] not in sys.modules:
            _execute(entry)


def _path(verb: str) -> str:
    tag = sys.implementation.cache_tag
    level = sys.flags.optimize or ""
    return f"{os.path.dirname(__file__)}/__pycache__/runq-{verb}.{tag}{level}.bundle"


def magic() -> bytes:
    """What bytecode is bound to: the interpreter's own number."""
    return sys.modules["_frozen_importlib_external"].MAGIC_NUMBER


def _read(path: str) -> list[Entry] | None:
    """The entries of a bundle that fits this interpreter and these sources."""
    from marshal import loads

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            content = os.read(descriptor, 1 << 24)
        finally:
            os.close(descriptor)
        found, entries = loads(content)  # noqa: S302 - a cache of Python's own kind, in Python's own folder
        return entries if found == magic() and all(map(_fits, entries)) else None
    except (OSError, ValueError, EOFError, TypeError):
        return None


def _fits(entry: Entry) -> bool:
    if not entry[1].startswith(_HERE):  # a tree that was copied with its caches would run the other one's code
        return False
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


if __name__ == "__main__":
    sys.exit(main())
