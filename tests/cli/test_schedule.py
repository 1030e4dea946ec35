"""`runq schedule`: adding, looking, resting, removing, and what agents may."""

import json
import re
import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.cli.conftest import AGENT, Cli, on_terminal


def schedules(cli: Cli) -> list[dict[str, Any]]:
    return cli.ok("schedule", "list", "--json").json["schedules"]


def add(cli: Cli, name: str, *words: str, **env: str) -> dict[str, Any]:
    """Add one that runs `true`, hourly where nothing else is said."""
    timing = () if {"--cron", "--every"} & set(words) else ("--every", "1h")
    return cli.ok("schedule", "add", name, *timing, "--json", *words, "--", "true", **env).json["schedule"]


def make_due(cli: Cli, name: str) -> None:
    """As if its time had come just now."""
    with sqlite3.connect(cli.home / "runq.db") as database:
        database.execute("UPDATE schedules SET next_at = unixepoch() - 1 WHERE name = ?", (name,))
    database.close()


def test_what_is_added_is_listed(cli: Cli):
    ran = cli.ok(
        *("schedule", "add", "nightly", "--cron", "30 3 * * mon-fri", "--tz", "Europe/Berlin", "--missed", "skip"),
        *("--queue", "night", "--", "echo", "done"),
    )
    added = schedules(cli)[0]
    assert ran.lines == [["nightly", added["next_at"]]]
    told = ("name", "cron", "every", "tz", "missed", "last_at", "last_job", "paused", "trouble", "argv", "queue")
    assert [added[key] for key in told] == [
        *("nightly", "30 3 * * mon-fri", None, "Europe/Berlin", "skip", None, None, False, None),
        *(["echo", "done"], "night"),
    ]
    assert (added["caller"], added["cwd"]) == ("person", str(cli.project))
    due = datetime.fromisoformat(added["next_at"]).astimezone(ZoneInfo("Europe/Berlin"))
    assert (due.hour, due.minute, due.weekday() < 5) == (3, 30, True)


def test_a_pipe_gets_a_line_a_schedule(cli: Cli):
    every = add(cli, "often", "--every", "90m")
    cron = add(cli, "daily", "--cron", "0 12 * * *", "--tz", "UTC")
    assert cli.ok("schedule", "list").lines == [
        ["daily", "0 12 * * *", "UTC", cron["next_at"], "-", "false", "-", "true"],
        ["often", "every 90m", "-", every["next_at"], "-", "false", "-", "true"],
    ]
    assert cli.ok("schedule").out == cli.ok("schedule", "list").out


def test_a_terminal_gets_a_table_and_the_trouble_below(cli: Cli):
    assert "No schedules." in on_terminal(cli, "schedule", "list")
    assert "Schedule fetch: every 15m, next at 20" in on_terminal(
        cli, "schedule", "add", "fetch", "--every", "15m", "--", "true"
    )
    folder = cli.project / "sub"
    folder.mkdir()
    add(cli, "broken", "--cron", "0 3 * * *", "--tz", "Europe/Berlin", "--cwd", "sub")
    folder.rmdir()
    make_due(cli, "broken")
    cli.ok("schedule", "pause", "fetch")
    cli.work()
    lines = re.sub(r"\x1b\[[0-9;]*m", "", on_terminal(cli, "schedule", "list")).split("\n")
    assert [line.split() for line in lines[:3]] == [
        ["SCHEDULE", "RUNS", "NEXT", "LAST", "COMMAND"],
        ["broken", *["0", "3", "*", "*", "*"], "Europe/Berlin", "due", "true"],
        ["fetch", "every", "15m", "paused", "true"],
    ]
    assert lines[4].startswith("! broken: the folder ")
    assert all(len(line) <= 80 for line in lines)


def test_a_schedule_that_is_due_is_run_and_its_job_told(cli: Cli):
    cli.ok("schedule", "add", "s", "--every", "1h", "--priority", "high", "--", "sh", "-c", "echo $RUNQ_JOB_ID ran")
    make_due(cli, "s")
    cli.work()
    (one,) = schedules(cli)
    assert cli.ok("output", str(one["last_job"])).out == f"{one['last_job']} ran\n"
    job = cli.job(one["last_job"])
    assert (job["name"], job["schedule"], job["priority"]) == ("s", "s", "high")
    cli.work()
    assert len(cli.states()) == 1


