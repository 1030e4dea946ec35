"""Thousands of good, bad and damaged payloads for `runq hook`: the session is never harmed, and what is queued has
exactly the shape of its template.

Most run in children that a driver forks, which has the verb loaded already; some as processes of their own.
`RUNQ_FUZZ_ROUNDS=50 RUNQ_FUZZ_SEED=7 pytest tests/safety/test_fuzz_hook.py` searches on.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from queue_core.admission import MAX_STDIN
from queue_core.callers import LONGEST_SESSION
from queue_core.shapes import is_object
from tests.cli.conftest import RUNQ, Cli
from tests.helpers import short_folder
from tests.safety.fuzzing import CANARY, ROUNDS, SEED, broken, dumped, nasty_value, rng, text

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

FORKED = 350  # payloads of one round, in forked children
PROCESSES = 25  # as processes of their own
LOCKED = 5  # while another process holds the database
PATIENCE = 30  # seconds for what takes milliseconds
CONTROLS = frozenset(map(chr, (*range(9), *range(11, 32), 0x7F, 0x202E, 0x2066)))
TEMPLATES = (
    ("true", "{session_id}"),
    ("echo", "--", "{tool_input.file_path}", "{tool_input.content}"),
    ("echo", "f={tool_input.file_path}", "{{kept}}", "{not a name}", "-x{session_id}"),
    ("echo", "{tool_input.file_path}"),
    ("touch", "{tool_input.file_path}{session_id}"),
    ("git", "fetch", "{prompt}", "--quiet"),
    ("cat", "{tool_input.deep.er.value}"),
    ("true",),
)
NAMES = ("session_id", "cwd", "tool_input", "file_path", "content", "prompt", "deep", "er", "value", "hook_event_name")
DRIVER = """
import json, os, sqlite3, sys
from queue_core.cli import dispatch, hook
def child(given, words):
    os.dup2(os.open(given, os.O_RDONLY), 0)
    os.dup2(os.open("out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
    os.dup2(os.open("err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.chdir(project)
    try:
        code = dispatch.run(words)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 99
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
project = sys.argv[1]
for line in sys.stdin.buffer:
    words = line[:-1].decode("utf-8", "surrogateescape").split("\\t")
    pid = os.fork()
    if not pid:
        child("in", words)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


Jobs = list[tuple[list[str], str, str | None]]
"""The argv, the caller and the session of each."""


class Ran(NamedTuple):
    """How one hook ended."""

    code: int
    out: bytes
    err: str


class Driver:
    """A process that has the verb loaded and runs it in a forked child, again and again."""

    def __init__(self, cli: Cli, folder: Path) -> None:
        self._folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", DRIVER, str(cli.project)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**cli.env, **cli.hook_env},
            cwd=folder,
        )

    def __call__(self, payload: bytes, *words: str) -> Ran:
        assert self.process.stdin and self.process.stdout
        (self._folder / "in").write_bytes(payload)
        self.process.stdin.write("\t".join(words).encode() + b"\n")
        self.process.stdin.flush()
        code = int(self.process.stdout.readline())
        out, err = (self._folder / name for name in ("out", "err"))
        return Ran(code, out.read_bytes(), err.read_text(errors="surrogateescape"))

    def end(self) -> None:
        self.process.communicate(timeout=PATIENCE)


class Stored:
    """What has come into the database since the last look."""

    def __init__(self, cli: Cli) -> None:
        self._database = sqlite3.connect(cli.paths.database, isolation_level=None)
        self._last = 0
        self.new()

    def new(self) -> Jobs:
        asked = "SELECT id, argv, caller, session FROM jobs WHERE id > ? ORDER BY id"
        rows = self._database.execute(asked, (self._last,)).fetchall()
        self._last = rows[-1][0] if rows else self._last
        return [(json.loads(argv), caller, session) for _, argv, caller, session in rows]

    def close(self) -> None:
        assert self._database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        self._database.close()


@pytest.fixture
def hooked() -> Iterator[Cli]:
    with short_folder() as folder:
        cli = Cli(folder)
        (cli.home / "config.toml").write_text("capacity = 1000000\n")
        (cli.project / "sub").mkdir()
        cli.add("--", "true")
        yield cli


@pytest.fixture
def driver(hooked: Cli, tmp_path: Path) -> Iterator[Driver]:
    driver = Driver(hooked, tmp_path)
    yield driver
    driver.end()


def payload(chance: random.Random) -> bytes:
    """What a client's hook might say, or what is left of it."""
    pick = chance.random()
    if pick < 0.04:
        return chance.randbytes(chance.randrange(300))
    if pick < 0.06:
        return chance.choice((b"[" * 100_000, b'{"a":' * 100_000, b'{"session_id": ' + b"9" * 5000 + b"}", b"", b" \n"))
    if pick < 0.1:
        return dumped(nasty_value(chance), chance)
    raw = dumped(said(chance), chance)
    return broken(raw, chance) if chance.random() < 0.15 else raw


def said(chance: random.Random) -> dict[str, Any]:
    """A payload with a nasty value for whatever a template may name."""

    def value() -> Any:
        return text(chance) if chance.random() < 0.8 else nasty_value(chance)

    given: dict[str, Any] = {
        "session_id": value(),
        "cwd": chance.choice(("/", "sub", "no/such", "../..", value())),
        "hook_event_name": "PostToolUse",
        "prompt": value(),
        "tool_input": {"file_path": value(), "content": value(), "deep": {"er": {"value": value()}}},
    }
    places = (given, given["tool_input"])
    while chance.random() < 0.2:
        place = chance.choice(places)
        match chance.randrange(3):
            case 0:
                place.pop(chance.choice(NAMES), None)
            case 1:
                place[chance.choice(NAMES)] = nasty_value(chance)
            case _:
                place[text(chance)] = nasty_value(chance)
    return given


def meant(template: tuple[str, ...], raw: bytes) -> list[str | None]:
    """The arguments that a template means for a payload; None where it is not for this test to say."""
    try:
        given: object = json.loads(raw.decode(errors="replace")) if raw.strip() else {}
    except (ValueError, RecursionError):
        given = None
    return [one_meant(argument, given) for argument in template]


def one_meant(argument: str, given: Any) -> str | None:
    if argument == "{{kept}}":
        return "{kept}"
    before, brace, rest = argument.partition("{")
    if not brace or " " in rest:
        return argument
    name, _, behind = rest.partition("}")
    value = given
    for part in name.split("."):
        value = value.get(part) if is_object(value) else None
    return before + value + behind if isinstance(value, str) and not behind else None


def check_answer(ran: Ran) -> None:
    """Never in the session's way: 0 or 1, nothing on stdout, at most a sentence on stderr."""
    assert ran.code in (0, 1)
    assert ran.out == b""
    assert "Traceback" not in ran.err
    if ran.code == 0:
        assert ran.err == ""
    else:
        assert ran.err.startswith("runq: ") and ran.err.count("\n") == 1 and len(ran.err) < 1000
        assert not CONTROLS & set(ran.err)


def check_queued(ran: Ran, found: Jobs, template: tuple[str, ...], raw: bytes) -> None:
    """Nothing where it refused; else one job of the template's shape."""
    assert len(found) == (ran.code == 0)
    for argv, caller, session in found:
        assert caller == "hook"
        assert session is None or len(session) <= LONGEST_SESSION
        assert len(argv) == len(template) and argv[0] == template[0]
        for place, (argument, written, wanted) in enumerate(zip(argv, template, meant(template, raw), strict=True)):
            assert wanted is None or argument == wanted
            assert not argument.startswith("-") or written.startswith("-") or "--" in template[:place]


@pytest.mark.parametrize("number", range(ROUNDS))
def test_no_payload_harms_the_session_or_leaves_the_templates_shape(hooked: Cli, driver: Driver, number: int) -> None:
    stored = Stored(hooked)
    queued = 0
    for raw, template, words in cases(rng(number, "hook"), FORKED):
        ran = driver(raw, *words)
        with naming(number, raw, template):
            check_answer(ran)
            check_queued(ran, stored.new() or spooled(hooked, stored), template, raw)
        queued += ran.code == 0
    assert FORKED / 5 < queued < FORKED * 4 / 5, "the fuzzer makes too few good or too few bad payloads"
    stored.close()
    check_left(hooked)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_the_same_in_processes_of_their_own(hooked: Cli, number: int) -> None:
    stored = Stored(hooked)
    for raw, template, words in cases(rng(number, "hook process"), PROCESSES):
        ran = run(hooked, raw, words)
        with naming(number, raw, template):
            check_answer(ran)
            check_queued(ran, stored.new() or spooled(hooked, stored), template, raw)
    for size in (MAX_STDIN + 1, 1 << 20):  # the most itself takes a busy machine longer than a hook waits
        raw = b'{"session_id": "' + b"x" * (size - 18) + b'"}'
        ran = run(hooked, raw, ["hook", "--", "true"])
        check_answer(ran)
        assert ran.code == (size > MAX_STDIN)
        check_queued(ran, stored.new(), ("true",), raw)
    stored.close()
    check_left(hooked)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_what_a_locked_database_cannot_take_is_in_the_spool_in_the_templates_shape(hooked: Cli, number: int) -> None:
    stored = Stored(hooked)
    accepted: list[tuple[tuple[str, ...], bytes]] = []
    lock = os.open(hooked.paths.write_lock, os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    for raw, template, words in cases(rng(number, "hook locked"), LOCKED):
        ran = run(hooked, raw, words)
        with naming(number, raw, template):
            check_answer(ran)
            accepted += [(template, raw)] * (ran.code == 0)
            assert len(list((hooked.home / "spool").glob("*.json"))) == len(accepted)
    os.close(lock)
    assert stored.new() == []
    hooked.ok("list", "--json")
    for (template, raw), found in zip(accepted, stored.new(), strict=True):
        check_queued(Ran(0, b"", ""), [found], template, raw)
    stored.close()
    check_left(hooked)


def spooled(cli: Cli, stored: Stored) -> Jobs:
    """What a hook that found the machine too busy has left in the spool."""
    if not list((cli.home / "spool").glob("*.json")):
        return []
    cli.ok("list", "--json")
    return stored.new()


def cases(chance: random.Random, count: int) -> Iterator[tuple[bytes, tuple[str, ...], list[str]]]:
    for _ in range(count):
        template = chance.choice(TEMPLATES)
        options = chance.choice(([], [], ["--stdin", "-"], ["--queue", "capture", "--retries", "0"]))
        yield payload(chance), template, ["hook", *options, "--", *template]


def run(cli: Cli, raw: bytes, words: list[str]) -> Ran:
    """One real process; a hook that hangs fails its test."""
    done = subprocess.run(
        [*RUNQ, *words],
        env={**cli.env, **cli.hook_env},
        cwd=cli.project,
        input=raw,
        capture_output=True,
        check=False,
        timeout=PATIENCE,
    )
    return Ran(done.returncode, done.stdout, done.stderr.decode(errors="surrogateescape"))


def check_left(cli: Cli) -> None:
    """Nothing lies about: no spooled, broken or half-written file, nothing that a value could have made."""
    assert [path.name for path in (cli.home / "spool").glob("*")] in ([], [".ballast"])
    assert not [path for path in cli.home.parent.rglob("*") if CANARY in path.name]
    assert sorted(path.name for path in cli.project.iterdir()) == ["sub"]


class naming:
    """A failure says which payload it was, and how to have it again."""

    def __init__(self, number: int, raw: bytes, template: tuple[str, ...]) -> None:
        self._note = f"RUNQ_FUZZ_SEED={SEED + number}; template {template}; payload {raw[:1500]!r}"

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is not None:
            error.add_note(self._note)
