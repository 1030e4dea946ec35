"""Named points at which a process of a storm kills or stops itself; and a clock that the storm can set.

Nothing of this stands in the product. A process that has `inside/` on its PYTHONPATH wraps the real functions as soon
as their module has been imported, by whichever way: Python's own import, the bundle of bytecode that `runq add` and
`runq hook` load (`queue_core.launch`), or the code with which a worker starts its keeper, who has neither a PYTHONPATH
nor any other environment and is therefore told in that code.

The environment says what may happen: CRASH_POINTS holds `NAME=CHANCE=ACTION` (kill, stop or note), separated by
commas; chance is decided by CRASH_SEED, the point's name and how often it was passed (of keepers also by their id), so
that a process that is started again with the same seed dies at the same place. Each hit is noted in the harness's file
before it happens.
"""

import os
import sys
import time
from binascii import crc32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

NAMES = ("CRASH_FOLDER", "CRASH_POINTS", "CRASH_SEED", "CRASH_PLANT")  # what is passed on to a keeper
_SIGNALS = {"kill": 9, "stop": 19}  # `signal` takes 5 ms to import: it makes enums

# Every point, by the role whose processes pass it. "before" is when all was decided, "after" when all was done.
ROLES = {
    "cli": (
        *("commit admit before", "commit admit after", "commit cancel before", "commit cancel after"),
        *("commit replay before", "commit replay after", "commit settle before", "commit settle after"),
        *("spool write", "spool rename", "spool acknowledge", "spool ingest before", "spool ingest after"),
    ),
    "server": ("commit _run_all before", "commit _run_all after", "spool ingest before", "spool ingest after"),
    "worker": tuple(
        f"{what} {when}"
        for what in (
            "commit settle_and_claim",
            "commit settle",
            "commit enter",
            "commit take_over",
            "commit leave_if_idle",
            "keeper start",
            "spawn request",
            "request sending",
            "end heard",
            "take ended",
            "keeper dismissal",
            "commit admit",
            "spool ingest",
            "recover",
        )
        for when in ("before", "after")
    ),
    "keeper": tuple(
        f"{what} {when}"
        for what in ("record start", "spawn", "record process", "record end", "telling", "request")
        for when in ("before", "after")
    ),
}

# Points that lie at the same moment of a job's life, by what their names begin with. Who is armed gets points by way of
# their groups, so that a group of few is not left out for one of many.
GROUPS = {
    "spool": ("spool",),
    "settle": ("commit settle", "end heard", "take ended", "recover", "keeper dismissal"),
    "commit": ("commit",),
    "spawn request": ("spawn", "request", "keeper start"),
    "record": ("record", "telling"),
}
OF_KEEPERS = "record"  # the group that nobody else passes

_plan: "dict[str, tuple[float, str]]" = {}
_passed: "dict[str, int]" = {}
_environment: "dict[str, str]" = {}


def group_of(point: str) -> str:
    """The group that a point belongs to."""
    return next(group for group, beginnings in GROUPS.items() if point.startswith(beginnings))


def enter(environ: "dict[str, str] | None" = None) -> None:
    """Have this process pass the points that its environment names, if any."""
    _environment.update({name: value for name in NAMES if (value := (environ or os.environ).get(name))})
    if "CRASH_FOLDER" not in _environment:
        return
    _set_clock()
    for item in _environment.get("CRASH_POINTS", "").split(","):
        if item:
            name, chance, action = item.split("=")
            _plan[name] = (float(chance), action)
    sys.meta_path.insert(0, _Finder())  # pyright: ignore[reportArgumentType] - as much of one as is needed


def hit(name: str) -> None:
    """Pass a point: perhaps for the last time."""
    if name not in _plan:
        return
    chance, action = _plan[name]
    _passed[name] = _passed.get(name, 0) + 1
    role = _role()
    keeper = os.path.basename(sys.argv[1]) if role == "keeper" else "-"
    if crc32(f"{_environment.get('CRASH_SEED')} {keeper} {name} {_passed[name]}".encode()) / 2**32 < chance:
        del _plan[name]  # who goes on after a stop is not stopped there again
        note(f"point {action} {role} {os.getpid()} {keeper} {name}")
        if action in _SIGNALS:
            os.kill(os.getpid(), _SIGNALS[action])


