"""What is known of programs: which run others, by which subcommands, and which of their options are harmless."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
    lazygit tig gitui hub xdg-open open sg newgrp cgexec numactl torsocks proxychains chronic groff troff bpftrace stap
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
    "gh": "alias api extension extensions ext config codespace cs auth co",
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
# The same one word further down: what checks out, clones or downloads changes files and runs the repository's hooks.
_RUNNING_BELOW = {
    "gh pr": "checkout co merge create new update-branch revert",
    "gh repo": "clone fork sync create new",
    "gh issue": "develop",
    "gh gist": "clone edit create new",
    "gh release": "download create new upload",
    "gh run": "download",
    "gh agent-task": "create",
    "glab mr": "checkout create new merge rebase for",
    "glab repo": "clone fork create new archive",
    "glab project": "clone fork create new archive",
    "glab job": "artifact",
    "glab release": "download create upload",
}
_READING_BELOW = frozenset(["list", "ls", "view", "show", "status", "diff", "checks"])
RUNNING_SUBCOMMANDS = {program: frozenset(names.split()) for program, names in _RUNNING.items()}

# Programs that do nothing but say something, whatever their options are.
_HARMLESS_WHATEVER = frozenset(
    "echo pwd true false basename dirname stat realpath readlink printf seq sleep id uname whoami nproc".split()  # noqa: SIM905
)
# Options of those that read what their arguments name: none that follows links, keeps waiting, or takes names of files
# from a file. `-d*`: a letter whose value may be joined to it. Long ones are known by their whole names alone.
_READERS = {
    "ls": """
        -a -A -b -B -c -C -d -f -F -g -G -h -i -k -l -m -n -N -o -p -q -Q -r -R -s -S -t -u -U -v -x -X -1 --all
        --almost-all --author --block-size --classify --color --directory --escape --file-type --format --full-time
        --group-directories-first --hide --human-readable --ignore --ignore-backups --indicator-style --inode
        --literal --no-group --numeric-uid-gid --quote-name --quoting-style --recursive --reverse --si --size --sort
        --time --time-style --width --zero
    """,
    "cat": """
        -n -b -s -A -e -E -t -T -u -v --number --number-nonblank --squeeze-blank --show-all --show-ends --show-tabs
        --show-nonprinting
    """,
    "tac": "-b -r -s* --before --regex --separator",
    "head": "-# -n* -c* -q -v -z --lines --bytes --quiet --silent --verbose --zero-terminated",
    "tail": "-# -n* -c* -q -v -z --lines --bytes --quiet --silent --verbose --zero-terminated",
    "wc": "-c -l -L -m -w --bytes --chars --lines --words --max-line-length --total",
    "cut": """
        -b* -c* -d* -f* -n -s -z --bytes --characters --fields --delimiter --output-delimiter --only-delimited
        --complement --zero-terminated
    """,
    "tr": "-c -C -d -s -t --complement --delete --squeeze-repeats --truncate-set1",
    "nl": """
        -b* -d* -f* -h* -i* -l* -n* -p -s* -v* -w* --body-numbering --footer-numbering --header-numbering
        --line-increment --number-format --number-separator --number-width --starting-line-number --no-renumber
    """,
    **dict.fromkeys(["md5sum", "sha1sum", "sha256sum", "sha512sum"], "-b -t -z --binary --text --tag --zero"),
    **dict.fromkeys(
        ["grep", "egrep", "fgrep"],
        """
        -# -A* -B* -C* -e* -m* -a -b -c -E -F -G -h -H -i -I -l -L -n -o -P -q -r -s -T -U -v -w -x -y -z -Z
        --after-context --basic-regexp --before-context --binary --binary-files --byte-offset --color --colour
        --context --count --exclude --exclude-dir --extended-regexp --files-with-matches --files-without-match
        --fixed-strings --ignore-case --include --initial-tab --invert-match --line-number --line-regexp
        --max-count --no-filename --no-ignore-case --no-messages --null --null-data --only-matching --perl-regexp
        --quiet --recursive --regexp --silent --text --with-filename --word-regexp
        """,
    ),
    "du": """
        -0 -a -b -B* -c -d* -h -k -l -m -s -S -t* -x --all --apparent-size --block-size --bytes --count-links --exclude
        --human-readable --inodes --max-depth --null --one-file-system --separate-dirs --si --summarize --threshold
        --time --time-style --total
    """,
    "df": """
        -a -B* -h -H -i -k -l -m -P -t* -T -x* --all --block-size --exclude-type --human-readable --inodes --local
        --no-sync --output --portability --print-type --si --total --type
    """,
    "cmp": "-b -i* -l -n* -s --bytes --ignore-initial --print-bytes --quiet --silent --verbose",
    "comm": "-# -1 -2 -3 -z --check-order --nocheck-order --output-delimiter --total --zero-terminated",
    "od": """
        -A* -a -b -c -d -f -i -j* -l -N* -o -s -t* -v -w -x --address-radix --endian --format --output-duplicates
        --read-bytes --skip-bytes --strings --width
    """,
    "which": "-a -s --all",
    "jq": """
        -a -c -C -e -j -M -n -r -R -s -S --ascii-output --color-output --compact-output --exit-status --join-output
        --monochrome-output --null-input --raw-input --raw-output --slurp --sort-keys --tab
    """,
}
_GIT_LOG = """
    -- -n -# -p -s -w -b --oneline --stat --shortstat --numstat --graph --all --decorate --name-only --name-status
    --no-merges --merges --since --until --after --before --author --grep --format --pretty --patch --no-patch
    --follow --first-parent --reverse --abbrev-commit --date --max-count --no-color --color --no-ext-diff
    --no-textconv --cached --staged --word-diff --check --summary --exit-code --quiet --merge-base --unified
