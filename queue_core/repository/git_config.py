"""Git's configuration files: their syntax, and which of their keys can make git run nothing. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_ESCAPES = {"n": "\n", "t": "\t", "b": "\b", '"': '"', "\\": "\\"}
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
_BOOLEANS = frozenset(["true", "false", "yes", "no", "on", "off", "0", "1", ""])

# Keys of a repository that name no program, no other file and no other repository. All others are asked about: git
# learns new ones that do with every release.
HARMLESS = frozenset(
    """
    core.repositoryformatversion core.filemode core.bare core.logallrefupdates core.ignorecase
    core.precomposeunicode core.symlinks core.autocrlf core.eol core.safecrlf core.sparsecheckout
    core.sparsecheckoutcone core.preloadindex core.untrackedcache core.compression core.loosecompression
    core.quotepath core.abbrev core.commentchar core.commentstring core.whitespace core.longpaths core.trustctime
    core.checkstat core.bigfilethreshold core.fscache core.multipackindex core.commitgraph core.hidedotfiles
    core.protectntfs core.protecthfs core.sharedrepository core.warnambiguousrefs core.splitindex core.fsync
    core.fsyncmethod core.maxtreedepth core.checkroundtripencoding
    user.name user.email user.useconfigonly author.name author.email committer.name committer.email
    extensions.worktreeconfig extensions.objectformat extensions.compatobjectformat extensions.refstorage
    extensions.preciousobjects extensions.noop extensions.relativeworktrees
    pull.rebase pull.ff push.default push.autosetupremote push.followtags fetch.prune fetch.prunetags
    fetch.parallel fetch.writecommitgraph rebase.autosquash rebase.autostash rebase.updaterefs rebase.stat
    merge.conflictstyle merge.ff merge.renames merge.renamelimit merge.log merge.stat
    diff.algorithm diff.renames diff.renamelimit diff.mnemonicprefix diff.noprefix diff.colormoved
    diff.colormovedws diff.context diff.indentheuristic diff.statgraphwidth diff.suppressblankempty
    rerere.enabled rerere.autoupdate gc.auto gc.autopacklimit gc.pruneexpire gc.reflogexpire gc.writecommitgraph
    gc.autodetach pack.threads pack.window pack.depth pack.windowmemory index.version index.threads index.sparse
    feature.manyfiles feature.experimental commit.verbose commit.status commit.cleanup tag.sort branch.sort
    branch.autosetupmerge branch.autosetuprebase status.showuntrackedfiles status.short status.branch
    status.relativepaths status.showstash status.aheadbehind log.date log.decorate log.follow log.abbrevcommit
    log.mailmap advice.detachedhead advice.statushints advice.skippedcherrypicks checkout.defaultremote
    checkout.guess init.defaultbranch maintenance.auto maintenance.strategy receive.denycurrentbranch
    receive.denynonfastforwards receive.denydeletes transfer.fsckobjects fetch.fsckobjects receive.fsckobjects
    lfs.repositoryformatversion color.ui column.ui help.autocorrect
    remote.*.fetch remote.*.push remote.*.tagopt remote.*.prune remote.*.prunetags remote.*.promisor
    remote.*.partialclonefilter remote.*.mirror remote.*.skipdefaultupdate remote.*.skipfetchall
    remote.*.gh-resolved branch.*.merge branch.*.rebase branch.*.description branch.*.vscode-merge-base
    branch.*.gh-merge-base submodule.*.active submodule.active lfs.*.access
    """.split()  # noqa: SIM905
)
_REMOTE_NAMES = frozenset(["branch.*.remote", "branch.*.pushremote", "remote.pushdefault"])
_ADDRESSES = frozenset(["remote.*.url", "remote.*.pushurl", "submodule.*.url"])
_SCHEMES = ("https://", "http://", "ssh://", "git+ssh://", "ssh+git://", "git://")


class Unreadable(Exception):
    """The text is not what git writes, so nobody knows what git makes of it."""


class Entry:
    """One setting: its key in lower case with `*` for a subsection, that subsection, the value (None: only named)."""

    __slots__ = ("key", "subsection", "value")

    def __init__(self, key: str, subsection: str | None, value: str | None) -> None:
        self.key, self.subsection, self.value = key, subsection, value


def parse(text: str) -> list[Entry]:
    """The settings of a configuration file, in their order; Unreadable."""
    return list(_entries(_Reader(text.removeprefix("\ufeff").replace("\r\n", "\n"))))


def suspects(entries: list[Entry]) -> Iterator[str]:
    """The keys that could make git run a program, or look for its orders somewhere else."""
    remotes = {entry.subsection for entry in entries if entry.key == "remote.*.url"}
    for entry in entries:
        if entry.key in HARMLESS or _harmless_value(entry, remotes):
            continue
        section, _, name = entry.key.partition(".*.")
        yield entry.key if entry.subsection is None else f"{section}.{entry.subsection}.{name}"


def names_itself(entry: Entry) -> bool:
    """Whether a setting makes the repository its own remote: what is pushed is received here, by its hooks."""
    return entry.key in _REMOTE_NAMES and entry.value == "."


def _harmless_value(entry: Entry, remotes: set[str | None]) -> bool:
    """Keys that are harmless with some values only."""
    value = entry.value
    if entry.key.startswith("color."):
        return True
    if entry.key == "core.fsmonitor":
        return value is None or value.lower() in _BOOLEANS
    if value is None:
        return False
    if entry.key in _ADDRESSES:
        return is_far(value)
    if entry.key in _REMOTE_NAMES:
        return value == "." or value in remotes  # a name without an address is a folder's
    return False


def is_far(address: str) -> bool:
    """Whether an address leads to another host: not into a folder (whose hooks would run), not to a helper program."""
    if "::" in address or not address.isprintable():
        return False
    for scheme in _SCHEMES:
        if address.startswith(scheme):
            return address[len(scheme) : len(scheme) + 1] not in ("", "-", "/")
    if "://" in address:
        return False
    host, colon, _ = address.partition(":")
    return (
        bool(colon and host) and "/" not in host and host[0] not in "-." and not host.partition("@")[2].startswith("-")
    )


class _Reader:
    """Characters of a text, one after another; the empty text behind its end."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def take(self) -> str:
        found = self.peek()
        self._at += 1
        return found

    def while_in(self, characters: frozenset[str] | str) -> str:
        begin = self._at
        while self.peek() and self.peek() in characters:
            self._at += 1
        return self._text[begin : self._at]

    def rest_of_line(self) -> None:
        while self.take() not in ("\n", ""):
            pass


