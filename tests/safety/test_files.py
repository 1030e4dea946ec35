"""Every file is its user's alone, whatever the umask; and what is secret in a job is nowhere to be read but there."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from queue_core import changes, spool
from queue_core.home import locate
from queue_core.keeper import locks, records
from tests.helpers import wait_until
from tests.mcp.places import Place
from tests.mcp.servers import Server
from tests.worker.conftest import CLI, PATIENCE, Rig

AGENT = {"CLAUDECODE": "1"}
HOOK = {**AGENT, "CLAUDE_PROJECT_DIR": "/"}


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(folder: Path) -> dict[str, str]:
    """What lies below a folder that is not 0700 (folders) or 0600 (all else)."""
    found: dict[str, str] = {}
    for path in [folder, *folder.rglob("*")]:
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:  # a bell, a temporary file
            continue
        if stat.S_IMODE(mode) != (0o700 if stat.S_ISDIR(mode) else 0o600):
            found[str(path.relative_to(folder))] = stat.filemode(mode)
    return found


def kinds(folder: Path) -> set[str]:
    return {path.relative_to(folder).parts[0] for path in folder.rglob("*")}


@contextmanager
def locked(rig: Rig) -> Iterator[None]:
    """Somebody holds the write lock."""
    descriptor = os.open(rig.home / "runq.lock", os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield
    os.close(descriptor)


class Seen:
    """The server in a rig's home, as `Server` wants it."""

    def __init__(self, rig: Rig) -> None:
        self.environ = {**rig.env, "CLAUDE_PROJECT_DIR": str(rig.folder)}
        self.project = rig.folder


def test_everything_in_the_home_is_the_users_alone_whatever_the_umask(no_umask: None, rig: Rig) -> None:
    gate = rig.gate()
    rig.runq("allow", "true")
    ended = rig.sh('echo out; echo half > "$RUNQ_PROGRESS".tmp; umask', "--stdin", "-", input="given")
    with locked(rig):
        rig.runq("hook", "--", "true", env=HOOK, input="{}", code=None)
        assert open_to_others(rig.home) == {}
        assert list((rig.home / "spool").glob("*.json"))
    (rig.home / "spool" / "0-broken.json").touch(0o600)
    rig.runq("schedule", "add", "daily", "--every", "1d", "--", "true")
    rig.worker()
    running = rig.sh(gate.wait, "--stdin", "-", input="given")
    rig.pid_of(running)
    rig.reaches(ended, "succeeded")
    rig.start("output", str(running), "--follow")
    wait_until(lambda: len(list((rig.home / "bells").iterdir())) > 1, "a bell of the one who follows", PATIENCE)
    rig.runq("backup", "now")
    rig.runq("doctor", code=None)
    with Server(cast("Place", Seen(rig))) as server:
        server.shake_hands()
        server.call("enqueue", argv=["true"])
        server.call("output", job_id=ended)
        wait_until((rig.home / "spool" / ".ballast").exists, "the ballast is there", PATIENCE)
        commands = {name for name in os.listdir(rig.run_dir(ended)) if name not in ("record", "output")}
        assert {f"runs/{ended}/1/{name}" for name in commands} == set(open_to_others(rig.home)), "the command's own"
    expected = {"runq.db", "runq.lock", "runs", "keepers", "workers", "spool", "backups", "bells", "logs", "rules.toml"}
    assert expected <= kinds(rig.home)
    assert rig.output(ended) == "out\n0000\n", "a command's own umask is what it was"
    gate.open()


def test_the_usual_places_are_made_the_users_alone_too(no_umask: None, rig: Rig) -> None:
    home = rig.folder / "user"
    home.mkdir(0o700)
    env = {name: value for name, value in rig.env.items() if name != "RUNQ_HOME"} | {"HOME": str(home)}
    for words in (["add", "--", "true"], ["allow", "true"]):
        subprocess.run([*CLI, *words], env=env, cwd=rig.folder, check=True, capture_output=True)
    assert open_to_others(home) == {}
    assert (home / ".local/share/runq/runq.db").exists() and (home / ".config/runq/rules.toml").exists()


