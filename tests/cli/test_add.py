"""`runq add`: what it takes, what it stores, what it answers."""

import json
import time

import pytest

from tests.cli.conftest import Cli


def test_the_answer_in_a_pipe_is_just_the_id(cli: Cli):
    ran = cli.ok("add", "--", "true")
    assert (ran.out, ran.err) == ("1\n", "")
    assert cli.ok("add", "--", "true").out == "2\n"


def test_json_tells_the_id_and_the_state(cli: Cli):
    assert cli.ok("add", "--json", "--", "true").json == {"id": 1, "state": "available", "existing": False}


def test_silent_says_nothing_and_stores(cli: Cli):
    assert cli.ok("add", "--silent", "--", "true").out == ""
    assert cli.states() == {1: "available"}


def test_arguments_are_kept_as_they_are(cli: Cli):
    words = ["printf", "%s", "two words", "", "*", "$HOME", "-x", "--", "new\nline", "tab\t", "ünï"]
    job = cli.job(cli.add("--", *words))
    assert job["argv"] == words


def test_bytes_that_are_no_text_reach_the_command(cli: Cli):
    cli.ok("add", "--", "printf", "%s", b"\xff\xfe")
    cli.work()
    assert cli.ok("output", "1").raw == b"\xff\xfe"
    assert "\\xff" in cli.ok("list").out


def test_options_that_say_where_and_how(cli: Cli):
    (cli.project / "sub").mkdir()
    job = cli.job(
        cli.add(
            *("--queue", "ci", "--priority", "high", "--sequential", "--timeout", "2.5", "--retries", "5"),
            *("--name", "a name", "--meta", "a=1", "--meta", "b=x=y", "--lock", "gpu", "--lock", "net=2"),
            *("--cwd", "sub", "--env", "A=1", "--unique", "key", "--", "true"),
        )
    )
    assert (job["queue"], job["priority"], job["sequential"]) == ("ci", "high", True)
    assert (job["timeout"], job["retries"], job["max_attempts"]) == (2.5, 5, 6)
    assert (job["name"], job["meta"], job["locks"]) == ("a name", {"a": "1", "b": "x=y"}, ["gpu", "net"])
    assert (job["cwd"], job["unique"]) == (str(cli.project / "sub"), "key")
    assert "A" in job["env"]


def test_backoff_and_its_base_set_when_a_failed_command_is_due_again(cli: Cli):
    cli.add("--backoff", "linear", "--backoff-base", "3600", "--", "false")
    cli.work()
    job = cli.job(1)
    assert job["state"] == "scheduled"
    assert _seconds(job["scheduled_at"]) - _seconds(job["created_at"]) >= 3599


def test_a_delay_makes_it_scheduled(cli: Cli):
    job = cli.job(cli.add("--delay", "3600", "--", "true"))
    assert job["state"] == "scheduled"
    assert 3599 <= _seconds(job["scheduled_at"]) - _seconds(job["created_at"]) <= 3601


def test_at_takes_a_time(cli: Cli):
    job = cli.job(cli.add("--at", "2999-01-02T03:04:05Z", "--", "true"))
    assert (job["state"], job["scheduled_at"]) == ("scheduled", "2999-01-02T03:04:05.000Z")


def test_after_waits_for_the_others_in_three_ways(cli: Cli):
    cli.add("--", "true")
    for option in ("--after", "--after-any", "--after-failure"):
        job = cli.job(cli.add(option, "1", "--", "true"))
        assert job["state"] == "blocked"
        assert "job 1" in job["waiting_for"]


def test_a_unique_key_returns_the_live_job(cli: Cli):
    cli.add("--unique", "k", "--", "true")
    again = cli.ok("add", "--unique", "k", "--json", "--", "false")
    assert again.json == {"id": 1, "state": "available", "existing": True}


def test_stdin_comes_from_the_pipe_or_a_file(cli: Cli):
    (cli.project / "in.txt").write_text("from a file")
    cli.ok("add", "--stdin", "-", "--", "cat", stdin=b"from a pipe")
    cli.add("--stdin", "in.txt", "--", "cat")
    cli.work()
    assert cli.ok("output", "1").out == "from a pipe"
    assert cli.ok("output", "2").out == "from a file"


def test_variables_are_set_or_passed_and_their_values_never_shown(cli: Cli):
    cli.add("--env", "SET=secret-1", "--pass-env", "PASSED", "--", "sh", "-c", "echo $SET $PASSED", PASSED="secret-2")
    shown = cli.ok("status", "1", "--json").out + cli.ok("status", "1").out
    assert "secret" not in shown
    cli.work()
    assert cli.ok("output", "1").out == "secret-1 secret-2\n"


def test_on_dead_queues_the_other_command(cli: Cli):
    cli.add("--retries", "0", "--on-dead", '["echo", "handed over"]', "--", "false")
    cli.work()
    assert cli.job(2)["escalated_from"] == 1
    assert cli.ok("output", "2").out == "handed over\n"


def test_a_file_of_json_lines_with_references(cli: Cli):
    lines = [{"argv": ["true"], "ref": "build"}, {"command": "echo 'a b'", "after": ["build"]}]
    ran = cli.ok("add", "--file", "-", stdin="\n".join(json.dumps(line) for line in lines).encode())
    assert ran.out == "1\n2\n"
    assert cli.job(2)["argv"] == ["echo", "a b"]
    assert cli.states() == {1: "available", 2: "blocked"}


def test_a_file_of_one_object(cli: Cli):
    (cli.project / "job.json").write_text('{\n  "argv": ["true"],\n  "kwargs": {"dry_run": true}\n}\n')
    cli.ok("add", "--file", "job.json")
    assert cli.job(1)["argv"] == ["true", "--dry-run"]


def test_a_relative_program_is_found_from_the_folder_it_runs_in(cli: Cli):
    script = cli.project / "run.sh"
    script.write_text("#!/bin/sh\necho here\n")
    script.chmod(0o755)
    assert cli.job(cli.add("--", "./run.sh"))["program"] == str(script)


@pytest.mark.parametrize("option", ["--retries=0", "--retries"])
def test_values_stand_behind_the_option_or_behind_an_equals_sign(cli: Cli, option: str):
    words = [option] if "=" in option else [option, "0"]
    assert cli.job(cli.add(*words, "--", "true"))["max_attempts"] == 1


def _seconds(moment: str) -> float:
    return time.mktime(time.strptime(moment[:19], "%Y-%m-%dT%H:%M:%S"))


def test_times_may_be_written_as_spans(cli: Cli):
    cli.add("--timeout", "15m", "--delay", "2h", "--backoff-base", "1.5m", "--backoff-cap", "1d", "--", "true")
    job = cli.job(1)
    assert (job["state"], job["timeout"]) == ("scheduled", 900.0)
    assert 7100 < float(job["waiting_for"].removeprefix("its time, in ").removesuffix(" s")) <= 7200


def test_what_is_wrong_with_a_jobs_json_is_told_with_line_and_column(cli: Cli):
    said = cli("add", "--file", "-", stdin=b"{]").err
    assert "line 1 column 2" in said and "(char" not in said
    assert "standard input holds no jobs" in cli("add", "--file", "-", stdin=b"").err
