"""What is known of programs: which run others, by which subcommands, and which of their options are harmless."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# Programs that turn their arguments into more programs: an agent gets them by an exact rule only.
NEVER_BY_WILDCARD = frozenset(
    """
    sh bash dash zsh ksh fish csh tcsh busybox env xargs timeout nice nohup setsid stdbuf chroot unshare sudo su
    doas pkexec runuser ssh scp sftp rsync find fd awk gawk mawk sed perl python python3 ruby node deno bun php
    lua Rscript osascript eval exec watch parallel make cmake ninja docker podman kubectl systemd-run crontab at
    batch vim vi nvim emacs ed ex less more man tar zip unzip git-shell socat nc ncat curl wget npx uvx pipx
    claude codex gemini aider runq runq-mcp tmux screen script expect sort rg strace ltrace gdb lldb flock
    ionice chrt taskset time nsenter setpriv prlimit capsh bwrap firejail entr run-parts start-stop-daemon
    unbuffer rbash mksh ash pwsh nodejs pypy luajit tclsh wish guile java jshell m4 sqlite3 psql mysql openssl
    gmake ansible toybox nawk original-awk fdfind vimdiff rvim gvim view rview nano pico bsdtar gtar cpio pax
    mariadb mongosh lftp ftp telnet aria2c wget2 sshpass ssh-agent valgrind perf fakeroot proot xvfb-run
    dbus-run-session setarch linux32 linux64 rlwrap ld.so ld-linux-x86-64.so ld-linux-aarch64.so ip systemctl
    ts-node tsx pnpx corepack just rake gradle mvn ant scons invoke ansible-playbook
    xdg-open open sg newgrp cgexec numactl torsocks proxychains chronic groff troff bpftrace stap
    """.split()  # noqa: SIM905 - a list of a hundred quoted words is no better to read
)
# Programs of many subcommands, some of which run whatever they are given, as do options of the others.
VERSION_CONTROL = frozenset(["git", "hg", "svn"])
REMOTE_SUBCOMMANDS = frozenset(["archive", "clone", "fetch", "incoming", "ls-remote", "outgoing", "pull", "push"])
_PACKAGES = "exec x dlx explore config c set edit init create install i add link rebuild update up upgrade"
_RUNNING = {
    "git": "bisect config daemon difftool filter-branch help hook mergetool rebase remote-ext remote-fd send-email "
    "submodule upload-archive upload-pack maintenance credential web--browse instaweb gui citool am receive-pack "
    "for-each-repo archive",
    "hg": "config serve debugshell debugwireproto extdiff bisect help email histedit",
    "svn": "help",
    "npm": _PACKAGES,
    "pnpm": _PACKAGES,
    "yarn": _PACKAGES,
    "pip": "install download wheel config",
    "uv": "run tool pip add sync lock",
    "poetry": "run config add install",
    "cargo": "run install config bench",
    "go": "run generate install get tool env",
    "gh": "alias api extension extensions ext config codespace cs auth",
    "glab": "alias api config",
    "gem": "install exec",
    "bundle": "exec config install",
    "composer": "run run-script exec config install require",
    "dotnet": "run exec tool",
    "conda": "run config install",
    "rustup": "run",
    "terraform": "apply console init",
    "helm": "plugin",
}
RUNNING_SUBCOMMANDS = {program: frozenset(names.split()) for program, names in _RUNNING.items()}

# Programs none of whose options runs, writes or fetches anything; what their arguments name is looked at apart.
_HARMLESS_WHATEVER = frozenset(
    """
    ls cat head tail wc echo pwd true false basename dirname cut tr tac nl stat realpath readlink md5sum sha1sum
    sha256sum sha512sum printf seq sleep id uname grep egrep fgrep jq du df cmp comm od which whoami nproc
    """.split()  # noqa: SIM905
)
_GIT_LOG = """
    -- -n -# -p -s -w -b --oneline --stat --shortstat --numstat --graph --all --decorate --name-only --name-status
    --no-merges --merges --since --until --after --before --author --grep --format --pretty --patch --no-patch
    --follow --first-parent --reverse --abbrev-commit --date --max-count --no-color --color --no-ext-diff
    --no-textconv --cached --staged --word-diff --check --summary --exit-code --quiet --merge-base --unified
