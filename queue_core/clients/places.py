"""Where clients' files and runq's own programs are, for the user or for a project."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig

from queue_core.clients.files import Target
from queue_core.errors import QueueError
from queue_core.value import Frozen
from queue_core.visible import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Programs(Frozen):
    """How a client's file names runq's two programs."""

    runq: str
    server: str


BY_NAME = Programs(runq="runq", server="runq-mcp")  # for files that others share, and have elsewhere


def own_programs(started_as: str, environ: Mapping[str, str]) -> Programs:
    """Both programs by their absolute paths: no version manager's shim, which costs more than runq. QueueError."""
    for folder in _folders(started_as, environ):
        found = [os.path.join(folder, name) for name in (BY_NAME.runq, BY_NAME.server)]
        if all(os.path.isfile(path) and os.access(path, os.X_OK) for path in found):
            if not folder.isprintable():
                raise QueueError(f"runq lies in {folder!r}, which no client's file can name; install it elsewhere")
            return Programs(runq=found[0], server=found[1])
    raise QueueError("runq-mcp is nowhere beside runq; install both: `uv tool install .` or `pip install .`")


def _folders(started_as: str, environ: Mapping[str, str]) -> Iterator[str]:
    """Where the programs may be, the surest first."""
    if os.path.basename(started_as) == BY_NAME.runq and os.path.dirname(started_as):
        yield os.path.dirname(os.path.abspath(started_as))
    yield os.path.dirname(sys.executable)
    yield sysconfig.get_path("scripts")
    yield sysconfig.get_path("scripts", f"{os.name}_user")
    if found := shutil.which(BY_NAME.server, path=environ.get("PATH", os.defpath)):
        yield os.path.dirname(os.path.abspath(found))


def user_folder(environ: Mapping[str, str]) -> str:
    """The user's own folder, as clients find it. QueueError if there is none, or it depends on where one is."""
    found = absolute("HOME", environ) or os.path.expanduser("~")
    if not os.path.isabs(found):
        raise QueueError("your home folder is not known; set HOME to its absolute path")
    return found


def absolute(name: str, environ: Mapping[str, str]) -> str | None:
    """The folder that a variable names, None if it names none. QueueError if that depends on where one is."""
    found = environ.get(name)
    if found and not os.path.isabs(found):
        raise QueueError(f"{name} is {printable(found)}, which is no absolute path; set it to one, or unset it")
    return found or None


def in_project(folder: str, *names: str, locked: bool = False) -> Target:
    """A file of a project. QueueError if a link leads it out: a project may be anybody's."""
    target = Target(path=os.path.join(folder, *names), locked=locked)
    if not target.real.startswith(os.path.realpath(folder).rstrip("/") + "/"):
        raise QueueError(f"{target.path} leads out of the project, to {target.real}; make it a file of the project's")
    return target
