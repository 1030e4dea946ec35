"""Where a repository lies: whether all that git reads of it is where agents may work."""

from __future__ import annotations

import os

from queue_core.repository.files import MOST_BYTES, Suspicion, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Holds = Callable[[str], bool]  # whether a real path lies where agents may work

MOST_STORES, MOST_FOLDERS = 20, 2000  # of objects, each of which may lead to more


def look_outside(git_dir: str, common: str, work_tree: str | None, holds: Holds) -> None:
    """What git reads has to lie where agents may work; or the user's own git made this working tree of a repository."""
    shared = os.path.realpath(common)
    own = _is_own_tree(git_dir, common, work_tree)
    for path in (git_dir, common, *_links(git_dir, deep=True), *_links(common, deep=True), *_stores(common)):
        real = os.path.realpath(path)
        if not holds(real) and not (own and (real == shared or real.startswith(shared + "/"))):
            raise Suspicion(f"the repository lies outside: {path}")


def _is_own_tree(git_dir: str, common: str, work_tree: str | None) -> bool:
    """Whether the repository itself names this working tree as one of its own, which nobody can write from outside."""
    if work_tree is None or os.path.dirname(os.path.dirname(os.path.realpath(git_dir))) != os.path.realpath(common):
        return False
    named = text_of(git_dir + "/gitdir", 8192)
    if not named or not named.strip():
        return False
    dot_git = os.path.join(git_dir, named.rstrip("\r\n"))
    return os.path.realpath(dot_git) == os.path.realpath(work_tree + "/.git")


def _stores(common: str) -> Iterator[str]:
    """All places that objects are read from."""
    waiting, seen = [common + "/objects"], set[str]()
    while waiting:
        store = waiting.pop()
        if store in seen:
            continue
        seen.add(store)
        if len(seen) > MOST_STORES:
            raise Suspicion(f"{common} has more alternates than anybody needs")
        yield store
        for folder in (store, store + "/info", store + "/pack"):
            yield from _links(folder)
        for line in (text_of(store + "/info/alternates", MOST_BYTES) or "").split("\n"):
            if line.startswith('"'):
                raise Suspicion(f"{store}/info/alternates cannot be understood")
            if line and not line.startswith("#"):
                waiting.append(os.path.join(store, line))


def _links(top: str, *, deep: bool = False) -> Iterator[str]:
    """What in a folder is but a link: each may lead anywhere. Hooks are looked at wherever they lie, objects apart."""
    for looked_at, (folder, folders, files) in enumerate(os.walk(top)):
        if looked_at > MOST_FOLDERS:
            raise Suspicion(f"{top} has more folders than are looked at")
        yield from (
            path for name in (*folders, *files) if os.path.islink(path := f"{folder}/{name}") and name != "hooks"
        )
        folders[:] = [name for name in folders if deep and name not in ("hooks", "objects")]
