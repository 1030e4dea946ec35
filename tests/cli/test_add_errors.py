"""What `runq add` refuses: one sentence that says what to do, the right exit code, nothing stored."""

import json
import os
import sqlite3

import pytest

from tests.cli.conftest import Cli

BAD_REQUESTS: dict[str, tuple[list[str], str]] = {
    "no command": ([], "there is no command"),
    "an empty argv": (["--"], "there is no command"),
    "an empty program": (["--", ""], "there is no command"),
    "no `--`": (["true"], "behind `--`"),
    "an unknown program": (["--", "no-such-program-xyz"], "no-such-program-xyz"),
    "a program that is no file": (["--", "./nothing"], "there is no program"),
    "a folder as a program": (["--", "/tmp"], "not an executable"),
    "a missing folder": (["--cwd", "nowhere", "--", "true"], "nowhere does not exist"),
    "an id that is no number": (["--after", "x", "--", "true"], "positive whole number"),
    "a negative id": (["--after", "-1", "--", "true"], "positive whole number"),
    "a huge id": (["--after", "9" * 40, "--", "true"], "positive whole number"),
    "a job that does not exist": (["--after", "99", "--", "true"], "job 99"),
    "a negative delay": (["--delay", "-1", "--", "true"], "--delay must be at least 0, not -1"),
    "a delay that is no number": (["--delay", "soon", "--", "true"], "--delay is a number"),
    "a span that is none": (["--delay", "3x", "--", "true"], "a span such as 90s, 15m, 2h or 7d, not '3x'"),
    "a delay without end": (["--delay", "inf", "--", "true"], "finite"),
    "no number at all": (["--timeout", "nan", "--", "true"], "--timeout must be at least 0.001, not nan"),
    "a time-out of zero": (["--timeout", "0", "--", "true"], "--timeout must be at least 0.001, not 0"),
    "a delay and a time": (["--delay", "1", "--at", "2999-01-01", "--", "true"], "not both"),
    "a time that is none": (["--at", "tomorrow", "--", "true"], "at is a time"),
    "half a retry": (["--retries", "1.5", "--", "true"], "--retries is a whole number"),
    "an unknown priority": (["--priority", "urgent", "--", "true"], "critical, high, normal, low"),
    "an unknown backoff": (["--backoff", "never", "--", "true"], "exponential"),
    "a variable without a value": (["--env", "A", "--", "true"], "NAME=VALUE"),
    "a note without a value": (["--meta", "A", "--", "true"], "NAME=VALUE"),
    "a queue with a space": (["--queue", "a b", "--", "true"], "queue's name"),
    "a lock without capacity": (["--lock", "gpu=0", "--", "true"], "capacity"),
    "a lock with too much capacity": (["--lock", "gpu=" + "9" * 30, "--", "true"], "a lock is NAME"),
    "on-dead that is no JSON": (["--on-dead", "notify", "--", "true"], "--on-dead takes a JSON list"),
    "on-dead without a program": (["--on-dead", '["no-such-xyz"]', "--", "true"], "no-such-xyz"),
    "a missing input file": (["--stdin", "nothing.txt", "--", "true"], "does not exist"),
    "an unknown option": (["--colour", "--", "true"], "knows no option --colour"),
    "an option without its value": (["--queue"], "--queue needs a value"),
    "a flag with a value": (["--silent=yes", "--", "true"], "--silent takes no value"),
    "a file and a command": (["--file", "x", "--", "true"], "either --file or a command"),
    "a file that is not there": (["--file", "nothing.jsonl"], "could not be read"),
}


@pytest.mark.parametrize("what", BAD_REQUESTS)
def test_a_bad_request_is_refused_with_a_sentence(cli: Cli, what: str):
    words, sentence = BAD_REQUESTS[what]
    ran = cli("add", *words)
    assert ran.code == 2
    assert sentence in ran.err
    assert ran.err.startswith("runq: ")
    assert ran.err.count("\n") == 1
    assert ran.out == ""
    assert cli.stored() == 0


BAD_LINES = {
    "no JSON": ("{", "line 2 is not valid JSON"),
    "no object": ("[1]", "line 2 is JSON, but no object"),
    "an unknown key": ('{"argv": ["true"], "prio": 1}', "line 2: `prio` is no key"),
    "neither argv nor command": ("{}", "line 2: give the command"),
    "argv that is a text": ('{"argv": "true"}', "line 2: argv is a list"),
    "a NUL byte": ('{"argv": ["true", "a\\u0000b"]}', "NUL"),
    "an id that is too large": ('{"argv": ["true"], "after": 99999999999999999999}', "line 2: after holds job ids"),
    "an id in other digits": ('{"argv": ["true"], "after": "\\u00b2"}', "which is no job's id"),
    "an unknown reference": ('{"argv": ["true"], "after": "nobody"}', "'nobody'"),
    "nested without end": ("[" * 100_000, "line 2"),
    "a name that is no text": ('{"argv": ["true"], "name": "\\ud800"}', "UTF-8"),
}


