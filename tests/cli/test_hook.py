"""`runq hook`, and `add` within a hook: never in the session's way, and nothing accepted is lost."""

import fcntl
import itertools
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from queue_core.cli import payload as payload_of_hooks
from queue_core.errors import InvalidJob
from queue_core.home import Home
from tests.cli.conftest import PATIENCE, RUNQ, Cli

WHILE_LOCKED = 9  # seconds: less than the 10 that a person's command waits for a lock


def payload(**values: object) -> bytes:
    return json.dumps({"session_id": "s-1", "hook_event_name": "Stop", **values}).encode()


def test_placeholders_are_filled_one_argument_each(cli: Cli):
    given = payload(tool_input={"file_path": "a b; rm -rf /\n$(x)", "n": 5})
    template = ["echo", "{session_id}", "f={tool_input.file_path}", "{tool_input.n}", "{{kept}}", "{not a name}"]
    ran = cli.ok("hook", "--", *template, stdin=given)
    assert (ran.out, ran.err) == ("", "")
    job = cli.job(1)
    assert job["argv"] == ["echo", "s-1", "f=a b; rm -rf /\n$(x)", "5", "{kept}", "{not a name}"]
    assert (job["caller"], job["session"]) == ("hook", "s-1")


def test_the_folder_is_the_sessions(cli: Cli):
    cli.ok("hook", "--", "true", stdin=payload(cwd=str(cli.home)))
    assert cli.job(1)["cwd"] == str(cli.home)


def test_the_payload_itself_can_be_handed_on(cli: Cli):
    given = payload(extra=[1, 2])
    cli.ok("hook", "--stdin", "-", "--", "cat", stdin=given)
    cli.work()
    assert cli.ok("output", "1").raw == given


def test_a_value_cannot_become_an_option(cli: Cli):
    evil = payload(path="--upload-pack=evil")
    ran = cli("hook", "--", "git", "fetch", "{path}", stdin=evil)
    assert (ran.code, "read as an option" in ran.err) == (1, True)
    assert cli.states() == {}
    cli.ok("hook", "--", "echo", "--", "{path}", stdin=evil)
    cli.ok("hook", "--", "echo", "p={path}", stdin=evil)
    assert cli.job(2)["argv"] == ["echo", "p=--upload-pack=evil"]


HARMLESS = {
    "malformed JSON": (["--", "true"], b"{"),
    "JSON that is no object": (["--", "true"], b"[]"),
    "JSON nested without end": (["--", "true"], b"[" * 100_000),
    "a placeholder that is not there": (["--", "echo", "{nothing.here}"], payload()),
    "an unknown program": (["--", "no-such-program-xyz"], payload()),
    "an unknown option": (["--colour", "--", "true"], payload()),
    "no command": (["--queue", "q"], payload()),
    "a bad id": (["--after", "x", "--", "true"], payload()),
    "a NUL byte": (["--", "echo", "{x}"], payload(x="a\0b")),
    "a session that is no text": (["--", "true"], b'{"session_id": "\\ud800"}'),
}


@pytest.mark.parametrize("what", HARMLESS)
def test_whatever_goes_wrong_the_exit_code_is_1(cli: Cli, what: str):
    words, given = HARMLESS[what]
    ran = cli("hook", *words, stdin=given)
    assert ran.code == 1
    assert ran.err.startswith("runq: ")
    assert ran.out == ""


@pytest.mark.parametrize("words", [["add"], ["add", "--colour"], ["cancel", "x"], ["health"], ["nonsense"], ["wait"]])
def test_no_verb_blocks_the_turn_of_a_hook(cli: Cli, words: list[str]):
    cli.add("--", "true")
    assert cli(*words, RUNQ_CAPACITY="1", **cli.hook_env).code == 1


def test_verbs_that_change_things_are_silent_in_a_hook(cli: Cli):
    for words in (
        ["add", "--", "true"],
        ["pause", "q"],
        ["pin", "1"],
        ["cancel", "1"],
        ["prune"],
        ["dead", "retry", "1"],
    ):
        ran = cli.ok(*words, **cli.hook_env)
        assert (ran.out, ran.err) == ("", "")
    assert cli.job(1)["state"] == "available"
    assert cli.job(1)["caller"] == "hook"