def note(line: str) -> None:
    """One line into the harness's file, whole whoever else writes."""
    file = os.open(_environment["CRASH_FOLDER"] + "/events", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    os.write(file, line.encode() + b"\n")
    os.close(file)


def role_of(command: str) -> str:
    """What a process of ours is, by its command line (arguments separated by NULs or blanks)."""
    if "/keepers/" in command:
        return "keeper"
    if "worker.main" in command or "\0work\0" in command or "\0process-queue\0" in command:
        return "worker"
    return "server" if "mcp_server" in command else "cli"


def told_of_keepers_points(command: str) -> bool:
    """Whether a keeper may die at points, by its command line: its worker tells it there."""
    told = command.partition("'CRASH_POINTS': '")[2].partition("'")[0]
    return any(item.partition("=")[0] in ROLES["keeper"] for item in told.split(","))


def _role() -> str:
    return role_of("\0".join(sys.orig_argv) + "\0")


def _set_clock() -> None:
    """`time.time` goes by so many seconds wrong as the harness's file says; the monotonic clock does not."""
    try:
        file = os.open(_environment["CRASH_FOLDER"] + "/clock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    from mmap import ACCESS_READ, mmap
    from struct import unpack

    shared = mmap(file, 8, access=ACCESS_READ)
    os.close(file)
    real = time.time
    time.time = lambda: real() + unpack("d", shared[:8])[0]


# where the points are


def _around(owner: "Any", name: str, point: str) -> None:
    """Wrap a function or method: `POINT before` and `POINT after`, if it returns."""
    inner = getattr(owner, name)

    def wrapped(*args: "Any", **kwargs: "Any") -> "Any":
        hit(f"{point} before")
        result = inner(*args, **kwargs)
        hit(f"{point} after")
        return result

    setattr(owner, name, wrapped)


def _engine(module: "Any") -> None:
    """Before a commit: when the change has run. After it: when it is durable, and nobody has been told."""
    inner = module.Database.write

    def write(self: "Any", change: "Callable[..., Any]", *args: "Any", **kwargs: "Any") -> "Any":
        verb = change.__name__

        def changed(*args: "Any", **kwargs: "Any") -> "Any":
            result = change(*args, **kwargs)
            hit(f"commit {verb} before")
            return result

        result = inner(self, changed, *args, **kwargs)
        hit(f"commit {verb} after")
        return result

    module.Database.write = write


def _link(module: "Any") -> None:
    _around(module.KeeperLink, "spawn", "spawn request")
    _around(module.KeeperLink, "_flush", "request sending")


def _claims(module: "Any") -> None:
    """Only where something has ended: nothing happens in the other turns."""
    inner = module.Claims.take_ended

    def take_ended(self: "Any") -> "Any":
        if self._ended:
            hit("take ended before")
        ended = inner(self)
        if ended:
            hit("take ended after")
        return ended

    module.Claims.take_ended = take_ended


def _spool(module: "Any") -> None:
    """A file's life: written, renamed, acknowledged; read by whoever takes it in, and removed when that is durable."""
    write, sync, remove, read = module._write, module.sync, module.remove, module.read

    def wrapped(*args: "Any") -> None:
        hit("spool write")
        write(*args)
        hit("spool acknowledge")

    def synced(path: str) -> None:
        hit("spool rename")
        sync(path)

    def removed(path: str) -> None:
        if path.endswith(".json"):
            hit("spool ingest after")
        remove(path)

    def taken(path: str) -> "Any":
        hit("spool ingest before")
        return read(path)

    module._write, module.sync, module.remove, module.read = wrapped, synced, removed, taken


def _boot(module: "Any") -> None:
    """The keeper's code is told before anything of it is imported."""
    _around(module, "start", "keeper start")
    told = f"import sys; sys.path.append(sys.argv[2]); from tests.crash import points; points.enter({_environment!r}); "
    module._CODE = told + module._CODE


def _launch(module: "Any") -> None:
    inner = module._execute

    def execute(entry: "Any") -> None:
        inner(entry)
        _apply(entry[0])

    module._execute = execute


def _records(module: "Any") -> None:
    _around(module.ClaimFiles, "__init__", "record start")
    _around(module.ClaimFiles, "spawned", "record process")
    _around(module.ClaimFiles, "write_end", "record end")


def _verdict(module: "Any") -> None:
    """Not a point to die at, but worth knowing: each verdict on a claim of a dead worker, once a process."""
    look, seen = module.look, set[tuple[str, str]]()

    def looked(run_dir: str, *args: "Any", **kwargs: "Any") -> "Any":
        found = look(run_dir, *args, **kwargs)
        if (run_dir, found[0]) not in seen:
            seen.add((run_dir, found[0]))
            job, claim = run_dir.split("/")[-2:]
            note(f"verdict {found[0]} {job} {claim}")
        return found

    module.look = looked


def _commands(module: "Any") -> None:
    _around(module.Commands, "_over", "end heard")
    _around(module.shutil, "rmtree", "keeper dismissal")


def _keeper(module: "Any") -> None:
    _around(module.Keeper, "_tell", "telling")
    _around(module.Keeper, "handle", "request")


WRAPPED: "dict[str, Callable[[ModuleType], None]]" = {
    "queue_core.launch": _launch,
    "queue_core.sqlite.engine": _engine,
    "queue_core.spool": _spool,
    "queue_core.recovery": lambda module: _around(module, "recover", "recover"),
    "queue_core.keeper.verdict": _verdict,
    "queue_core.keeper.boot": _boot,
    "queue_core.keeper.records": _records,
    "queue_core.keeper.command": lambda module: _around(module.Command, "spawn", "spawn"),  # pyright: ignore
    "queue_core.keeper.main": _keeper,
    "queue_core.worker.link": _link,
    "queue_core.worker.claims": _claims,
    "queue_core.worker.commands": _commands,
}


def _apply(name: str) -> None:
    if name in WRAPPED:
        WRAPPED[name](sys.modules[name])
    if plant := _environment.get("CRASH_PLANT"):
        from tests.crash import plants

        plants.apply(plant, name, sys.modules[name])


class _Finder:
    """Leaves the finding to the others, and has what they find wrapped once it is there."""

    def find_spec(self, name: str, path: "Any" = None, target: "Any" = None) -> "Any":
        if not name.startswith("queue_core."):
            return None
        for finder in sys.meta_path:
            if finder is not self and (spec := finder.find_spec(name, path, target)):
                return _wrapping(spec)
        return None


def _wrapping(spec: "Any") -> "Any":
    execute = spec.loader.exec_module

    def exec_module(module: "ModuleType") -> None:
        execute(module)
        _apply(spec.name)

    spec.loader.exec_module = exec_module
    return spec
