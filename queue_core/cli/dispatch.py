"""`runq VERB ...`: finds the verb's module, runs it, turns errors into one sentence and an exit code."""

from __future__ import annotations

import sys

from queue_core import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from queue_core.cli.options import Verb

# verb -> (module, what it does); a module's `run_<verb>` does it, and its `VERBS[verb]` has the options.
VERBS: dict[str, tuple[str, str]] = {
    "add": ("add", "queue a command"),
    "hook": ("hook", "queue a command from a client's hook (its JSON on stdin fills the template)"),
    "digest": ("digest", "tell an agent, from a client's hook, what happened since it last looked"),
    "status": ("look", "the queue at a glance, or one job in full"),
    "list": ("look", "jobs, newest first"),
    "health": ("look", "how full the queue is, and what needs attention"),
    "stats": ("stats", "how many jobs, how they ended, how long they waited and ran"),
    "output": ("output", "what a job's command wrote"),
    "wait": ("wait", "wait until jobs have ended"),
    "cancel": ("control", "cancel waiting jobs, stop running ones"),
    "approve": ("control", "let held jobs run"),
    "reject": ("control", "refuse held jobs"),
    "pin": ("control", "spare jobs from pruning"),
    "unpin": ("control", "let pruning have jobs again"),
    "pause": ("control", "hand out nothing of a queue, or of all"),
    "resume": ("control", "hand out a queue's jobs again"),
    "dead": ("dead", "the dead letters: list, retry, discard"),
    "schedule": ("schedule", "queue a command again and again: add, list, remove, pause, resume"),
    "work": ("work", "run queued commands here (a worker)"),
    "process-queue": ("work", "run what is there, then end: work --until-empty"),
    "allow": ("rules", "let agents run exactly this command"),
    "rules": ("rules", "what agents may run"),
    "audit": ("audit", "who queued, approved, cancelled, replayed what, and when"),
    "backup": ("backup", "copies of the database: take one, list them, restore one"),
    "prune": ("admin", "forget jobs that ended long ago"),
    "logs": ("admin", "what servers and workers did"),
    "install": ("install", "set runq up in a client: claude, codex, vscode"),
    "doctor": ("admin", "check the installation, and name what is wrong"),
    "demo": ("demo", "see the whole thing work, in a folder of its own"),
}

JOB_VERBS = ("add", "hook")  # whose options stand in a module of their own


def run(arguments: list[str]) -> int:
    """Run one verb. In a client's hook nothing exits with 2, which would block the client's turn."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        _open_closed_streams()
    code = _guarded(arguments)
    return 1 if code == 2 and _is_hook(arguments) else code


def _is_hook(arguments: list[str]) -> bool:
    import os

    from queue_core.callers import under_hook

    return arguments[:1] == ["hook"] or under_hook(os.environ)


def _guarded(arguments: list[str]) -> int:
    """Run one verb; every error is a sentence on stderr."""
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()  # here, where a reader that has gone is no error
        return code
    except errors.QueueError as error:
        sys.stderr.write(f"runq: {error}\n")
        return error.exit_code
    except BrokenPipeError:
        _close_stdout()
        return 0
    except OSError as error:
        if not _is_of_writing(error):
            raise
        _close_stdout()
        sys.stderr.write(f"runq: cannot write ({error.strerror}); make room, then see with `runq list` what was done\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        return _write(_help().overview(VERBS))
    verb = arguments[0]
    if verb == "--version":
        from queue_core.version import VERSION

        return _write(f"runq {VERSION}")
    if verb not in VERBS:
        raise errors.UsageError(_help().unknown_verb(verb, VERBS))
    run_verb = getattr(_load(VERBS[verb][0]), f"run_{verb.replace('-', '_')}")
    if verb in JOB_VERBS and arguments[1:2] == ["--"]:  # a hook's, mostly: no option to look up
        from queue_core.cli.given import Given

        return run_verb(Given(values={}, operands=(), command=tuple(arguments[2:])))
    from queue_core.cli.options import HelpWanted, parse

    try:
        given = parse(described(verb), arguments[1:])
    except HelpWanted as help_wanted:
        return _write(_help().help_text(help_wanted.verb, help_wanted.action))
    return run_verb(given)


def described(verb: str) -> Verb:
    """What a verb takes."""
    return _load("job_options" if verb in JOB_VERBS else VERBS[verb][0]).VERBS[verb]


def _help() -> ModuleType:
    from queue_core.cli import help as help_module

    return help_module


def _write(text: str) -> int:
    sys.stdout.write(text + "\n")
    return 0


def _load(name: str) -> ModuleType:
    """The module of a verb, without importlib's machinery."""
    return getattr(__import__(f"queue_core.cli.{name}").cli, name)


def _is_of_writing(error: OSError) -> bool:
    """Whether what was open could not be written to: stdout, mostly."""
    from errno import EDQUOT, EFBIG, EIO, ENOSPC

    return error.filename is None and error.errno in (ENOSPC, EDQUOT, EFBIG, EIO)


def _open_closed_streams() -> None:
    """What the caller has closed leads nowhere; else the next file that is opened would be written to in its place."""
    import os

    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            os.set_inheritable(number, True)  # as they are
            setattr(sys, name, open(number, mode))  # noqa: SIM115 - as long as the process lives


def _close_stdout() -> None:
    """Nobody can read on; nothing more may be written, not even at exit."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