"""
_HARMLESS = {
    **{program: f"- -- {options}" for program, options in _READERS.items()},
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

# Words of a jq program that read other files, or the variables of the job.
_READING_WORDS = frozenset(["import", "include", "modulemeta", "env", "ENV"])
_TO_A_SECOND = frozenset(["uniq", "xxd"])  # their second operand is a file that they write

# Words in an option's name that say that it runs, loads, reads its orders from, or writes something.
_TELLING = """
    spawn fork expr macro subst shim ctor visitor action rsh ssh pastebin html
    exec command cmd output outfile outdir out- config conf plugin script shell hook preload require import load eval
    editor pager browser wrapper program filter init rcfile settings proxy upload receive interpreter compiler
    linker module askpass helper template path dir file root delete remove prune format parser report runner run-
    transform resolve environment setup teardown globals bootstrap option opts install fix write in-place inplace
    tool flags pdbcls xml base temp tmp update overwrite save dump record log trace profile snapshot cache coverage
    target dest prefix extension include inject engine driver provider backend adapter handler callback agent server
    serve listen inspect debug port host url remote registry index source package library lib class entry main
    factory preset schema rule define worker python node java ruby perl types force unsafe use- with- replace rename
    move copy push send mail notify open edit apply global env
""".split()  # noqa: SIM905
_KNOWN_BY_CUSTOM = frozenset(["--dry-run", "--help", "--verbose", "--version", "--quiet"])
_LETTERS_BY_CUSTOM = frozenset("vqslhna")
_VALUE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-,+%")
_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


# Variables by which programs are made to load, run or find something else, or to read another configuration.
_STEERING_STARTS = (
    *("LD_", "DYLD_", "PYTHON", "GIT_", "PERL5", "RUBY", "NODE_", "NPM_CONFIG_", "BASH_", "CARGO_", "RUSTC", "GO"),
    *("JAVA_", "_JAVA_", "LUA_", "SSH_", "PIP_", "UV_", "HG", "DOCKER_", "XDG_"),
)
_STEERING = frozenset(
    """
    PATH HOME ENV SHELL IFS EDITOR VISUAL PAGER MANPAGER BROWSER LESS LESSOPEN LESSCLOSE CLASSPATH GEM_PATH GEM_HOME
    BUNDLE_GEMFILE MAKEFLAGS MAKEFILES CC CXX PS4 PROMPT_COMMAND ZDOTDIR R_PROFILE VIRTUAL_ENV
    """.split()  # noqa: SIM905
)


def steering_variable(name: str) -> bool:
    """Whether setting this variable makes many a program run or load something else."""
    return name.upper() in _STEERING or name.upper().startswith(_STEERING_STARTS)


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
    if option[:2] + "*" in known:
        return True
    if letters.isascii() and letters.isdigit():
        return "-#" in known
    if letters[1:].isascii() and letters[1:].isdigit():
        return "-" + letters[0] in known
    return all("-" + letter in known for letter in letters)


def telling_option(option: str) -> bool:
    """Whether an option may run, load or write something: all but plain ones whose names do not say so.

    Plain is a cluster of letters that mean the same nearly everywhere, with a number behind it or not, and a name of
    small letters, with a plain word for its value or none.
    """
    if not option.startswith("--"):
        letters = option[1:].rstrip("0123456789")
        return len(option) < 2 or not option.isascii() or not set(letters) <= _LETTERS_BY_CUSTOM
    name, _, value = option.partition("=")
    if name in _KNOWN_BY_CUSTOM and name == option:
        return False
    if len(name) < 4 or not set(name) <= _NAME or not set(value) <= _VALUE:
        return True
    abbreviated = name.rpartition("-")[2]  # many programs take the beginning of a name for the whole
    return any(word in name or word.startswith(abbreviated) for word in _TELLING)


def telling_operand(names: Iterable[str], rule: Sequence[str], argv: Sequence[str]) -> str | None:
    """The operand where a rule is open by which a program writes, sets or reads more than it is known for, or None."""
    called = frozenset(names)
    fixed = len(rule) - (rule[-1] == "...")
    opened = [value for at, value in enumerate(argv) if at and (at >= fixed or rule[at].startswith("<"))]
    operands = [value for value in opened if value == "-" or not value.startswith("-")]
    if called & _TO_A_SECOND:
        spelled = [word for word in rule[1:fixed] if word[0] not in "-<" and not word.isdigit()]
        return operands[-1] if operands and len(operands) + len(spelled) > 1 else None
    if "date" in called:
        return next((value for value in operands if not value.startswith("+")), None)
    if called & {"hostname", "domainname"}:
        return next(iter(operands), None)
    if called & {"jq", "gojq", "jaq"}:
        return next((value for value in operands if _words(value) & _READING_WORDS), None)
    return None


def _words(text: str) -> set[str]:
    return set("".join(one if one.isalnum() or one == "_" else " " for one in text).split())


def running_below(names: Iterable[str], argv: Sequence[str]) -> str | None:
    """The second word of a subcommand that changes files by its nature (`gh pr checkout`), or None."""
    running = {one for name in names for one in _RUNNING_BELOW.get(" ".join([name, *argv[1:2]]), "").split()}
    return next((word for word in argv[2:] if word in running), None)


def only_reads(names: Iterable[str], argv: Sequence[str]) -> bool:
    """Whether a program that runs git of its own has it tell something only."""
    if not {"gh", "glab"} & set(names):
        return False
    return argv[1:2] in (["version"], ["--version"]) or (len(argv) > 2 and argv[2] in _READING_BELOW)


def reads_its_folder(names: Iterable[str], argv: Sequence[str]) -> bool:
    """Whether a program looks through the folder that it runs in, and all below, since no operand names another."""
    operands = [word for word in argv[1:] if not word.startswith("-")]
    options = [word for word in argv[1:] if word.startswith("-")]
    known = set(names)
    if known & {"grep", "egrep", "fgrep"}:
        return len(operands) < 2 and any("r" in option.lower() for option in options)
    if "ls" in known:
        return not operands and any("R" in option or "recursive" in option for option in options)
    return "du" in known and not operands