def test_the_time_zone_is_this_machines_if_none_is_named(cli: Cli):
    assert add(cli, "s", "--cron", "0 3 * * *", TZ="Asia/Tokyo")["tz"] == "Asia/Tokyo"
    assert schedules(cli)[0]["tz"] == "Asia/Tokyo"  # where the list is read does not matter


def test_a_time_zone_of_the_environment_that_is_none_is_not_taken_for_another(cli: Cli):
    ran = cli("schedule", "add", "s", "--cron", "0 3 * * *", "--", "true", TZ="CET-1CEST")
    assert (ran.code, "there is no time zone 'CET-1CEST'" in ran.err) == (2, True)


def test_a_handlers_job_can_be_scheduled_too(cli: Cli):
    cli.ok("schedule", "add", "s", "--every", "1h", "--handler", "tidy", "--arguments", '{"all": true}')
    assert cli.ok("schedule", "list").lines[0][-1] == "tidy(all=true)"
    make_due(cli, "s")
    cli.work()
    assert (cli.job(1)["state"], cli.job(1)["schedule"]) == ("available", "s")


def test_a_name_is_taken_until_it_is_replaced(cli: Cli):
    add(cli, "s", "--every", "1h")
    ran = cli("schedule", "add", "s", "--every", "2h", "--", "true")
    assert (ran.code, ran.err) == (1, "runq: there is a schedule `s` already; choose another name, or --replace it\n")
    assert add(cli, "s", "--every", "2h", "--replace")["every"] == 7200
    assert [one["every"] for one in schedules(cli)] == [7200]


def test_pause_resume_and_remove(cli: Cli):
    add(cli, "a")
    add(cli, "b")
    assert cli.ok("schedule", "pause", "a", "b", "a").lines == [["a"], ["b"]]
    assert [(one["paused"], one["next_at"]) for one in schedules(cli)] == [(True, None)] * 2
    make_due(cli, "a")
    cli.work()
    assert cli.ok("schedule", "resume", "a", "--json").json["schedules"][0]["paused"] is False
    cli.work()
    assert cli.states() == {}
    assert cli.ok("schedule", "remove", "a", "--json").json == {"removed": ["a"]}
    assert [one["name"] for one in schedules(cli)] == ["b"]


@pytest.mark.parametrize("verb", ["pause", "resume", "remove"])
def test_an_unknown_name_changes_nothing(cli: Cli, verb: str):
    add(cli, "a")
    before = schedules(cli)
    ran = cli("schedule", verb, "a", "unknown")
    assert (ran.code, ran.err) == (
        1,
        "runq: there is no schedule `unknown`; `runq schedule list` shows the schedules there are\n",
    )
    assert schedules(cli) == before


