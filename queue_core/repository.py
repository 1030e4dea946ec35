"""What a repository's own configuration makes a version control program run: files that agents can write to.

`git status` in a repository whose configuration sets core.fsmonitor runs that program; a hook, a filter, an alias
do the same, and a pointer makes it read another repository. Asked for every decision on an agent's job, so it costs
a few reads and no process.
"""

from __future__ import annotations

import os
import stat

from queue_core import git_config
from queue_core.known_programs import only_reads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Holds = Callable[[str], bool]  # whether a real path lies where agents may work

MOST_BYTES = 64 * 1024  # of a configuration file: this is looked at while the store waits
MOST_INDEX, MOST_CHANCE = 64 * 1024 * 1024, 1000  # bytes of all indexes; marks in them that stand there by chance
GITS = frozenset(["git", "gh", "glab", "hub", "tig", "git-lfs"])  # programs that are git, or run it
MERCURIALS = frozenset(["hg", "chg"])
MOST_STORES, MOST_FOLDERS = 20, 2000  # of objects, each of which may lead to more
_READING, _ANYTHING = "-", "*"  # for a subcommand: what another program has git do
_SUBMODULE = b"\x00\x00\xe0\x00"  # the mode of an entry of the index that is another repository
_HARMLESS_GLOBALS = frozenset(
    ["--no-pager", "-P", "--no-optional-locks", "--literal-pathspecs", "--no-replace-objects"]
)
_REMOTE = frozenset(["archive", "clone", "fetch", "ls-remote", "pull", "push", "remote"])
# Options of those that take no value: what follows another one may be its value, so the address may come later.
_FLAGS = frozenset(
    """
    -u -f -q -v -n -a -p -t -4 -6 --all --tags --no-tags --prune --force --force-with-lease --set-upstream --quiet
    --verbose --dry-run --progress --no-progress --ff-only --no-ff --heads --refs --rebase --no-rebase --follow-tags
    """.split()  # noqa: SIM905
)

# The hooks that a subcommand may run, besides those that any may; of one that is not here, every hook counts.
_COMMIT = "pre-commit prepare-commit-msg commit-msg post-commit post-rewrite pre-merge-commit"
_HOOKLESS = """
    - add annotate blame branch cat-file check-ignore count-objects describe diff diff-files diff-index diff-tree fetch
    for-each-ref grep log ls-files ls-remote ls-tree merge-base mv name-rev reflog rev-list rev-parse rm
    shortlog show show-ref status symbolic-ref tag var version whatchanged
""".split()  # noqa: SIM905
_HOOKS = {
    **dict.fromkeys(_HOOKLESS, frozenset[str]()),
    "commit": frozenset(_COMMIT.split()),
    "push": frozenset(["pre-push"]),
    "checkout": frozenset(["post-checkout"]),
    "switch": frozenset(["post-checkout"]),
    "restore": frozenset(["post-checkout"]),
    "stash": frozenset(["post-checkout"]),
}
# Whatever refreshes the index, moves a reference, or fetches what a partial clone lacks.
_ANY_MAY_RUN = frozenset(["post-index-change", "reference-transaction", "pre-auto-gc"])


class _Suspicion(Exception):
    """Something that runs programs, or that cannot be judged; the message names it."""


def _anywhere(path: str) -> bool:
    return True


def runs_programs(program: str, argv: Sequence[str], cwd: str, *, holds: Holds = _anywhere) -> str | None:
    """What in the configuration or the hooks of the repository around `cwd` may run programs, or None.

    `holds` tells of a real path whether agents may work there: a repository that lies elsewhere is named as well.
    """
    names = {os.path.basename(argv[0]), os.path.basename(program)}
    try:
        if names & {"git", "hub"}:
            _judge_git(argv, cwd, holds)
        elif names & GITS:
            _judge_git(["git", _READING if only_reads(names, argv) else _ANYTHING], cwd, holds)
        elif names & MERCURIALS:
            _judge_mercurial(argv, cwd)
    except _Suspicion as suspicion:
        return _shown(str(suspicion))
    except (OSError, ValueError) as error:
        return f"its configuration could not be read: {_shown(str(error))}"
    return None


def _shown(text: str) -> str:
    """As text that can be stored and shown: file names and keys may be anything."""
    return "".join(one if one.isprintable() else "?" for one in text.encode("utf-8", "replace").decode())[:300]


