"""`runq stats`: as JSON, as lines, as tables; of a window, of a queue."""

import re
import sqlite3
from typing import Any

import pytest

from tests.cli.conftest import Cli, on_terminal

COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def a_little_work(cli: Cli) -> None:
    """Three jobs: one well, one dead after a retry, one that waits in another queue."""
    cli.add("--", "true")
    cli.add("--retries", "1", "--backoff", "immediate", "--", "false")
    cli.work()
    cli.add("--queue", "ci", "--delay", "3600", "--", "true")


def rewrite_times(cli: Cli, seconds: float) -> None:
    """Let all of it have happened so much earlier."""
    connection = sqlite3.connect(cli.home / "runq.db")
    with connection:
        connection.execute("UPDATE jobs SET created_at = created_at - ?1, finished_at = finished_at - ?1", (seconds,))
        connection.execute(
            "UPDATE attempts SET started_at = started_at - ?1, finished_at = finished_at - ?1", (seconds,)
        )
    connection.close()


def test_the_json_has_counts_rates_and_times(cli: Cli):
    a_little_work(cli)
    view: dict[str, Any] = cli.ok("stats", "--json").json
    assert view["jobs"] == {"added": 3, "succeeded": 1, "dead": 1, "cancelled": 0}
    assert (view["hours"], view["jobs_per_hour"]["added"]) == (24.0, 0.12)
    assert (view["attempts"], view["outcomes"], view["failed"]) == (3, {"exited": 3}, 2)
    assert (view["retries"], view["retry_rate"]) == (1, 0.3333)
    for key in ("waited", "ran"):
        times = view[key]
        assert 0 <= times["p50"] <= times["p90"] <= times["p99"] <= times["max"] < 60
    assert set(view["queues"]) == {"ci", "default"}
    assert view["queues"]["ci"]["ran"]["p50"] is None
    assert sorted(one["program"].rpartition("/")[2] for one in view["programs"]) == ["false", "true"]
    assert (view["now"]["scheduled"], view["complete"], view["all_timed"]) == (1, True, True)


def test_a_pipe_gets_lines(cli: Cli):
    a_little_work(cli)
    lines = cli.ok("stats").lines
    assert ["jobs", "dead", "1", "0.04"] in lines
    assert ["outcome", "exited", "3"] in lines
    assert ["now", "scheduled", "1"] in lines
    (queue,) = [line for line in lines if line[:2] == ["queue", "ci"]]
    assert queue == ["queue", "ci", "1", *["0"] * 6, *["-"] * 8, "0.0"]
    assert len({len(line) for line in lines if line[0] in ("queue", "program")}) == 1


def test_a_terminal_gets_tables_that_fit_it(cli: Cli):
    a_little_work(cli)
    shown = COLOURS.sub("", on_terminal(cli, "stats"))
    assert shown.startswith("The last 24 h of all queues\n")
    assert "Jobs      3 added, 1 succeeded, 1 dead, 0 cancelled" in shown
    assert "2 failed, 1 retry (33%)" in shown
    assert re.search(r"^waited +\S+ \S+", shown, re.M)
    assert re.search(r"^default +2 +1 +1 +1 ", shown, re.M)
    assert re.search(r"^false +1 +0 +1 +1 ", shown, re.M)
    assert max(len(line) for line in shown.splitlines()) <= 80


def test_a_queue_alone(cli: Cli):
    a_little_work(cli)
    view = cli.ok("stats", "--queue", "ci", "--json").json
    assert (view["jobs"]["added"], view["attempts"], list(view["queues"])) == (1, 0, ["ci"])


def test_nothing_yet_is_no_error(cli: Cli):
    assert cli.ok("stats", "--json").json["attempts"] == 0
    assert on_terminal(cli, "stats") == "No jobs in the last 24 h.\n"


def test_a_queue_that_never_was_is_told_with_those_there_are(cli: Cli):
    cli.add("--queue", "ci", "--", "true")
    for words in (["stats"], ["list"], ["dead", "list"], ["dead", "retry", "--all"]):
        ran = cli(*words, "--queue", "co")
        assert ran.code == (1 if "--all" in words else 0), words
        assert "there is no queue 'co'; the queues are: ci" in ran.err


def test_what_happened_before_the_window_is_left_out(cli: Cli):
    a_little_work(cli)
    rewrite_times(cli, 2 * 3600)
    assert cli.ok("stats", "--since", "90m", "--json").json["attempts"] == 0
    view = cli.ok("stats", "--since", "3h", "--json").json
    assert (view["attempts"], view["jobs"]["added"], view["hours"]) == (3, 3, 3.0)


def test_it_says_when_the_window_begins_before_what_is_kept(cli: Cli):
    a_little_work(cli)
    assert cli.ok("stats", "--since", "2d", "--json", RUNQ_KEEP_DAYS="1").json["complete"] is False
    assert "have been pruned are not counted" in on_terminal(cli, "stats", "--since", "2d", RUNQ_KEEP_DAYS="1")


@pytest.mark.parametrize("since", ["soon", "24", "-1h", "2999-01-01", "0m", ""])
def test_a_window_that_makes_no_sense_is_refused(cli: Cli, since: str):
    ran = cli("stats", "--since", since)
    assert (ran.code, ran.out) == (2, "")
    assert "since is a span such as 90m, 24h or 7d" in ran.err


def test_what_a_job_carries_cannot_act_on_the_terminal(cli: Cli):
    evil = cli.project / "a\x1b[2Jb"
    evil.write_text("#!/bin/sh\n")
    evil.chmod(0o755)
    cli.add("--", str(evil))
    cli.work()
    assert "\x1b[2J" not in on_terminal(cli, "stats")
    assert "\\e[2J" in cli.ok("stats").out