@contextmanager
def flock(home: Home) -> Iterator[None]:
    """Somebody holds the lock that all writers take."""
    descriptor = os.open(home.write_lock, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def begin_exclusive(home: Home) -> Iterator[None]:
    """A foreign program holds the database, and knows nothing of the lock."""
    foreign = sqlite3.connect(home.database, isolation_level=None)
    foreign.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        foreign.execute("ROLLBACK")
        foreign.close()


@pytest.mark.claim("spool")
@pytest.mark.parametrize("lock", [flock, begin_exclusive])
def test_a_locked_database_sends_the_job_to_the_spool_and_it_is_taken_in_once(cli: Cli, lock):
    cli.add("--", "true")
    with lock(cli.paths):
        ran = cli("hook", "--name", "spooled", "--", "echo", "{session_id}", stdin=payload(), timeout=WHILE_LOCKED)
        assert (ran.code, ran.out, ran.err) == (0, "", "")
        (path,) = (cli.home / "spool").glob("*.json")
        content = path.read_bytes()
    assert cli.states() == {1: "available", 2: "available"}
    job = cli.job(2)
    assert (job["name"], job["argv"], job["caller"], job["session"]) == ("spooled", ["echo", "s-1"], "hook", "s-1")
    assert not list((cli.home / "spool").glob("*.json"))
    path.write_bytes(content)  # as after a crash between the commit and the removal
    assert cli.states() == {1: "available", 2: "available"}
    assert not path.exists()


@pytest.mark.claim("spool")
def test_add_in_a_hook_goes_to_the_spool_as_well(cli: Cli):
    cli.add("--", "true")
    with flock(cli.paths):
        assert cli("add", "--", "true", timeout=WHILE_LOCKED, **cli.hook_env).code == 0
    assert cli.states() == {1: "available", 2: "available"}


@pytest.mark.claim("spool")
def test_a_spooled_input_survives_with_all_its_bytes(cli: Cli):
    cli.add("--", "true")
    given = payload(x="ü\u2028")
    with flock(cli.paths):
        cli("hook", "--stdin", "-", "--", "cat", stdin=given, timeout=WHILE_LOCKED)
    cli.work()
    assert cli.ok("output", "2").raw == given


def test_a_broken_file_in_the_spool_is_set_aside_and_told_and_holds_nobody_up(cli: Cli):
    cli.add("--", "true")
    (cli.home / "spool").mkdir(mode=0o700)
    (cli.home / "spool" / "0-broken.json").write_text("{")
    with flock(cli.paths):
        cli("hook", "--", "true", stdin=payload(), timeout=WHILE_LOCKED)
    assert cli.states() == {1: "available", 2: "available"}
    assert [path.name for path in (cli.home / "spool").glob("*broken*")] == ["0-broken.json.broken"]
    health = cli.ok("health", "--json").json
    assert (health["level"], any("cannot be read" in problem for problem in health["problems"])) == ("ok", True)


def test_a_hook_inside_a_persons_job_spools_as_any_hook_does(cli: Cli):
    job = cli.add("--", "true")
    with flock(cli.paths):
        ran = cli("hook", "--", "true", stdin=payload(), timeout=WHILE_LOCKED, RUNQ_JOB_ID=str(job), **cli.hook_env)
    assert (ran.code, ran.out) == (0, "")
    assert [name for name in os.listdir(cli.paths.spool) if name.endswith(".json")]


def test_a_relative_folder_in_the_payload_is_taken_from_where_the_hook_runs(cli: Cli):
    (cli.project / "sub").mkdir()
    cli.ok("hook", "--", "true", stdin=payload(cwd="sub"))
    assert cli.job(1)["cwd"] == str(cli.project / "sub")


@pytest.mark.parametrize("value", [b"1e999", b"[" * 600 + b"]" * 600])
def test_a_value_that_no_argument_can_hold_is_a_sentence(cli: Cli, value: bytes):
    ran = cli("hook", "--", "echo", "x{a}", stdin=b'{"a": ' + value + b"}")
    assert ran.code in (0, 1)
    assert "Traceback" not in ran.err


def test_so_does_one_inside_an_agents_job(cli: Cli):
    job = cli.add("--", "true", CLAUDECODE="1")
    with flock(cli.paths):
        ran = cli("hook", "--", "true", stdin=payload(), timeout=WHILE_LOCKED, RUNQ_JOB_ID=str(job), **cli.hook_env)
    assert ran.code == 0
    assert [name for name in os.listdir(cli.paths.spool) if name.endswith(".json")]


@pytest.mark.parametrize(("written", "code"), [(b'{"session_id": "s-1"', 1), (b'{"session_id": "s-1"}', 0)])
def test_a_pipe_that_stays_open_is_not_waited_for_and_what_was_cut_off_is_told_from_what_is_wrong(
    cli: Cli, written: bytes, code: int
):
    process = subprocess.Popen(
        [*RUNQ, "hook", "--", "true", "{session_id}"],
        env=cli.env,
        cwd=cli.project,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin and process.stderr
    process.stdin.write(written)
    process.stdin.flush()
    assert process.wait(PATIENCE) == code
    said = process.stderr.read().decode()
    process.stdin.close()
    process.stderr.close()
    assert ("did not end" in said) == bool(code), said
    assert cli.stored() == 1 - code


def test_input_that_goes_on_and_on_is_read_no_longer_than_a_hook_has_time(monkeypatch: pytest.MonkeyPatch):
    """Also while there is always more to read. The clock is one that goes on whenever it is looked at."""
    ticks = itertools.count(step=payload_of_hooks.PATIENCE / 5)
    monkeypatch.setattr(payload_of_hooks, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    before, endless = os.dup(0), os.open("/dev/zero", os.O_RDONLY)
    os.dup2(endless, 0)
    try:
        with open(0, closefd=False) as stdin, pytest.raises(InvalidJob, match="did not end within"):
            monkeypatch.setattr(sys, "stdin", stdin)
            payload_of_hooks.read()
    finally:
        os.dup2(before, 0)
        os.close(before)
        os.close(endless)
