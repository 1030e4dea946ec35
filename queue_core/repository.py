"""What a repository's own configuration makes a version control program run: files that agents can write to."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def runs_programs(program: str, argv: Sequence[str], cwd: str) -> str | None:
    """What in the configuration or the hooks of the repository around `cwd` names programs to run, or None."""
    return None
