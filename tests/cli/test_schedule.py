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
    "no command": (
        ["add", "s", "--every", "1h"],
        "behind `--`: runq schedule add NAME --every 15m -- PROGRAM [ARG...]",
    ),
    "empty command": (["add", "s", "--every", "1h", "--", ""], "runq schedule add NAME --every 15m -- PROGRAM"),
    "control characters": (["add", "a", "b\n\x1b[2J", "--every", "1h", "--", "true"], "`b\\n\\e[2J` is too much"),
    "control characters in the action": (["a\nb"], "not `a\\nb`"),
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
        for verb in ("remove", "pause", "resume"):
            ran = cli("schedule", verb, "agents", "persons", **AGENT)
            assert (ran.code, "`persons` is no agent's schedule" in ran.err) == (1, True)
        ran = cli("schedule", "add", "persons", "--every", "2h", "--replace", "--", "true", **AGENT)
        assert (ran.code, "may not replace it; ask the user to do it" in ran.err) == (1, True)
        assert [(one["name"], one["paused"], one["every"]) for one in schedules(cli)] == [
            ("agents", False, 3600),
            ("persons", False, 3600),
        ]
        cli.ok("schedule", "pause", "agents", **AGENT)
        cli.ok("schedule", "resume", "agents", **AGENT)
        cli.ok("schedule", "remove", "agents", **AGENT)
        assert [one["name"] for one in schedules(cli)] == ["persons"]

    @pytest.mark.parametrize("who", ["agent", "hook"])
    def test_a_persons_pause_is_undone_by_a_person_alone(self, cli: Cli, who: str):
        cli.ok("allow", "true")
        env = AGENT if who == "agent" else cli.hook_env
        cli.ok("schedule", "add", "beat", "--every", "1h", "--", "true", **env)
        cli.ok("schedule", "pause", "beat")
        again = ("schedule", "add", "beat", "--replace", "--every", "1s", "--", "true")
        for words in (("schedule", "resume", "beat"), ("schedule", "remove", "beat"), again):
            ran = cli(*words, **env)
            assert (ran.code, "`beat` was paused by a person, who alone may" in ran.err) == (1, True), ran.err
        (one,) = schedules(cli)
        assert (one["paused"], one["paused_by"], one["every"]) == (True, "person", 3600)
        assert cli.ok(*again).lines == [["beat", "-"]]
        assert schedules(cli)[0]["paused_by"] == "person"
        assert "rests like the one before it" in on_terminal(cli, *again)

    def test_what_a_schedule_of_a_handler_is_refused_for_names_the_handler(self, cli: Cli):
        ran = cli("schedule", "add", "s", "--every", "1h", "--handler", "tidy", **AGENT)
        assert (ran.code, ran.err.startswith("runq: a job for the handler `tidy` was not scheduled: ")) == (1, True)
        assert "runq allow" not in ran.err and "``" not in ran.err

    def test_a_step_that_no_rule_covers_is_named(self, cli: Cli):
        cli.ok("allow", "true")
        words = ("schedule", "add", "s", "--every", "1h", "--on-dead", '["echo", "help"]', "--", "true")
        ran = cli(*words, **AGENT)
        assert (ran.code, "`echo help`: no rule covers" in ran.err) == (1, True), ran.err

    def test_what_a_rule_forbids_was_not_scheduled(self, cli: Cli):
        rules = Path(cli.paths.rules_file)
        rules.write_text('[[deny]]\nargv = ["true"]\nreason = "mine"\n')
        rules.chmod(0o600)
        ran = cli("schedule", "add", "s", "--every", "1h", "--", "true", **AGENT)
        assert (ran.code, ran.err.startswith("runq: `true` was not scheduled: ")) == (1, True), ran.err
        assert "not queued" not in ran.err
        assert schedules(cli) == []

    def test_a_command_is_shown_without_what_could_act_on_a_terminal(self, cli: Cli):
        ran = cli("schedule", "add", "s", "--every", "1h", "--", "echo", "a b", "\x1b[2J\n", **AGENT)
        assert ran.code == 1 and "\x1b" not in ran.err and ran.err.count("\n") == 1

    def test_agents_have_so_many_and_no_more(self, cli: Cli):
        cli.ok("allow", "true")
        add(cli, "a0", **AGENT)
        columns = "cron, every, zone, missed, job, created_at, caller, next_at, decided_at"
        copy = f"INSERT INTO schedules (name, {columns}) SELECT ?, {columns} FROM schedules WHERE name = 'a0'"
        with sqlite3.connect(cli.home / "runq.db") as database:
            database.executemany(copy, [(f"a{number}",) for number in range(1, 20)])
        database.close()
        ran = cli("schedule", "add", "more", "--every", "1h", "--", "true", **AGENT)
        assert (ran.code, "agents have 20 schedules" in ran.err) == (1, True), ran.err
        add(cli, "persons")


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