def _judge_git(argv: Sequence[str], cwd: str, holds: Holds) -> None:
    subcommand, words = _subcommand(argv)
    found = _find_git(cwd)
    entries: list[git_config.Entry] = []
    places = [cwd]
    if found is not None:
        git_dir, common, work_tree = found
        places += [git_dir, common, work_tree or cwd]  # git goes there before it looks for an address
        _look_outside(git_dir, common, work_tree, holds)
        entries, apart = _git_settings(common + "/config"), _git_settings(git_dir + "/config.worktree")
        for folder in _hooks_folders(entries, common) + _hooks_folders(apart, common):
            _look_at_hooks(folder, _hooks_of(subcommand, entries + apart))
        _look_for_legacy_remotes(common)
        if subcommand == "rebase" and os.path.exists(git_dir + "/rebase-merge"):
            raise _Suspicion("a rebase under way, whose steps may run anything")
        if subcommand != _READING:
            _look_for_submodules(git_dir)
    if subcommand in _REMOTE:
        # Those of config.worktree do not count: git reads that file only if another setting says so.
        remotes = {entry.subsection for entry in entries if entry.key == "remote.*.url"}
        for operand in _addresses(subcommand, words):
            if operand not in remotes:
                _look_at_operand(operand, places)


def _subcommand(argv: Sequence[str]) -> tuple[str, list[str]]:
    """Which one, and what follows it; options before it lead git elsewhere."""
    rest = list(argv[1:])
    while rest and rest[0].startswith("-") and rest[0] != "-":
        if rest[0] not in _HARMLESS_GLOBALS and rest[0] != "--version":
            raise _Suspicion(f"{rest[0].partition('=')[0]} leads git elsewhere")
        rest.pop(0)
    return (rest[0], rest[1:]) if rest else ("version", [])


# finding the repository


def _find_git(cwd: str) -> tuple[str, str, str | None] | None:
    """Its own folder, the one that it shares with other working trees, and where its files are (None: bare)."""
    for folder in _upwards(cwd):
        dot_git = os.path.join(folder, ".git")
        if os.path.isfile(dot_git):
            git_dir = os.path.join(folder, _pointer(dot_git, "gitdir: "))
            if not _is_git_dir(git_dir):
                raise _Suspicion(f"{dot_git} leads to no repository")
            return _owned(git_dir, folder)
        if os.path.lexists(dot_git) and not os.path.isdir(dot_git):
            raise _Suspicion(f"{dot_git} cannot be understood")
        if _is_git_dir(dot_git):
            return _owned(dot_git, folder)
        if _is_git_dir(folder):
            return _owned(folder, None)
        for path in (dot_git, folder):
            if _may_be_git_dir(path):
                raise _Suspicion(f"{path} looks like a repository, but cannot be understood")
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
            raise _Suspicion(f"{path} belongs to another user")
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
    text = _text(path, 4096)
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
    text = _text(path, 8192)
    if text is None or not text.startswith(prefix) or not text.strip():
        raise _Suspicion(f"{path} cannot be understood")
    return text[len(prefix) :].rstrip("\r\n")


def _text(path: str, most: int) -> str | None:
    content = _content(path, most)
    return None if content is None else content.decode("utf-8", "surrogateescape")