def _entries(reader: _Reader) -> Iterator[Entry]:
    section: str | None = None
    subsection: str | None = None
    while True:
        reader.while_in(" \t\n")
        character = reader.peek()
        if not character:
            return
        if character in "#;":
            reader.rest_of_line()
        elif character == "[":
            section, subsection = _header(reader)
        elif section is None:
            raise Unreadable("a key before the first section")
        else:
            key = _key(reader)
            middle = ".*." if subsection is not None else "."
            yield Entry(section + middle + key, subsection, _value(reader))


def _header(reader: _Reader) -> tuple[str, str | None]:
    reader.take()
    section = reader.while_in(_NAME | {"."}).lower()
    blanks = reader.while_in(" \t")
    subsection: str | None = None
    if reader.peek() == '"' and blanks:
        subsection = _quoted(reader)
    elif "." in section:
        section, _, subsection = section.partition(".")
    if not section or reader.take() != "]":
        raise Unreadable("a section's header")
    return section, subsection


def _quoted(reader: _Reader) -> str:
    reader.take()
    text = ""
    while (character := reader.take()) != '"':
        if character == "\\":
            character = reader.take()
        if character in ("", "\n"):
            raise Unreadable("a section's header")
        text += character
    return text


def _key(reader: _Reader) -> str:
    key = reader.while_in(_NAME)
    if not key or not key[0].isalpha():
        raise Unreadable("a key")
    return key.lower()


def _value(reader: _Reader) -> str | None:
    reader.while_in(" \t")
    following = reader.take()
    if following in ("\n", ""):
        return None
    if following in "#;":
        reader.rest_of_line()
        return None
    if following != "=":
        raise Unreadable("a key without `=`")
    reader.while_in(" \t")
    text, kept, quoted = "", 0, False
    while True:
        character = reader.take()
        if character in ("\n", ""):
            if quoted:
                raise Unreadable("a quote left open")
            return text[: max(kept, len(text.rstrip(" \t")))]
        if character in "#;" and not quoted:
            reader.rest_of_line()
            return text[: max(kept, len(text.rstrip(" \t")))]
        if character == '"':
            quoted = not quoted
            kept = len(text)
        elif character == "\\":
            following = reader.take()
            if following == "\n":
                continue
            if following not in _ESCAPES:
                raise Unreadable("an escape")
            text += _ESCAPES[following]
            kept = len(text)
        else:
            text += character
            kept = len(text) if quoted else kept
