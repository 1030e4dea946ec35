"""`runq output`: the bytes of an attempt, all, the end of them, or as they come."""

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, finish, on_terminal
from tests.helpers import wait_until


def test_the_bytes_come_as_they_were_written(cli: Cli):
    cli.add("--", "printf", "a\\0b\\377\\n\\033[31mred")
    cli.work()
    assert cli.ok("output", "1").raw == b"a\0b\xff\n\x1b[31mred"


def test_each_attempt_has_its_own_output(cli: Cli):
    cli.add("--retries", "1", "--backoff", "immediate", "--", "sh", "-c", "echo run >> log; wc -l < log; exit 1")
    cli.work()
    cli.work()
    assert cli.states() == {1: "dead"}
    assert [cli.ok("output", "1", "--attempt", number).out.strip() for number in ("1", "2")] == ["1", "2"]
    assert cli.ok("output", "1").out.strip() == "2"
    ran = cli("output", "1", "--attempt", "3")
    assert (ran.code, "no attempt 3" in ran.err) == (1, True)


@pytest.mark.parametrize(
    ("written", "lines", "expected"),
    [
        ("a\\nb\\nc\\n", "2", "b\nc\n"),
        ("a\\nb\\nc", "2", "b\nc"),
        ("a\\nb\\n", "9", "a\nb\n"),
        ("a\\n\\n\\n", "2", "\n\n"),
        ("a\\nb\\n", "0", ""),
        ("", "3", ""),
    ],
)
def test_tail_gives_the_last_lines(cli: Cli, written: str, lines: str, expected: str):
    cli.add("--", "printf", written)
    cli.work()
    assert cli.ok("output", "1", "--tail", lines).out == expected


def test_json_tells_where_the_text_lies(cli: Cli):
    cli.add("--", "printf", "one\\ntwo\\377")
    cli.work()
    view = cli.ok("output", "1", "--tail", "1", "--json").json
    assert (view["id"], view["attempt"], view["claim"], view["outcome"], view["exit_code"]) == (1, 1, 1, "exited", 0)
    assert (view["text"], view["offset"], view["next_offset"], view["total_bytes"]) == ("two\ufffd", 4, 8, 8)


def test_when_the_file_is_gone_the_end_is_still_there(cli: Cli):
    cli.add("--", "sh", "-c", "seq 1 9999")
    cli.work()
    shutil.rmtree(cli.home / "runs")
    ran = cli.ok("output", "1")
    assert ran.out.endswith("9998\n9999\n")
    assert len(ran.raw) == 8192
    assert "the last 8192 bytes" in ran.err
    assert cli.ok("output", "1", "--tail", "1").out == "9999\n"


def test_a_job_that_has_not_run_has_none(cli: Cli):
    cli.add("--", "true")
    ran = cli("output", "1")
    assert (ran.code, "has not run yet" in ran.err) == (1, True)
    cli.ok("cancel", "1")
    for words in ([], ["--follow"]):
        ran = cli("output", "1", *words)
        assert (ran.code, "ended without a run" in ran.err) == (1, True)


def test_on_a_terminal_silence_is_told(cli: Cli):
    cli.add("--", "true")
    cli.work()
    assert on_terminal(cli, "output", "1") == "runq: job 1 wrote nothing\n"
    ran = cli.ok("output", "1")
    assert (ran.out, ran.err) == ("", "")


BAD = {
    "output": "id of one job",
    "output 1 2": "id of one job",
    "output x": "positive whole number",
    "output 1 --tail -1": "--tail is a number of lines",
    "output 1 --attempt one": "--attempt is a whole number",
    "output 1 --attempt 0": "--attempt is at least 1",
    "output 1 --follow --json": "give either",
}


@pytest.mark.parametrize("words", BAD)
def test_wrong_usage_is_told(cli: Cli, words: str):
    ran = cli(*words.split())
    assert (ran.code, BAD[words] in ran.err) == (2, True)


def test_follow_shows_what_comes_until_the_end(cli: Cli):
    cli.worker()
    cli.add("--", "sh", "-c", "echo first; while [ ! -e go ]; do sleep 0.02; done; echo last")
    cli.running(1)
    following = cli.start("output", "1", "--follow")
    assert following.stdout is not None
    assert following.stdout.readline() == b"first\n"
    (cli.project / "go").touch()
    ran = finish(following)
    assert (ran.code, ran.out, ran.err) == (0, "last\n", "")


def test_follow_waits_for_a_job_that_has_not_begun(cli: Cli):
    cli.add("--", "echo", "here")
    following = cli.start("output", "1", "--follow")
    assert following.stderr is not None
    assert b"waits for a worker" in following.stderr.readline()
    cli.work()
    assert finish(following).out == "here\n"


def test_follow_begins_at_the_last_lines(cli: Cli):
    cli.add("--", "seq", "5")
    cli.work()
    assert cli.ok("output", "1", "--follow", "--tail", "2").out == "4\n5\n"


def test_following_an_output_that_was_cut_gives_head_marker_and_tail(cli: Cli):
    (cli.home / "config.toml").write_text("output_cap_mb = 0.05\n")
    cli.worker()
    script = "echo begin; while [ ! -e go ]; do sleep 0.02; done; seq 100000; echo end"
    cli.add("--", "sh", "-c", script)
    cli.running(1)
    following = cli.start("output", "1", "--follow")
    assert following.stdout is not None
    assert following.stdout.readline() == b"begin\n"
    (cli.project / "go").touch()
    ran = finish(following)
    kept = cli.ok("output", "1").raw
    assert b"bytes cut here" in kept
    assert ran.raw.endswith(kept[-20_000:])
    numbers = [int(line) for line in ran.out.splitlines() if line.isdigit()]
    assert numbers[:1000] == list(range(1, 1001))
    assert len(numbers) == len(set(numbers))  # nothing came twice


def test_follow_ends_when_a_dead_workers_command_has_ended(cli: Cli):
    worker = cli.worker()
    cli.add("--", "sh", "-c", "echo begun; while [ ! -e go ]; do sleep 0.02; done; echo alone")
    cli.running(1)
    wait_until(lambda: cli.ok("output", "1").out == "begun\n", "the command says something")
    worker.kill()
    worker.wait()
    following = cli.start("output", "1", "--follow")
    (cli.project / "go").touch()
    assert finish(following).out == "begun\nalone\n"
    assert cli.states() == {1: "succeeded"}


def test_no_doorbell_is_left_behind(cli: Cli):
    cli.add("--", "true")
    cli.work()
    cli.ok("output", "1", "--follow")
    cli.ok("wait", "1")
    assert list(Path(cli.paths.bells).iterdir()) == []
