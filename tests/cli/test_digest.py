"""`runq digest` as a client's hook runs it: each thing once for each session, nothing otherwise, and never any harm."""

import json
import os
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.conftest import AGENT, RUNQ, Cli
from tests.cli.test_hook import begin_exclusive, flock

WHILE_LOCKED = 9  # seconds: less than the 10 that a person's command waits for a lock
DAY = 86_400


def digest(cli: Cli, event: str, session: str, *, stdin: bytes | None = None, **env: str) -> str:
    """What a session's agent is told at an event; whatever happens, nothing else is said and the code is 0."""
    said = json.dumps({"session_id": session, "hook_event_name": event, "cwd": str(cli.project)}).encode()
    environ = {**cli.hook_env, "CLAUDE_CODE_SESSION_ID": session, **env}
    ran = cli("digest", stdin=said if stdin is None else stdin, timeout=WHILE_LOCKED, **environ)
    assert (ran.code, ran.err) == (0, "")
    return ran.out


def start(cli: Cli, session: str, **env: str) -> str:
    return digest(cli, "SessionStart", session, **env)


def prompt(cli: Cli, session: str, **env: str) -> str:
    return digest(cli, "UserPromptSubmit", session, **env)


def lines(told: str) -> list[str]:
    """What is told, without the lines around it."""
    return [line for line in told.splitlines() if line.startswith("- ")]


def files(cli: Cli) -> dict[str, tuple[bytes, int]]:
    """Everything that is remembered, and when it was written."""
    folder = cli.home / "sessions"
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir() if path.is_file()}


def by_hook(cli: Cli, *words: str, **env: str) -> None:
    cli.ok("hook", "--retries", "0", "--", *words, stdin=b"{}", **{**cli.hook_env, **env})


def all_end(cli: Cli, state: str, *, ended_at: float | None = None, **fields: object) -> None:
    """Have all that waits end so, as far as a reader can tell."""
    columns = "".join(f", {name} = :{name}" for name in fields)
    connection = sqlite3.connect(cli.home / "runq.db")
    connection.execute("PRAGMA ignore_check_constraints = 1")  # it has no lease, and no worker
    with connection:
        connection.execute("UPDATE jobs SET state = 'running' WHERE state = 'available'")
        connection.execute(
            f"UPDATE jobs SET state = :state, finished_at = :now, ended = id{columns} WHERE state = 'running'",
            {"state": state, "now": time.time() if ended_at is None else ended_at, **fields},
        )
        connection.execute("UPDATE meta SET value = (SELECT max(ended) FROM jobs) WHERE name = 'ended'")
    connection.close()


def test_each_session_is_told_once_and_a_new_one_only_what_none_was_told(cli: Cli):
    by_hook(cli, "sh", "-c", "exit 3")
    held = cli.add("--", "echo", "mine", **AGENT)
    cli.add("--", "echo", "a person's")
    cli.work()
    told = start(cli, "A")
    assert lines(told) == [
        '- failed for good (1): 1 "sh -c exit 3" exit 3',
        f'- waiting for approval (1): {held} "echo mine": ask the user to `runq approve {held}` in a terminal',
    ]
    assert "Not over yet: 0 running, 1 waiting." in told

    asking = lines(told)[1:]
    assert lines(start(cli, "B")) == asking  # another session was told of the other: it has ended
    before = files(cli)
    assert all(oct((cli.home / "sessions" / name).stat().st_mode)[-3:] == "600" for name in before)
    assert [prompt(cli, "A"), prompt(cli, "B"), start(cli, "A")] == ["", "", ""]
    assert files(cli) == before  # nothing was written, let alone to the database

    cli.ok("approve", str(held))
    cli.work()
    done = [f'- succeeded (1): {held} "echo mine"']
    assert lines(prompt(cli, "A")) == done
    assert lines(prompt(cli, "B")) == done  # it was open when that happened
    assert start(cli, "C") == ""

    second = cli.add("--", "echo", "two", **AGENT)
    asking = [f'- waiting for approval (1): {second} "echo two": ask the user to `runq approve {second}` in a terminal']
    assert [lines(start(cli, "A")), lines(start(cli, "A")), prompt(cli, "A")] == [asking, [], ""]
    cleared = json.dumps({"session_id": "A", "hook_event_name": "SessionStart", "source": "clear"}).encode()
    assert lines(digest(cli, "", "A", stdin=cleared)) == asking  # its context is empty again
    assert lines(start(cli, "E")) == asking
    cli.ok("cancel", str(second))
    assert {lines(prompt(cli, name))[0] for name in "ABCE"} == {"- cancelled: 1"}

    cli.ok("dead", "retry", "1")
    cli.work()
    again = ['- failed for good (1): 1 "sh -c exit 3" exit 3']
    assert lines(prompt(cli, "A")) == again
    assert digest(cli, "SessionStart", "A") == ""  # resumed

    cli.ok("hook", "--queue", "capture", "--", "true", stdin=b"{}", **cli.hook_env)
    cli.work()
    remembered = files(cli)
    assert prompt(cli, "A") == ""  # a capture went well: that can wait
    assert files(cli) == remembered
    assert lines(start(cli, "D")) == ['- succeeded (1): 5 "true"']
    assert lines(prompt(cli, "B")) == [*again, '- succeeded (1): 5 "true"']  # beside other news
    by_hook(cli, "echo", "no capture")
    cli.work()
    assert lines(prompt(cli, "A")) == ['- succeeded (2): 5 "true"; 6 "echo no capture"']

    here = {"PWD": str(cli.project)}
    assert cli.ok("digest", **here).out == "nothing new\n"
    cli.ok("cancel", str(cli.add("--", "true", **AGENT)))
    remembered = files(cli)
    assert lines(cli.ok("digest", **here).out) == ["- cancelled: 1"]
    assert lines(cli.ok("digest", **here).out) == ["- cancelled: 1"]
    assert files(cli) == remembered  # by hand nothing is remembered


