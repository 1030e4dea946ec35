"""What a repository's own configuration makes a version control program run: files that agents can write to.

`git status` in a repository whose configuration sets core.fsmonitor runs that program; a hook, a filter, an alias
do the same. Asked for every decision on an agent's job, so it costs a few reads and no process.
"""

from __future__ import annotations

import os
import stat

from queue_core import git_config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MOST_BYTES = 256 * 1024  # of a configuration file
MOST_INDEX = 64 * 1024 * 1024
GITS = frozenset(["git", "gh", "glab", "hub", "tig", "git-lfs"])  # programs that are git, or run it
MERCURIALS = frozenset(["hg", "chg"])
_SUBMODULE = b"\x00\x00\xe0\x00"  # the mode of an entry of the index that is another repository
_HARMLESS_GLOBALS = frozenset(
    ["--no-pager", "-P", "--no-optional-locks", "--literal-pathspecs", "--no-replace-objects"]
)
_REMOTE = frozenset(["archive", "clone", "fetch", "ls-remote", "pull", "push", "remote"])

# The hooks that a subcommand may run, besides those that any may; of one that is not here, every hook counts.
_COMMIT = "pre-commit prepare-commit-msg commit-msg post-commit post-rewrite pre-merge-commit pre-auto-gc"
_HOOKLESS = """
    add annotate blame branch cat-file check-ignore count-objects describe diff diff-files diff-index diff-tree
    for-each-ref grep log ls-files ls-remote ls-tree merge-base mv name-rev reflog restore rev-list rev-parse rm
    shortlog show show-ref status symbolic-ref tag var version whatchanged
""".split()  # noqa: SIM905
_HOOKS = {
    **dict.fromkeys(_HOOKLESS, frozenset[str]()),
    "commit": frozenset(_COMMIT.split()),
    "fetch": frozenset(["pre-auto-gc"]),
    "push": frozenset(["pre-push"]),
    "checkout": frozenset(["post-checkout"]),
    "switch": frozenset(["post-checkout"]),
    "stash": frozenset(["post-checkout"]),
}
_ANY_MAY_RUN = frozenset(["post-index-change", "reference-transaction"])


class _Suspicion(Exception):
    """Something that runs programs, or that cannot be judged; the message names it."""


def runs_programs(program: str, argv: Sequence[str], cwd: str) -> str | None:
    """What in the configuration or the hooks of the repository around `cwd` may run programs, or None."""
    names = {os.path.basename(argv[0]), os.path.basename(program)}
    try:
        if names & GITS:
            _judge_git(argv if "git" in names else ["git", "-"], cwd)
        elif names & MERCURIALS:
            _judge_mercurial(argv, cwd)
    except _Suspicion as suspicion:
        return _shown(str(suspicion))
    except (OSError, ValueError) as error:
        return f"its configuration could not be read: {_shown(str(error))}"
    return None


def _shown(text: str) -> str:
    """As text that can be stored and shown: file names and keys may be anything."""
    text = text.encode("utf-8", "replace").decode()
    return "".join(character if character.isprintable() else "?" for character in text)[:300]


def _judge_git(argv: Sequence[str], cwd: str) -> None:
    subcommand, operands = _subcommand(argv)
    found = _find_git(cwd)
    entries: list[git_config.Entry] = []
    if found is not None:
        git_dir, common, work_tree = found
        for path in (common + "/config", git_dir + "/config.worktree"):
            entries += _git_settings(path)
        _look_at_hooks(_hooks_folder(entries, common, work_tree), subcommand)
        _look_for_legacy_remotes(common)
        if subcommand == "rebase" and os.path.exists(git_dir + "/rebase-merge"):
            raise _Suspicion("a rebase under way, whose steps may run anything")
        if subcommand != "-":
            _look_for_submodules(git_dir)
    if subcommand in _REMOTE and operands:
        _look_at_operand(operands[0], entries, cwd)


def _subcommand(argv: Sequence[str]) -> tuple[str, list[str]]:
    """Which one, and what it is to work on; options before it lead git elsewhere."""
    rest = list(argv[1:])
    while rest and rest[0].startswith("-") and rest[0] != "-":
        if rest[0] not in _HARMLESS_GLOBALS and rest[0] != "--version":
            raise _Suspicion(f"{rest[0].partition('=')[0]} leads git elsewhere")
        rest.pop(0)
    if not rest:
        return "version", []
    return rest[0], [one for one in rest[1:] if not one.startswith("-")]


# finding the repository


def _find_git(cwd: str) -> tuple[str, str, str | None] | None:
    """Its own folder, the one that it shares with other working trees, and where its files are (None: bare)."""
    folder = cwd
    while True:
        dot_git = os.path.join(folder, ".git")
        if os.path.isfile(dot_git):
            git_dir = os.path.join(folder, _pointer(dot_git, "gitdir: "))
            if not _is_git_dir(git_dir):
                raise _Suspicion(f"{dot_git} leads to no repository")
            return _owned(git_dir, folder)
        if _is_git_dir(dot_git):
            return _owned(dot_git, folder)
        if _is_git_dir(folder):
            return _owned(folder, None)
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent


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


def _hooks_folder(entries: list[git_config.Entry], common: str, work_tree: str | None) -> str:
    """Where the hooks lie. Every other setting has to be known to be harmless."""
    named = [entry.value or "" for entry in entries if entry.key == "core.hookspath"]
    rest = [entry for entry in entries if entry.key != "core.hookspath"]
    for key in git_config.suspects(rest):
        raise _Suspicion(f"{key} in {common}/config")
    if not named:
        return common + "/hooks"
    if named[-1][:1] in ("", "~", "%"):
        raise _Suspicion("core.hookspath")
    return os.path.join(work_tree or common, named[-1])


def _look_at_hooks(folder: str, subcommand: str) -> None:
    may_run = _HOOKS.get(subcommand)
    if subcommand == "-":
        may_run = frozenset[str]()
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
    for name in sorted(os.listdir(git_dir)):
        if name != "index" and not name.startswith("sharedindex."):
            continue
        content = _content(f"{git_dir}/{name}", MOST_INDEX) or b""
        aligned = content[4:8] in (b"\0\0\0\x02", b"\0\0\0\x03")  # entries begin at multiples of 8 behind byte 12
        at = content.find(_SUBMODULE, 12)
        while at >= 0:
            if not aligned or at % 8 == 4:
                raise _Suspicion("submodules, which have settings of their own")
            at = content.find(_SUBMODULE, at + 1)


def _look_at_operand(operand: str, entries: list[git_config.Entry], cwd: str) -> None:
    """What is fetched from or pushed to by name must not be a folder: its hooks would run."""
    remotes = {entry.subsection for entry in entries if entry.key == "remote.*.url"}
    if operand in remotes or operand in ("add", "show", "get-url", "prune", "update"):
        return
    for path in (operand, operand + ".git"):
        if os.path.exists(os.path.join(cwd, path)):
            raise _Suspicion(f"{operand} is a folder or a file, not a remote by its name")


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
