"""What git runs besides itself: by its settings, by its hooks, by other repositories that it goes into."""

from __future__ import annotations

import os

from queue_core.repository import git_config
from queue_core.repository.files import MOST_BYTES, Suspicion, content_of, text_of
from queue_core.repository.finding import find_git
from queue_core.repository.place import look_outside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from queue_core.repository.place import Holds

MOST_INDEX, MOST_CHANCE = 64 * 1024 * 1024, 1000  # bytes of all indexes; marks in them that stand there by chance
READING, ANYTHING = "-", "*"  # for a subcommand: what another program has git do
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


def judge(argv: Sequence[str], cwd: str, holds: Holds) -> None:
    """A suspicion if git, asked for this in a folder, may run another program; `holds` as for `look_outside`."""
    subcommand, words = _subcommand(argv)
    found = find_git(cwd)
    entries: list[git_config.Entry] = []
    places = [cwd]
    if found is not None:
        git_dir, common, work_tree = found
        places += [git_dir, common, work_tree or cwd]  # git goes there before it looks for an address
        look_outside(git_dir, common, work_tree, holds)
        entries, apart = _git_settings(common + "/config"), _git_settings(git_dir + "/config.worktree")
        for folder in _hooks_folders(entries, common) + _hooks_folders(apart, common):
            _look_at_hooks(folder, _hooks_of(subcommand, entries + apart))
        _look_for_legacy_remotes(common)
        if subcommand == "rebase" and os.path.exists(git_dir + "/rebase-merge"):
            raise Suspicion("a rebase under way, whose steps may run anything")
        if subcommand != READING:
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
            raise Suspicion(f"{rest[0].partition('=')[0]} leads git elsewhere")
        rest.pop(0)
    return (rest[0], rest[1:]) if rest else ("version", [])


def _git_settings(path: str) -> list[git_config.Entry]:
    text = text_of(path, MOST_BYTES)
    if text is None:
        return []
    try:
        entries = git_config.parse(text)
    except git_config.Unreadable as error:
        raise Suspicion(f"{path} cannot be understood: {error}") from None
    return entries


def _hooks_folders(entries: list[git_config.Entry], common: str) -> list[str]:
    """Where hooks may lie. Every other setting has to be known to be harmless."""
    named = [entry.value or "" for entry in entries if entry.key == "core.hookspath"]
    for key in git_config.suspects([entry for entry in entries if entry.key != "core.hookspath"]):
        raise Suspicion(f"{key} in {common}/config")
    if not all(path.startswith("/") for path in named):
        raise Suspicion("core.hookspath")  # below the user's home, or below a folder that git chooses
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
            raise Suspicion(f"the hook {name}")


def _runs(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


def _look_for_legacy_remotes(common: str) -> None:
    """Addresses from before there were settings for them."""
    for name in ("remotes", "branches"):
        folder = f"{common}/{name}"
        if os.path.isdir(folder) and os.listdir(folder):
            raise Suspicion(f"addresses in {folder}")


def _look_for_submodules(git_dir: str) -> None:
    """Repositories in the repository: git goes into them, and each has a configuration of its own."""
    left = MOST_INDEX
    for name in sorted(name for name in os.listdir(git_dir) if name == "index" or name.startswith("sharedindex.")):
        content = content_of(f"{git_dir}/{name}", left) or b""
        left -= len(content)
        aligned = content[4:8] in (b"\0\0\0\x02", b"\0\0\0\x03")  # entries begin at multiples of 8 behind byte 12
        at, by_chance = content.find(_SUBMODULE, 12), 0
        while at >= 0:
            if not aligned or at % 8 == 4 or by_chance > MOST_CHANCE:
                raise Suspicion("submodules, which have settings of their own")
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
                raise Suspicion(f"{operand} is a folder or a file, not a remote by its name")