REFUSED: dict[str, tuple[list[str], str]] = {
    "minute": (
        ["add", "s", "--cron", "61 3 * * *", "--", "true"],
        "the minute field (`61`) of the cron line `61 3 * * *`",
    ),
    "never": (["add", "s", "--cron", "0 0 30 2 *", "--", "true"], "`0 0 30 2 *` never fires"),
    "unquoted": (["add", "s", "--cron", "0", "3", "--", "true"], "`3` is too much"),
    "zone": (["add", "s", "--cron", "0 3 * * *", "--tz", "Mars", "--", "true"], "there is no time zone 'Mars'"),
    "interval": (["add", "s", "--every", "soon", "--", "true"], "not 'soon'"),
    "empty interval": (["add", "s", "--every", "", "--", "true"], "not ''"),
    "both": (["add", "s", "--every", "1h", "--cron", "* * * * *", "--", "true"], "either a cron line or an interval"),
    "neither": (["add", "s", "--", "true"], "either a cron line or an interval"),
    "zone of an interval": (["add", "s", "--every", "1h", "--tz", "UTC", "--", "true"], "with a cron line alone"),
    "rule": (["add", "s", "--every", "1h", "--missed", "twice", "--", "true"], "--missed is one of skip, once, all"),
    "no name": (["add", "--every", "1h", "--", "true"], "takes one name"),
    "name": (["add", "a b", "--every", "1h", "--", "true"], "a schedule's name has"),
    "no command": (["add", "s", "--every", "1h"], "there is no command to run"),
    "program": (["add", "s", "--every", "1h", "--", "no-such-program"], "there is no program `no-such-program`"),
    "at": (["add", "s", "--every", "1h", "--at", "2030-01-01", "--", "true"], "knows no option --at"),
    "after": (["add", "s", "--every", "1h", "--after", "1", "--", "true"], "knows no option --after"),
    "action": (["run", "s"], "knows add, list, remove, pause and resume, not `run`"),
    "list of names": (["list", "s"], "takes no names"),
    "options of add": (["remove", "s", "--tz", "UTC"], "--tz goes with `runq schedule add` alone"),
    "command": (["pause", "s", "--", "true"], "a command goes with `runq schedule add` alone"),
    "remove nothing": (["remove"], "say which: runq schedule remove NAME..."),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_sense_is_refused_in_a_sentence_and_stores_nothing(cli: Cli, case: str):
    words, said = REFUSED[case]
    ran = cli("schedule", *words)
    assert (ran.code, said in ran.err, ran.err.count("\n")) == (2, True, 1), ran.err
    assert schedules(cli) == []


def test_input_and_environment_are_those_of_the_moment_it_was_added(cli: Cli):
    words = ("--stdin", "-", "--pass-env", "SECRET", "--", "sh", "-c", "cat; echo $SECRET")
    cli.ok("schedule", "add", "s", "--every", "1h", *words, stdin=b"by\xff", SECRET="mine")
    make_due(cli, "s")
    cli.work()
    assert cli.ok("output", "1").raw == b"by\xffmine\n"
    assert "mine" not in cli.ok("schedule", "list", "--json").out


class TestAgents:
    def test_an_agent_may_schedule_what_it_may_run(self, cli: Cli):
        cli.ok("allow", "true")
        assert add(cli, "s", **AGENT)["caller"] == "agent"
        make_due(cli, "s")
        cli.work()
        assert (cli.job(1)["caller"], cli.job(1)["state"]) == ("agent", "succeeded")

    def test_what_would_wait_for_approval_is_refused_and_nothing_is_held(self, cli: Cli):
        ran = cli("schedule", "add", "s", "--every", "1h", "--", "true", **AGENT)
        assert (ran.code, "ask the user to run this `runq schedule add` themselves" in ran.err) == (1, True)
        assert (schedules(cli), cli.states()) == ([], {})

    def test_a_rule_that_is_taken_back_holds_its_jobs(self, cli: Cli):
        cli.ok("allow", "true")
        add(cli, "s", **AGENT)
        Path(cli.paths.rules_file).unlink()
        make_due(cli, "s")
        cli.work()
        assert cli.states() == {1: "held"}

    def test_an_agent_changes_its_own_schedules_and_no_persons(self, cli: Cli):
        cli.ok("allow", "true")
        add(cli, "agents", **AGENT)
        add(cli, "persons")
        for words in (("remove",), ("pause",), ("resume",)):
            ran = cli("schedule", *words, "agents", "persons", **AGENT)
            why = "only a person may resume" if words == ("resume",) else "`persons` is no agent's schedule"
            assert (ran.code, why in ran.err) == (1, True)
        ran = cli("schedule", "add", "persons", "--every", "2h", "--replace", "--", "true", **AGENT)
        assert (ran.code, "may not replace it; ask the user to do it" in ran.err) == (1, True)
        assert [(one["name"], one["paused"], one["every"]) for one in schedules(cli)] == [
            ("agents", False, 3600),
            ("persons", False, 3600),
        ]
        cli.ok("schedule", "pause", "agents", **AGENT)
        assert cli("schedule", "resume", "agents", **AGENT).code == 1  # a person may have wanted it to rest
        cli.ok("schedule", "remove", "agents", **AGENT)
        assert [one["name"] for one in schedules(cli)] == ["persons"]


def test_health_tells_of_a_schedule_in_trouble(cli: Cli):
    program = cli.project / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    cli.ok("schedule", "add", "s", "--every", "1h", "--", "./program")
    program.unlink()
    make_due(cli, "s")
    cli.work()
    problems = json.loads(cli("health", "--json").out)["problems"]
    assert len(problems) == 1 and problems[0].startswith(f"the schedule s could not queue its job: {program} is gone")
    assert schedules(cli)[0]["trouble"] in problems[0]
    assert cli.states() == {}
