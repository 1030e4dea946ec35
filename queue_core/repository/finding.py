"""Which folder git takes for the repository, and which files it takes for its parts."""

from __future__ import annotations

import os

from queue_core.repository.files import Suspicion, text_of, upwards


def find_git(cwd: str) -> tuple[str, str, str | None] | None:
    """Its own folder, the one that it shares with other working trees, and where its files are (None: bare)."""
    for folder in upwards(cwd):
        dot_git = os.path.join(folder, ".git")
        if os.path.isfile(dot_git):
            git_dir = os.path.join(folder, _pointer(dot_git, "gitdir: "))
            if not _is_git_dir(git_dir):
                raise Suspicion(f"{dot_git} leads to no repository")
            return _owned(git_dir, folder)
        if os.path.lexists(dot_git) and not os.path.isdir(dot_git):
            raise Suspicion(f"{dot_git} cannot be understood")
        if _is_git_dir(dot_git):
            return _owned(dot_git, folder)
        if _is_git_dir(folder):
            return _owned(folder, None)
        for path in (dot_git, folder):
            if _may_be_git_dir(path):
                raise Suspicion(f"{path} looks like a repository, but cannot be understood")
    return None


def _may_be_git_dir(path: str) -> bool:
    """Whether any git could take a folder for a repository that this does not: all of its parts are there somehow."""
    if not os.path.lexists(path + "/HEAD"):
        return False
    parts = (path + "/objects", path + "/refs")
    return os.path.lexists(path + "/commondir") or all(os.path.lexists(one) for one in parts)


def _owned(git_dir: str, work_tree: str | None) -> tuple[str, str, str | None]:
    for path in (git_dir, _common(git_dir)):
        if os.stat(path).st_uid != os.geteuid():
            raise Suspicion(f"{path} belongs to another user")
    return git_dir, _common(git_dir), work_tree


def _is_git_dir(path: str) -> bool:
    """As git tells one: by its HEAD, its objects and its references."""
    if not _is_head(path + "/HEAD"):
        return False
    common = _common(path)
    return os.path.isdir(common + "/objects") and os.path.isdir(common + "/refs")


def _is_head(path: str) -> bool:
    if os.path.islink(path):
        return os.readlink(path).startswith("refs/")
    text = text_of(path, 4096)
    if text is None:
        return False
    if text.startswith("ref:"):
        return text[4:].lstrip().startswith("refs/")
    return len(text) >= 40 and all(character in "0123456789abcdefABCDEF" for character in text[:40])


def _common(git_dir: str) -> str:
    if not os.path.isfile(git_dir + "/commondir"):
        return git_dir
    return os.path.join(git_dir, _pointer(git_dir + "/commondir", ""))


def _pointer(path: str, prefix: str) -> str:
    text = text_of(path, 8192)
    if text is None or not text.startswith(prefix) or not text.strip():
        raise Suspicion(f"{path} cannot be understood")
    return text[len(prefix) :].rstrip("\r\n")