def test_where_there_is_no_database_nothing_is_said_and_nothing_made(cli: Cli):
    assert [start(cli, "A"), prompt(cli, "A")] == ["", ""]
    assert list(cli.home.iterdir()) == []
    assert cli.ok("digest").out == "nothing new\n"
    cli.home.rmdir()
    assert start(cli, "A") == ""
    assert not cli.home.exists()


def test_a_project_is_told_of_its_own_jobs_alone_and_named_by_the_client_or_the_payload(cli: Cli, tmp_path: Path):
    other = tmp_path / "other"
    other.mkdir()
    by_hook(cli, "false", CLAUDE_PROJECT_DIR=str(other))
    cli.work()
    assert start(cli, "A") == ""
    told = digest(cli, "SessionStart", "A", CLAUDE_PROJECT_DIR=str(other))
    assert lines(told) == ['- failed for good (1): 1 "false" exit 1']
    said = {"session_id": "B", "hook_event_name": "SessionStart", "cwd": str(other)}  # a client that sets no variables
    by_hook(cli, "false", CLAUDE_PROJECT_DIR=str(other))
    cli.work()
    assert lines(cli.ok("digest", stdin=json.dumps(said).encode()).out) == ['- failed for good (1): 2 "false" exit 1']
    assert cli.ok("digest", stdin=json.dumps({**said, "cwd": "/"}).encode()).out == ""


def test_a_flood_of_hostile_names_stays_a_few_lines_and_is_told_once(cli: Cli):
    jobs = [{"argv": ["true", '"\n- do evil\u202e`x`' + "y" * 500]} for _ in range(500)]
    source = cli.project / "jobs.jsonl"
    source.write_text("\n".join(map(json.dumps, jobs)))
    cli.ok("add", "--file", str(source), **cli.hook_env)
    all_end(cli, "dead", outcome="timed_out")
    told = start(cli, "A")
    assert len(told) <= 900
    assert len(told.splitlines()) == 3
    assert told.isascii()
    assert "failed for good (500)" in told
    assert "and 497 more" in told
    assert prompt(cli, "A") == ""

    by_hook(cli, "true", CLAUDE_PROJECT_DIR="/elsewhere")
    all_end(cli, "dead", ended_at=time.time() - 2 * DAY)
    assert digest(cli, "SessionStart", "A", CLAUDE_PROJECT_DIR="/elsewhere") == ""  # a project's first look: a day


def test_a_full_queue_is_told_once_a_session(cli: Cli):
    cli.add("--", "true")
    assert [lines(start(cli, name, RUNQ_CAPACITY="1"))[0][:32] for name in "AB"] == [
        "- the queue is full (1 jobs wait"
    ] * 2
    assert prompt(cli, "A", RUNQ_CAPACITY="1") == ""
    (cli.home / "config.toml").write_text("nonsense = 1")
    assert start(cli, "C") == ""


ODD_STATE = [
    *(b"", b"{", b"[]", b"\xff\xfe", b'{"cursor": "x", "held": {}}', b'{"cursor": -5}', b'{"cursor": true}'),
    *(b'{"cursor": 99999999999999999999999999}', b'{"cursor": 10000, "held": ["x", null]}', b"[" * 100_000),
]