"""
_HARMLESS = {
    "pytest": """
        -q -v -x -s -l -k -m -n --quiet --verbose --exitfirst --lf --last-failed --ff --failed-first --nf --sw
        --stepwise --collect-only --co --maxfail --durations --tb --showlocals --no-header --no-summary --color
    """,
    "ruff check": """
        -q -v --quiet --verbose --diff --statistics --select --ignore --extend-select --output-format --no-cache
        --preview --exit-zero --show-fixes
    """,
    "ruff format": "-q -v --quiet --verbose --check --diff --no-cache",
    "black": "-q -v --quiet --verbose --check --diff --color --no-color",
    "isort": "-q -v --quiet --verbose --check --check-only --diff --color",
    "mypy": "-v --verbose --strict --pretty --no-error-summary --show-error-codes",
    "date": "-u --utc --iso-8601 --rfc-3339",
    "uniq": "-c -d -i -u --count --repeated --ignore-case --unique",
    "tsc": "--noEmit --strict",
    "git log": _GIT_LOG,
    "git diff": _GIT_LOG,
    "git show": _GIT_LOG,
    "git status": "-s -b -v --short --branch --porcelain --ignored --long --show-stash",
    "git branch": "-a -r -v -l --all --remotes --list --verbose --show-current --no-color",
    "git add": "-- -A -u -v --all --update --verbose",
    "git commit": "-m -a -q -s --message --all --quiet --signoff",
    "git blame": "-w -e -s -l",
    "git ls-files": "-m -o -d -c -s --modified --others --deleted --cached --stage --exclude-standard",
    "git rev-parse": "--short --abbrev-ref --show-toplevel --verify",
    "cargo test": "-q -v --quiet --verbose --release --workspace --lib --all-targets --locked --offline --no-run",
    "cargo build": "-q -v --quiet --verbose --release --workspace --lib --all-targets --locked --offline",
    "cargo check": "-q -v --quiet --verbose --release --workspace --lib --all-targets --locked --offline",
    "go test": "-v -short -race -cover -count -run -failfast",
    "go vet": "-v",
    "go build": "-v -race",
    "gh pr": "-L -s -A -l --limit --state --author --label --json",
    "gh issue": "-L -s -A -l --limit --state --author --label --json",
}
HARMLESS_OPTIONS = {program: frozenset(options.split()) for program, options in _HARMLESS.items()}

# Words in an option's name that say that it runs, reads its orders from, or writes something.
_TELLING = """
    exec command cmd output out-file outfile config conf plugin script shell hook preload require import load eval
    editor pager browser wrapper program filter init rcfile settings proxy upload receive interpreter compiler
    linker module askpass helper template path dir file root delete remove
""".split()  # noqa: SIM905
_TELLING_LETTERS = frozenset("ceoC")


def harmless_option(names: Iterable[str], subcommand: str, option: str) -> bool:
    """Whether a program, by any of its names, is known to do nothing but its work under this option."""
    known: set[str] = set()
    for name in names:
        if name in _HARMLESS_WHATEVER:
            return True
        known |= HARMLESS_OPTIONS.get(name, frozenset()) | HARMLESS_OPTIONS.get(f"{name} {subcommand}", frozenset())
    return bool(known) and _is_among(option, known)


def _is_among(option: str, known: set[str]) -> bool:
    name = option.partition("=")[0]
    if name in known and (name == option or len(name) > 2):
        return True
    letters = option[1:]
    if option.startswith("--") or not letters:
        return False
    if letters.isascii() and letters.isdigit():
        return "-#" in known
    if letters[1:].isascii() and letters[1:].isdigit():
        return "-" + letters[0] in known
    return all("-" + letter in known for letter in letters)


def telling_option(option: str) -> bool:
    """Whether an option's name says that it runs or writes something, or takes orders from somewhere."""
    name = option.partition("=")[0].lower()
    return option[1:2] in _TELLING_LETTERS or any(word in name for word in _TELLING)
