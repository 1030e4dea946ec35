"""Finding the program that an argv names, when the job is added: there and then, not when it runs."""

from __future__ import annotations

import os

from queue_core import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# Linux refuses a single argument of 128 KiB; all of argv and environment together may be about 2 MiB.
MAX_ARGUMENT = 128 * 1024 - 1
MAX_ARGV = 1024 * 1024


def check_argv(argv: Sequence[str]) -> None:
    """Refuse what could never be executed, with a sentence; InvalidJob."""
    if not argv or not argv[0]:
        raise errors.InvalidJob("there is no command to run; put it behind `--`: runq add -- PROGRAM [ARG...]")
    size = 0
    for argument in argv:
        if "\0" in argument:
            raise errors.InvalidJob("an argument holds a NUL byte, which no program can be given; remove it")
        length = len(argument) if argument.isascii() else _length(argument)
        if length > MAX_ARGUMENT:
            raise errors.InvalidJob(
                f"an argument has {length} bytes, and {MAX_ARGUMENT} is the most; pass the text by --stdin or a file"
            )
        size += length + 1
    if size > MAX_ARGV:
        raise errors.InvalidJob(f"the command line has {size} bytes, and {MAX_ARGV} is the most; pass a file instead")


def _length(argument: str) -> int:
    try:
        return len(os.fsencode(argument))
    except UnicodeEncodeError:
        raise errors.InvalidJob("an argument holds half a surrogate pair, which is no text; remove it") from None


def check_folder(cwd: str) -> None:
    """Refuse a working folder that does not exist; InvalidJob."""
    if not os.path.isdir(cwd):
        raise errors.InvalidJob(f"the folder {cwd} does not exist; make it first or give another --cwd")


def find(name: str, cwd: str, path: str) -> str:
    """The absolute path of the executable that `name` means here; InvalidJob when there is none.

    A name with a slash is taken from `cwd`, as a shell would; others are looked up on `path`.
    """
    if "/" in name:
        candidate = os.path.join(cwd, name)
        if ".." in name.split("/"):  # behind a link, `..` is not what it looks like
            candidate = os.path.join(os.path.realpath(os.path.dirname(candidate)), os.path.basename(candidate))
        candidate = os.path.normpath(candidate)
        if _executable(candidate):
            return candidate
        if os.path.exists(candidate):
            raise errors.InvalidJob(
                f"{candidate} is not an executable file; try `chmod +x` on it or name its interpreter"
            )
        raise errors.InvalidJob(f"there is no program {candidate}; check the path and --cwd")
    for folder in path.split(":"):
        candidate = os.path.join(cwd, folder, name)
        if _executable(candidate):
            return os.path.normpath(candidate)
    raise errors.InvalidJob(f"there is no program `{name}` on the PATH; install it or give its full path")


def _executable(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)