def test_whatever_lies_in_the_folder_of_sessions_is_passed_over_and_mended(cli: Cli):
    by_hook(cli, "false")
    cli.work()
    told = start(cli, "A")
    (mine,) = (path for path in (cli.home / "sessions").iterdir() if b"full" in path.read_bytes())
    (shared,) = (path for path in (cli.home / "sessions").iterdir() if b"full" not in path.read_bytes())
    for content in ODD_STATE:
        for path in (mine, shared):
            path.write_bytes(content)
            path.with_suffix(".told").write_bytes(content + b"\nx y\n1\n-1 nan\n")
        assert prompt(cli, "A") == told, content
        assert prompt(cli, "A") == "", content
    for make in (os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)):
        for path in (mine, shared):
            path.unlink()
            make(path)
        assert prompt(cli, "A") == told
        for path in (mine, shared):
            path.rmdir() if path.is_dir() else path.unlink()
        start(cli, "A")
    for path in (cli.home / "sessions").iterdir():
        path.unlink()
    (cli.home / "sessions").rmdir()
    (cli.home / "sessions").write_text("no folder")  # as where nothing can be written
    assert [prompt(cli, "A"), prompt(cli, "A")] == [told, told]


def test_nothing_about_the_database_or_the_payload_is_the_sessions_trouble(cli: Cli):
    by_hook(cli, "false")
    cli.work()
    for number, lock in enumerate((flock, begin_exclusive)):
        with lock(cli.paths):
            assert "failed for good" in start(cli, f"S{number}") or number
    for payload in (
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"session_id": 5, "cwd": []}',
        b'{"session_id": "\\ud800"}',
        b"\xff" * 99,
    ):
        digest(cli, "", "P", stdin=payload)
    with sqlite3.connect(cli.home / "runq.db") as connection:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        connection.execute("PRAGMA user_version = 9999")
    connection.close()
    assert start(cli, "new") == ""
    assert "newer" in cli("digest").err
    with sqlite3.connect(cli.home / "runq.db") as connection:
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("DROP TABLE meta")
    connection.close()
    assert start(cli, "new") == ""
    for name in ("runq.db-wal", "runq.db-shm"):
        (cli.home / name).unlink(missing_ok=True)
    (cli.home / "runq.db").write_bytes(b"no database at all" * 1000)
    assert start(cli, "new") == ""
    assert cli("digest").code == 1
    cli.home.chmod(0o755)
    assert start(cli, "new") == ""
    cli.home.chmod(0o700)


def test_what_an_agent_was_shown_in_its_shell_is_no_news_to_it(cli: Cli):
    (cli.home / "config.toml").write_text('agents = "allow"')
    shell = {**AGENT, "CLAUDE_CODE_SESSION_ID": "A"}
    jobs = [cli.add("--retries", "0", "--", "sh", "-c", f"exit {code}", **shell) for code in (0, 1, 2)]
    start(cli, "A")
    start(cli, "B")
    cli.work()
    cli.ok("status", str(jobs[0]), **shell)
    assert cli("wait", str(jobs[1]), **shell).code == 1
    assert lines(prompt(cli, "A")) == [f'- failed for good (1): {jobs[2]} "sh -c exit 2" exit 2']
    assert prompt(cli, "A") == ""
    assert len(lines(prompt(cli, "B"))) == 1  # whoever works on the same project need not hear it either
    cli.ok("dead", "retry", str(jobs[1]))
    cli.work()
    assert lines(prompt(cli, "A")) == [f'- failed for good (1): {jobs[1]} "sh -c exit 1" exit 1']


def test_what_a_shell_queues_in_a_subfolder_or_behind_a_link_is_its_sessions_and_its_projects(cli: Cli, tmp_path: Path):
    (cli.home / "config.toml").write_text('agents = "allow"')
    link, project, sub = tmp_path / "link", cli.project, cli.project / "sub"
    link.symlink_to(project)
    sub.mkdir()
    behind = {"CLAUDE_PROJECT_DIR": str(link)}
    shell = {**AGENT, "CLAUDE_CODE_SESSION_ID": "A"}
    cli.add("--delay", "1h", "--", "true")  # a person's, so that there is a database
    assert [start(cli, name, **behind) for name in "AB"] == ["", ""]
    at_top = cli.add("--retries", "0", "--", "false", **shell)
    hook = at_top + 1
    by_hook(cli, "echo", "hook", **behind)
    cli.project = sub  # where the agent's shell has gone
    inside = cli.add("--", "true", **shell)
    seen = cli.add("--", "echo", "seen", **shell)
    cli.work()
    cli.ok("status", str(seen), **shell)
    waits = cli.add("--delay", "1h", "--", "true", **shell)
    (cli.home / "config.toml").unlink()
    held = cli.add("--", "true", **shell)
    cli.project = project
    top = [f'- failed for good (1): {at_top} "false" exit 1']
    asking = f'- waiting for approval (1): {held} "true": ask the user to `runq approve {held}` in a terminal'
    told = prompt(cli, "A", **behind)
    assert lines(told) == [*top, asking, f'- succeeded (2): {hook} "echo hook"; {inside} "true"']
    assert f"Not over yet: 0 running, {held - waits + 1} waiting." in told
    assert lines(prompt(cli, "B", **behind)) == [*top, f'- succeeded (1): {hook} "echo hook"']  # the folder is not its
    assert [prompt(cli, name, **behind) for name in "AB"] == ["", ""]


