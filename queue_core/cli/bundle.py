"""Writing the bundles that `queue_core.launch` loads: the code of what a verb imports, in one file."""

from __future__ import annotations

import builtins
import os
import sys
from marshal import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast
    from collections.abc import Iterable
    from types import CodeType, ModuleType
    from typing import Any

    from queue_core.launch import Entry

# What verbs import only if something is asked of them, and the extension modules that they use.
SELDOM = ("queue_core.exceptions", "queue_core.cli.options", "queue_core.cli.job_options")
EXTENSIONS = ("_sqlite3", "fcntl", "_json", "select")


def write(path: str, verb: str, magic: bytes) -> None:
    """Import what the verb always needs, and leave its code in a bundle for the next run."""
    always = _in_order(verb)
    seldom = [__import__(name, fromlist=["_"]) for name in SELDOM if name not in {module.__name__ for module in always}]
    _save(path, magic, always, seldom)


def _in_order(verb: str) -> list[ModuleType]:
    """Import what the verb always needs, and note in which order the modules finish."""
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
        for name in ("dispatch", "given", verb):
            __import__(f"queue_core.cli.{name}")
    finally:
        builtins.__import__ = original
    return list(finished.values())


def _save(path: str, magic: bytes, always: Iterable[ModuleType], seldom: Iterable[ModuleType]) -> None:
    """Write a bundle, whole or not at all; a folder that is not ours to write to stays as it is."""
    if not os.access(os.path.dirname(path), os.W_OK):  # compiling takes ten times what the verb does
        return
    part = f"{path}.{os.getpid()}"
    try:
        content = _content(magic, always, seldom)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except (OSError, ValueError, AttributeError, ImportError):
        return
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.replace(part, path)
    except OSError:
        return
    finally:
        _remove(part)


def _content(magic: bytes, always: Iterable[ModuleType], seldom: Iterable[ModuleType]) -> bytes:
    packed = [(*entry[:5], dumps(entry[5])) for entry in map(_entry, seldom)]
    extensions = [_extension(module) for module in map(__import__, EXTENSIONS) if _file(module)]
    return dumps((magic, [_entry(module) for module in always], packed + extensions))


def _remove(path: str) -> None:
    """What was not finished; what was has another name by now."""
    try:
        os.unlink(path)
    except OSError:
        pass


def _entry(module: ModuleType) -> Entry:
    """A module's code, without what nobody reads in a process that lives for 10 ms: docstrings, types of functions."""
    spec: Any = module.__spec__
    file: str = spec.origin
    found = os.stat(file)
    source: bytes = spec.loader.get_data(file)
    code: CodeType = compile(_untyped(source), file, "exec", dont_inherit=True, optimize=2)
    return module.__name__, file, hasattr(module, "__path__"), found.st_mtime_ns, found.st_size, code


def _untyped(source: bytes) -> ast.Module:
    """A source whose functions have no annotations: unpacked and run 8 % sooner. A class's are its fields, and stay."""
    import ast

    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
    return tree


def _file(module: ModuleType) -> str:
    """Where an extension module lies; empty for one that is built into the interpreter."""
    return getattr(module, "__file__", None) or ""


def _extension(module: ModuleType) -> Entry:
    """Where an extension module lies."""
    file = _file(module)
    found = os.stat(file)
    return module.__name__, file, False, found.st_mtime_ns, found.st_size, None