def _content(path: str, most: int) -> bytes | None:
    """What a regular file holds, None if there is none; a suspicion if it is anything else, or too long."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > most:
            raise _Suspicion(f"{path} is no file of a usual size")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return file.read(most)
    finally:
        os.close(descriptor)


# what is in it


def _git_settings(path: str) -> list[git_config.Entry]:
    text = _text(path, MOST_BYTES)
    if text is None:
        return []
    try:
        entries = git_config.parse(text)
    except git_config.Unreadable as error:
        raise _Suspicion(f"{path} cannot be understood: {error}") from None
    return entries


def _hooks_folders(entries: list[git_config.Entry], common: str) -> list[str]:
    """Where hooks may lie. Every other setting has to be known to be harmless."""
    named = [entry.value or "" for entry in entries if entry.key == "core.hookspath"]
    for key in git_config.suspects([entry for entry in entries if entry.key != "core.hookspath"]):
        raise _Suspicion(f"{key} in {common}/config")
    if not all(path.startswith("/") for path in named):
        raise _Suspicion("core.hookspath")  # below the user's home, or below a folder that git chooses
    return [common + "/hooks", *named]


def _hooks_of(subcommand: str, entries: list[git_config.Entry]) -> frozenset[str] | None:
    """The hooks that may run, besides those that always may; None: every one."""
    if subcommand == "push" and any(git_config.names_itself(entry) for entry in entries):
        return None  # those that receive run here
    return _HOOKS.get(subcommand)


def _look_at_hooks(folder: str, may_run: frozenset[str] | None) -> None:
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        wanted = may_run is None or name in may_run or name in _ANY_MAY_RUN
        if wanted and not name.endswith(".sample") and _runs(os.path.join(folder, name)):
            raise _Suspicion(f"the hook {name}")


def _runs(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


def _look_for_legacy_remotes(common: str) -> None:
    """Addresses from before there were settings for them."""
    for name in ("remotes", "branches"):
        folder = f"{common}/{name}"
        if os.path.isdir(folder) and os.listdir(folder):
            raise _Suspicion(f"addresses in {folder}")


def _look_for_submodules(git_dir: str) -> None:
    """Repositories in the repository: git goes into them, and each has a configuration of its own."""
    left = MOST_INDEX
    for name in sorted(name for name in os.listdir(git_dir) if name == "index" or name.startswith("sharedindex.")):
        content = _content(f"{git_dir}/{name}", left) or b""
        left -= len(content)
        aligned = content[4:8] in (b"\0\0\0\x02", b"\0\0\0\x03")  # entries begin at multiples of 8 behind byte 12
        at, by_chance = content.find(_SUBMODULE, 12), 0
        while at >= 0:
            if not aligned or at % 8 == 4 or by_chance > MOST_CHANCE:
                raise _Suspicion("submodules, which have settings of their own")
            at, by_chance = content.find(_SUBMODULE, at + 1), by_chance + 1


def _addresses(subcommand: str, words: list[str]) -> list[str]:
    """What may say from or to where: the first operand, or any where an option may have taken that for its value."""
    operands = [word for word in words if not word.startswith("-")]
    if subcommand == "remote":
        return operands[1:] if operands[:1] in (["show"], ["prune"], ["update"]) else []  # others ask nobody
    valued = [word for word in words if word.startswith("-") and word not in _FLAGS]
    if not valued:
        return operands[:1]
    return operands + [word.partition("=")[2] for word in valued if "=" in word]


def _look_at_operand(operand: str, places: Sequence[str]) -> None:
    """What is fetched from or pushed to by name must not be a folder: its hooks would run."""
    for place in places:
        for path in (operand, operand + ".git"):
            if os.path.exists(os.path.join(place, path)):
                raise _Suspicion(f"{operand} is a folder or a file, not a remote by its name")


# where it lies


def _look_outside(git_dir: str, common: str, work_tree: str | None, holds: Holds) -> None:
    """What git reads has to lie where agents may work; or the user's own git made this working tree of a repository."""
    shared = os.path.realpath(common)
    own = _is_own_tree(git_dir, common, work_tree)
    for path in (git_dir, common, *_links(git_dir, deep=True), *_links(common, deep=True), *_stores(common)):
        real = os.path.realpath(path)
        if not holds(real) and not (own and (real == shared or real.startswith(shared + "/"))):
            raise _Suspicion(f"the repository lies outside: {path}")


def _is_own_tree(git_dir: str, common: str, work_tree: str | None) -> bool:
    """Whether the repository itself names this working tree as one of its own, which nobody can write from outside."""
    if work_tree is None or os.path.dirname(os.path.dirname(os.path.realpath(git_dir))) != os.path.realpath(common):
        return False
    named = _text(git_dir + "/gitdir", 8192)
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
            raise _Suspicion(f"{common} has more alternates than anybody needs")
        yield store
        for folder in (store, store + "/info", store + "/pack"):
            yield from _links(folder)
        for line in (_text(store + "/info/alternates", MOST_BYTES) or "").split("\n"):
            if line.startswith('"'):
                raise _Suspicion(f"{store}/info/alternates cannot be understood")
            if line and not line.startswith("#"):
                waiting.append(os.path.join(store, line))


def _links(top: str, *, deep: bool = False) -> Iterator[str]:
    """What in a folder is but a link: each may lead anywhere. Hooks are looked at wherever they lie, objects apart."""
    for looked_at, (folder, folders, files) in enumerate(os.walk(top)):
        if looked_at > MOST_FOLDERS:
            raise _Suspicion(f"{top} has more folders than are looked at")
        yield from (
            path for name in (*folders, *files) if os.path.islink(path := f"{folder}/{name}") and name != "hooks"
        )
        folders[:] = [name for name in folders if deep and name not in ("hooks", "objects")]


# mercurial


def _judge_mercurial(argv: Sequence[str], cwd: str) -> None:
    for option in argv[1:]:
        if option.startswith(("--config", "--cwd", "--repo", "-R")):
            raise _Suspicion(f"{option.partition('=')[0]} leads hg elsewhere")
    for folder in _upwards(cwd):
        if not os.path.isdir(folder + "/.hg"):
            continue
        for name in ("hgrc", "hgrc-not-shared", "sharedpath"):
            _look_at_hgrc(f"{folder}/.hg/{name}", name)
        return


def _upwards(folder: str) -> Iterator[str]:
    yield folder
    while (parent := os.path.dirname(folder)) != folder:
        folder = parent
        yield folder


def _look_at_hgrc(path: str, name: str) -> None:
    """Only addresses of other hosts and the user's name are harmless."""
    text = _text(path, MOST_BYTES)
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
            raise _Suspicion(f"{section}.{key} in {path}" if section else path)