class TestWhatIsPlanted:
    """A command can write into the home; nobody is to follow it elsewhere, or to wait for it."""

    def test_a_bell_that_is_a_link_or_a_file_is_not_rung(self, rig: Rig) -> None:
        precious = rig.folder / "precious"
        precious.write_text("precious")
        home = locate(rig.env)
        os.makedirs(home.bells, mode=0o700, exist_ok=True)
        os.symlink(precious, home.bells + "/work-1-link")
        os.link(precious, home.bells + "/work-1-hard")
        changes.ring(home, "work")
        assert precious.read_text() == "precious"

    @pytest.mark.parametrize("what", ["link", "pipe"])
    def test_a_job_in_the_spool_that_is_no_file_is_set_aside(self, rig: Rig, what: str) -> None:
        home = locate(rig.env)
        os.makedirs(home.spool, mode=0o700, exist_ok=True)
        path = home.spool + "/1-planted.json"
        os.symlink(rig.folder / "elsewhere", path) if what == "link" else os.mkfifo(path)
        rig.drain()
        assert spool.pending(home) == [] and os.path.lexists(path + ".broken")

    @pytest.mark.parametrize("what", ["link", "pipe", "folder"])
    def test_a_record_that_is_no_file_is_none(self, tmp_path: Path, what: str) -> None:
        path = tmp_path / "record"
        (tmp_path / "elsewhere").write_text("x")
        {"link": lambda: path.symlink_to("elsewhere"), "pipe": lambda: os.mkfifo(path), "folder": path.mkdir}[what]()
        record = records.read(str(tmp_path))
        assert record is None or (record.start, record.end) == (None, None)
        assert not locks.held(str(path))

    def test_a_worker_that_is_asked_to_leave_through_a_pipe_is_not_stopped_by_it(self, rig: Rig) -> None:
        job = rig.sh('for w in "$RUNQ_HOME"/workers/*.lock; do mkfifo "${w%.lock}.leave"; done')
        rig.worker()
        rig.reaches(job, "succeeded")
        wait_until(lambda: not rig.queue.live_workers(), "it has left, as it was asked to", PATIENCE)


MARKS = ("mark-in-env-7f3a", "mark-in-input-7f3a")


def test_what_a_job_is_given_is_shown_nowhere(rig: Rig) -> None:
    """Values of variables and input: in the database and the input's file alone."""
    given = ("--env", f"HIDDEN={MARKS[0]}", "--stdin", "-")
    said: list[str] = []

    def note(*words: str, **more: object) -> None:
        done = rig.runq(*words, code=None, **more)  # pyright: ignore[reportArgumentType]
        said.append(done.stdout + done.stderr)

    gate = rig.gate()
    note("add", *given, "--", "true", input=MARKS[1])
    note("add", *given, "--", "sh", "-c", gate.wait, input=MARKS[1])
    note("add", *given, "--retries", "0", "--on-dead", '["true"]', "--", "false", input=MARKS[1])
    note("add", *given, "--retries", "0", "--cwd", ".", "--", "./gone", input=MARKS[1])
    gone = rig.folder / "gone"
    gone.write_text("#!/no/such/interpreter\n")
    gone.chmod(0o755)
    note("add", *given, "--retries", "0", "--", "./gone", input=MARKS[1])
    note("add", *given, "--handler", "h", input=MARKS[1])
    note("add", *given, "--timeout", "-1", "--", "true", input=MARKS[1])
    note("add", *given, "--", "true", input=MARKS[1], env=AGENT)
    note("hook", "--env", f"HIDDEN={MARKS[0]}", "--", "true", "{nothing}", input=json.dumps({"x": MARKS[1]}), env=HOOK)
    note("schedule", "add", "again", "--every", "1d", *given, "--", "true", input=MARKS[1])
    note("schedule", "list", "--json")
    rig.worker(RUNQ_LOG_LEVEL="debug", HIDDEN_TOO=MARKS[0])
    wait_until(
        lambda: len(rig.queue.store.running()) == 1 and not rig.queue.store.claimable(rig.queue.clock()), "it works"
    )
    rig.start("work", "--until-empty", RUNQ_LOG_LEVEL="debug").left()
    for words in ("status", "status --json", "list", "list --json", "audit", "audit --json", "health --json", "doctor"):
        note(*words.split())
    for words in ("stats --json", "dead list --json", "rules", "logs", "backup now", "backup list --json"):
        note(*words.split())
    ids = range(1, rig.add("--", "true") + 1)
    for job in ids:
        note("status", str(job), "--json")
        note("output", str(job))
        note("audit", str(job), "--json")
    with Server(cast("Place", Seen(rig))) as server:
        server.shake_hands()
        said.append(json.dumps([server.ask("tools/call", name="status", arguments={"job_id": job}) for job in ids]))
        said.append(json.dumps([server.call("list_jobs"), server.call("dead_letter_list")]))
        uris = ["queue://status", "queue://statistics", "queue://dead-letters", f"queue://jobs/{ids[0]}"]
        said.append(json.dumps([server.ask("resources/read", uri=uri) for uri in uris]))
    gate.open()
    everything = "\n".join(said)
    assert '"HIDDEN"' in everything, "the names are shown"
    assert [mark for mark in MARKS if mark in everything] == []
    kept = {"runq.db", "runq.db-wal", "backups", "1.stdin", "spool"}
    for path in rig.home.rglob("*"):
        assert not any(mark in path.name for mark in MARKS)
        if path.is_file() and not kept & {*path.relative_to(rig.home).parts}:
            try:
                content = path.read_bytes()
            except FileNotFoundError:  # the worker goes on
                continue
            assert not [mark for mark in MARKS if mark.encode() in content], path