@pytest.mark.parametrize("what", BAD_LINES)
def test_a_bad_line_of_a_file_is_named_and_nothing_of_it_is_stored(cli: Cli, what: str):
    line, sentence = BAD_LINES[what]
    ran = cli("add", "--file", "-", stdin=f'{{"argv": ["true"]}}\n{line}\n'.encode())
    assert ran.code == 2
    assert sentence in ran.err
    assert cli.stored() == 0


def test_a_file_that_is_empty_or_no_text_is_refused(cli: Cli):
    assert "holds no jobs" in cli("add", "--file", "-", stdin=b"\n\n").err
    assert "not UTF-8" in cli("add", "--file", "-", stdin=b"\xff{}").err


def test_an_argument_that_is_too_long_is_refused_before_it_is_stored(cli: Cli):
    for argv in (["true", "x" * 200_000], ["true", *["x" * 100_000] * 11]):
        ran = cli("add", "--file", "-", stdin=json.dumps({"argv": argv}).encode())
        assert (ran.code, "the most" in ran.err) == (2, True)
    assert cli.stored() == 0


def test_a_file_that_is_no_database_is_left_alone(cli: Cli):
    (cli.home / "runq.db").write_bytes(b"these are my memoirs, not a database" * 100)
    ran = cli("add", "--", "true")
    assert ran.code == 1
    assert "no SQLite database" in ran.err
    assert (cli.home / "runq.db").read_bytes().startswith(b"these are my memoirs")


def test_somebody_elses_database_is_left_alone(cli: Cli):
    with sqlite3.connect(cli.home / "runq.db") as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    ran = cli("add", "--", "true")
    assert (ran.code, "is not runq's database" in ran.err) == (1, True)


def test_a_database_of_a_newer_version_is_left_alone(cli: Cli):
    cli.add("--", "true")
    newer = sqlite3.connect(cli.home / "runq.db")
    newer.execute("PRAGMA user_version = 999")
    newer.close()
    for words in (["add", "--", "true"], ["list"], ["cancel", "1"]):
        ran = cli(*words)
        assert (ran.code, "newer runq" in ran.err) == (1, True)


def test_a_home_that_is_a_file_is_refused(cli: Cli):
    (cli.home / "file").touch()
    ran = cli("add", "--", "true", RUNQ_HOME=str(cli.home / "file"))
    assert (ran.code, "is not a folder" in ran.err) == (1, True)
    ran = cli("status", RUNQ_HOME=str(cli.home / "file" / "below"))
    assert (ran.code, "set RUNQ_HOME" in ran.err) == (1, True)


def test_a_home_that_is_open_to_others_is_refused(cli: Cli):
    cli.home.chmod(0o755)
    for words in (["add", "--", "true"], ["status"]):
        ran = cli(*words)
        assert (ran.code, "chmod 700" in ran.err) == (1, True)
    assert os.listdir(cli.home) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_that_cannot_be_written_to_is_refused(cli: Cli):
    cli.home.chmod(0o500)
    ran = cli("add", "--", "true")
    cli.home.chmod(0o700)
    assert (ran.code, "writable" in ran.err) == (1, True)


def test_a_setting_that_makes_no_sense_is_named_with_its_place(cli: Cli):
    ran = cli("add", "--", "true", RUNQ_CAPACITY="many")
    assert (ran.code, "RUNQ_CAPACITY" in ran.err) == (2, True)
    (cli.home / "config.toml").write_text("capcity = 5\n")
    ran = cli("status")
    assert (ran.code, "`capcity`" in ran.err) == (2, True)


def test_a_full_queue_refuses_agents_before_persons(cli: Cli):
    cli.add("--", "true")
    refused = cli("add", "--", "true", RUNQ_CAPACITY="1", CLAUDECODE="1")
    assert (refused.code, "the queue is full" in refused.err) == (1, True)
    assert cli.add("--", "true", RUNQ_CAPACITY="1") == 2


def test_an_unknown_verb_names_the_nearest(cli: Cli):
    ran = cli("ad", "--", "true")
    assert (ran.code, "did you mean `add`" in ran.err) == (2, True)
