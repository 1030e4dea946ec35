"""VS Code: `mcp.json` in the user's own folder, or in a project's `.vscode`; JSON with comments."""

from __future__ import annotations

import os
import sys

from queue_core.clients.files import Target
from queue_core.clients.json_part import server_part
from queue_core.clients.places import Programs, absolute, in_project, user_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from queue_core.clients.change import Part


def parts(environ: Mapping[str, str], project: str | None, programs: Programs) -> list[Part]:
    """What runq has in VS Code's files."""
    if project is not None:
        target = in_project(project, ".vscode", "mcp.json")
    else:
        target = Target(path=os.path.join(user_place(environ), "mcp.json"), private=True)
    entry: dict[str, Any] = {"type": "stdio", "command": programs.server, "args": []}
    return [server_part(target, "servers", entry, comments=True)]


def user_place(environ: Mapping[str, str]) -> str:
    """Where VS Code keeps the user's settings."""
    if sys.platform == "darwin":
        return user_folder(environ) + "/Library/Application Support/Code/User"
    return (absolute("XDG_CONFIG_HOME", environ) or user_folder(environ) + "/.config") + "/Code/User"