def test_json_shows_all_that_a_schedule_carries_but_no_values_of_variables(cli: Cli):
    (cli.project / "in.txt").write_text("input")
    words = (
        *("--queue", "q", "--priority", "high", "--sequential", "--delay", "1", "--timeout", "5", "--retries", "7"),
        *("--unique", "U", "--lock", "L=2", "--env", "A=secret", "--stdin", "in.txt", "--name", "nm"),
        *("--meta", "k=v", "--on-dead", '["echo", "x"]', "--escalate-after", "2"),
    )
    one = add(cli, "s", *words)
    told = {
        "queue": "q",
        "priority": "high",
        "sequential": True,
        "delay": 1,
        "timeout": 5,
        "retries": 7,
        "unique": "U",
        "locks": ["L"],
        "name": "s",
        "job_name": "nm",
        "meta": {"k": "v"},
        "on_dead": [["echo", "x"]],
        "escalate_after": 2,
        "stdin_path": str(cli.project / "in.txt"),
        "has_input": True,
        "caller": "person",
        "handler": None,
        "arguments": {},
        "paused_by": None,
    }
    assert {key: one[key] for key in told} == told
    assert "A" in one["env"] and one["on_dead_programs"][0].endswith("/echo") and one["program"].startswith("/")
    assert "secret" not in json.dumps(one)
    with sqlite3.connect(cli.home / "runq.db") as database:
        database.execute("UPDATE schedules SET job = 'no JSON'")
    database.close()
    assert schedules(cli)[0].keys() == one.keys()


def test_jobs_are_listed_by_schedule_and_by_handler(cli: Cli):
    add(cli, "s")
    cli.ok("schedule", "add", "h", "--every", "1h", "--handler", "tidy")
    cli.add("--", "true")
    make_due(cli, "s")
    make_due(cli, "h")
    cli.work()
    by_schedule = cli.ok("list", "--schedule", "s", "--json").json["jobs"]
    by_handler = cli.ok("list", "--handler", "tidy", "--json").json["jobs"]
    assert [job["argv"] for job in by_schedule] == [["true"]]
    assert [cli.job(job["id"])["schedule"] for job in by_handler] == ["h"]
    assert cli.ok("list", "--schedule", "none").out == ""
    assert len(cli.states()) == 3


def test_a_name_is_echoed_without_what_could_act_on_a_terminal(cli: Cli):
    ran = cli("schedule", "remove", "a\nb\x1b[2J")
    assert (ran.code, "there is no schedule 'a\\nb\\x1b[2J'" in ran.err, ran.err.count("\n")) == (1, True, 1)


def test_a_key_that_somebody_elses_job_has_is_told(cli: Cli):
    cli.ok("schedule", "add", "backup", "--every", "1h", "--unique", "backup", "--", "true")
    cli.add("--unique", "backup", "--delay", "1h", "--", "sh", "-c", "anything")
    make_due(cli, "backup")
    cli.work()
    said = "job 1 (scheduled) has its unique key `backup`"
    assert schedules(cli)[0]["trouble"] == said
    assert any(said in problem for problem in json.loads(cli("health", "--json").out)["problems"])


def test_an_agents_job_that_waits_for_approval_does_not_keep_a_persons_schedule_from_its_key(cli: Cli):
    cli.ok("schedule", "add", "backup", "--every", "1h", "--unique", "backup", "--", "true")
    cli("add", "--unique", "backup", "--", "sh", "-c", "anything", **AGENT)
    make_due(cli, "backup")
    cli.work()
    assert sorted(cli.states().values()) == ["cancelled", "succeeded"]


LONG = "0,5,10,15,20,25,30,35,40,45,50,55 8-18 * JAN,FEB,MAR MON-FRI"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_narrow_terminal_gets_cron_line_zone_and_command_in_full(cli: Cli, width: int):
    words = ("sh", "-c", "make -C /srv/project/with/a/long/path backup && echo all is well that ends well")
    cli.ok("schedule", "add", "nightly-backup", "--cron", LONG, "--tz", "America/Argentina/Buenos_Aires", "--", *words)
    add(cli, "plain", "--cron", "30 3 * * *", "--tz", "Europe/Berlin")
    shown = re.sub(r"\x1b\[[0-9;]*m", "", on_terminal(cli, "schedule", "list", columns=width))
    lines = shown.split("\n")
    assert all(len(line) <= width for line in lines) and "…" not in shown
    starts = [lines[0].index(heading) for heading in ("SCHEDULE", "RUNS", "NEXT", "LAST", "COMMAND")]
    spans = zip(starts, [*starts[1:], None], strict=True)
    cells = ["".join(line[start:end] for line in lines[1:]) for start, end in spans]
    squeezed = [re.sub(r"\s", "", cell) for cell in cells]
    assert (LONG + "America/Argentina/Buenos_Aires").replace(" ", "") in squeezed[1]
    assert "30 3 * * *" in cells[1] and "Europe/Berlin" in cells[1]
    assert "alliswellthatendswell" in squeezed[4]
    assert squeezed[0] == "nightly-backupplain"
