"""What Mercurial runs besides itself: whatever the settings of its repository name."""

from __future__ import annotations

import os

from queue_core.repository.files import MOST_BYTES, Suspicion, text_of, upwards

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def judge(argv: Sequence[str], cwd: str) -> None:
    """A suspicion if hg, asked for this in a folder, may run another program."""
    for option in argv[1:]:
        if option.startswith(("--config", "--cwd", "--repo", "-R")):
            raise Suspicion(f"{option.partition('=')[0]} leads hg elsewhere")
    for folder in upwards(cwd):
        if not os.path.isdir(folder + "/.hg"):
            continue
        for name in ("hgrc", "hgrc-not-shared", "sharedpath"):
            _look_at_hgrc(f"{folder}/.hg/{name}", name)
        return


def _look_at_hgrc(path: str, name: str) -> None:
    """Only addresses of other hosts and the user's name are harmless."""
    text = text_of(path, MOST_BYTES)
    section = ""
    for line in map(str.strip, (text or "").splitlines()):
        if not line or line[0] in "#;":
            continue
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        harmless = (section == "paths" and value.startswith(("https://", "http://", "ssh://"))) or (
            section == "ui" and key == "username"
        )
        if name == "sharedpath" or not equals or not harmless or value.startswith("ssh://-"):
            raise Suspicion(f"{section}.{key} in {path}" if section else path)
