"""The question that the others answer: what the repository around a folder may make a program run."""

from __future__ import annotations

import os

from queue_core.known_programs import only_reads
from queue_core.repository import git, hg
from queue_core.repository.files import Suspicion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from queue_core.repository.place import Holds

GITS = frozenset(["git", "gh", "glab", "hub", "tig", "git-lfs"])  # programs that are git, or run it
MERCURIALS = frozenset(["hg", "chg"])


def _anywhere(path: str) -> bool:
    return True


def runs_programs(program: str, argv: Sequence[str], cwd: str, *, holds: Holds = _anywhere) -> str | None:
    """What in the configuration or the hooks of the repository around `cwd` may run programs, or None.

    `holds` tells of a real path whether agents may work there: a repository that lies elsewhere is named as well.
    """
    names = {os.path.basename(argv[0]), os.path.basename(program)}
    try:
        if names & {"git", "hub"}:
            git.judge(argv, cwd, holds)
        elif names & GITS:
            git.judge(["git", git.READING if only_reads(names, argv) else git.ANYTHING], cwd, holds)
        elif names & MERCURIALS:
            hg.judge(argv, cwd)
    except Suspicion as suspicion:
        return _shown(str(suspicion))
    except (OSError, ValueError) as error:
        return f"its configuration could not be read: {_shown(str(error))}"
    return None


def _shown(text: str) -> str:
    """As text that can be stored and shown: file names and keys may be anything."""
    return "".join(one if one.isprintable() else "?" for one in text.encode("utf-8", "replace").decode())[:300]