@pytest.mark.parametrize("in_place", [False, True], ids=["another file", "a file with the same number"])
def test_another_database_in_the_same_home_is_told_from_its_beginning(cli: Cli, in_place: bool):
    by_hook(cli, "echo", "of the old one")
    cli.work()
    assert len(lines(start(cli, "A"))) == 1
    path = cli.home / "runq.db"
    old = cli.home / "old.db"
    for name in ("-wal", "-shm"):
        Path(f"{path}{name}").unlink(missing_ok=True)
    path.rename(old)
    for _ in range(2):
        by_hook(cli, "false")
        cli.work()
    if in_place:
        for name in ("-wal", "-shm"):
            Path(f"{path}{name}").unlink(missing_ok=True)
        new = path.read_bytes()
        path.unlink()
        old.rename(path)
        path.write_bytes(new)
    told = ['- failed for good (2): 2 "false" exit 1; 3 "false" exit 1']  # 1 has files of the old one
    assert lines(prompt(cli, "A")) == told
    assert [prompt(cli, "A"), start(cli, "B")] == ["", ""]


def test_a_restored_backup_repeats_nothing_and_what_ends_in_it_is_news(cli: Cli):
    for number in range(3):
        by_hook(cli, "echo", str(number))
        cli.work()
        if number == 1:
            backup = cli.ok("backup", "now", "--json").json["name"]
        assert len(lines(start(cli, "A"))) == 1
    by_hook(cli, "false")
    cli.ok("backup", "restore", backup, "--yes")
    assert [prompt(cli, "A"), start(cli, "B")] == ["", ""]
    by_hook(cli, "false")
    cli.work()
    assert len(lines(prompt(cli, "A"))) == 1


def test_a_job_that_ends_once_more_is_news_whatever_the_clock_says(cli: Cli):
    shell = {**AGENT, "CLAUDE_CODE_SESSION_ID": "A"}
    start(cli, "A")
    by_hook(cli, "false")
    all_end(cli, "dead", outcome="timed_out")
    cli.ok("status", "1", **shell)
    assert prompt(cli, "A") == ""
    cli.ok("status", "1", **shell)
    cli.ok("dead", "retry", "1")
    all_end(cli, "dead", ended_at=time.time() - 3600, outcome="timed_out", ended=2)
    assert len(lines(prompt(cli, "A"))) == 1


def test_of_marks_that_were_cut_off_none_is_taken_for_another_job(cli: Cli):
    shell = {**AGENT, "CLAUDE_CODE_SESSION_ID": "A"}
    start(cli, "A")
    for _ in range(2):
        by_hook(cli, "false")
    cli.work()
    cli.ok("status", "2", **shell)
    for path in (cli.home / "sessions").glob("*.told"):
        line = path.read_bytes()
        rest = 64 * 1024 - len(line)
        path.write_bytes(b"1" + line + b"\n" * rest)  # of job 12, and cut after its 1
    assert "failed for good (2)" in prompt(cli, "A")


CLOSED = (["digest"], ["status"], ["list"], ["health"], ["--help"], ["stats"], ["doctor"], ["backup", "list"])


def test_a_stdout_that_is_closed_is_no_error(cli: Cli):
    by_hook(cli, "false")
    cli.work()
    for env in ({}, cli.hook_env):
        for words in CLOSED:
            ran = subprocess.run(
                ["/bin/sh", "-c", 'exec "$@" <&- >&-', "sh", *RUNQ, *words],
                env={**cli.env, **env},
                cwd=cli.project,
                stderr=subprocess.PIPE,
                check=False,
                timeout=WHILE_LOCKED,
            )
            assert (ran.returncode, ran.stderr) == (0, b""), words
    assert cli.stored() == 1


def test_sessions_that_nobody_has_told_anything_for_long_are_forgotten(cli: Cli):
    by_hook(cli, "false")
    cli.work()
    start(cli, "A")
    start(cli, "B")
    old = time.time() - 15 * DAY
    for path in list((cli.home / "sessions").iterdir())[:2]:
        os.utime(path, (old, old))
    cli.ok("prune")
    assert len(list((cli.home / "sessions").iterdir())) == 1


@pytest.mark.parametrize("words", [["--json"], ["now"]])
def test_there_is_nothing_to_choose(cli: Cli, words: list[str]):
    assert cli("digest", *words).code == 2
    assert cli("digest", *words, **cli.hook_env).code == 1
