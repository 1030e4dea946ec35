"""`runq prune`, `runq logs` and `runq doctor`."""

import os
import sqlite3

import pytest

from tests.cli.conftest import Cli, finish

SETTINGS = {
    *("capacity", "parallelism", "max_running", "timeout", "grace", "retries", "backoff", "output_cap_mb", "idle"),
    *("after_session", "keep_days", "agents"),
}


def test_pruning_keeps_the_newest_and_removes_the_files_of_the_others(cli: Cli):
    for _ in range(3):
        cli.add("--", "echo", "x")
    cli.add("--delay", "999", "--", "true")
    for _ in range(3):
        cli.work()
    assert cli.ok("prune").out == "0\n"
    assert cli.ok("prune", "--keep", "1").out == "2\n"
    states = cli.states()
    assert sorted(states.values()) == ["scheduled", "succeeded"]
    kept = [str(number) for number, state in states.items() if state == "succeeded"]
    assert os.listdir(cli.home / "runs") == kept


@pytest.mark.parametrize("words", ["--keep -1", "--older-than -1", "--older-than nan", "--keep 1.5", "7"])
def test_what_pruning_does_not_understand_it_refuses(cli: Cli, words: str):
    cli.add("--", "true")
    cli.work()
    assert cli("prune", *words.split()).code == 2
    assert cli.states() == {1: "succeeded"}


def test_logs_show_the_last_lines(cli: Cli):
    ran = cli.ok("logs")
    assert (ran.out, "there is no log yet" in ran.err) == ("", True)
    cli.add("--", "true")
    cli.work()
    lines = cli.ok("logs").out.splitlines()
    assert "job 1" in "".join(lines)
    assert cli.ok("logs", "--lines", "1").out.splitlines() == lines[-1:]
    assert cli.ok("logs", "--json").json["lines"] == lines
    assert cli("logs", "--lines", "-1").code == 2
    assert cli("logs", "--follow", "--json").code == 2


def test_following_the_log_survives_its_rotation(cli: Cli):
    logs = cli.home / "logs"
    logs.mkdir(mode=0o700)
    (logs / "runq.log").write_text("old\n")
    following = cli.start("logs", "--follow")
    assert following.stdout is not None
    assert following.stdout.readline() == b"old\n"
    (logs / "runq.log").rename(logs / "runq.log.1")
    (logs / "runq.log").write_text("new\n")
    assert following.stdout.readline() == b"new\n"
    following.send_signal(2)
    assert finish(following).code == 130


def checks(cli: Cli, **env: str) -> dict[str, str]:
    return {check["name"]: check["level"] for check in cli("doctor", "--json", **env).json["checks"]}


def test_doctor_finds_nothing_wrong_with_a_fresh_home_and_one_in_use(cli: Cli):
    assert cli.ok("doctor", "--json").json["verdict"] == "ok"
    assert not (cli.home / "runq.db").exists()
    cli.add("--", "true")
    view = cli.ok("doctor", "--json").json
    assert view["verdict"] == "ok"
    names = {check["name"] for check in view["checks"]}
    expected = {"home", "file system", "database", "sqlite", "disk", "limits", "agents", "rules", "workers", "spool"}
    assert expected <= names
    assert cli.ok("doctor").lines[-1][:2] == ["verdict", "ok"]


def test_doctor_says_where_each_setting_comes_from(cli: Cli):
    (cli.home / "config.toml").write_text('capacity = 5\ngrace = 1\nagents = "allow"\n')
    view = cli.ok("doctor", "--json", RUNQ_GRACE="2.5", RUNQ_AGENTS="ask").json
    found = {one["name"]: (one["value"], one["source"]) for one in view["settings"]}
    assert found["capacity"] == ("5", "config.toml")
    assert found["grace"] == ("2.5", "RUNQ_GRACE")
    assert found["agents"] == ("allow", "config.toml")
    assert found["retries"] == ("3", "default")
    assert set(found) >= SETTINGS
    assert {"name": "agents", "level": "warning"}.items() <= next(
        check for check in view["checks"] if check["name"] == "agents"
    ).items()


def test_doctor_shows_the_settings_that_were_changed_unless_all_are_asked_for(cli: Cli):
    (cli.home / "config.toml").write_text('capacity = 5\n[escalate.aider]\nrun = ["true"]\n[retry.mine]\nretries = 1\n')
    shown = {line[1]: line[2] for line in cli.ok("doctor").lines if line[0] == "setting"}
    assert shown == {"capacity": "5", "escalate": "aider", "retry": "mine"}
    assert {line[1] for line in cli.ok("doctor", "--all").lines if line[0] == "setting"} >= SETTINGS


def test_a_misspelt_setting_is_told_with_what_was_meant(cli: Cli):
    (cli.home / "config.toml").write_text("paralelism = 5\n")
    ran = cli("list")
    assert (ran.code, "did you mean `parallelism`?" in ran.err) == (2, True)
    (cli.home / "config.toml").unlink()
    found = [one["text"] for one in cli("doctor", "--json", RUNQ_PARALELISM="5").json["checks"]]
    assert any("RUNQ_PARALELISM is set, and is no setting" in text and "RUNQ_PARALLELISM?" in text for text in found)


def test_doctor_takes_no_arguments(cli: Cli):
    ran = cli("doctor", "foo")
    assert (ran.code, "runq doctor takes no arguments" in ran.err) == (2, True)


def test_doctor_names_a_home_that_is_open_to_others(cli: Cli):
    cli.home.chmod(0o750)
    assert checks(cli)["home"] == "wrong"
    assert cli("doctor").code == 1


def test_doctor_names_a_database_that_is_none_or_too_new(cli: Cli):
    (cli.home / "runq.db").write_bytes(b"no database" * 1000)
    assert checks(cli)["database"] == "wrong"
    (cli.home / "runq.db").unlink()
    cli.add("--", "true")
    newer = sqlite3.connect(cli.home / "runq.db")
    newer.execute("PRAGMA user_version = 999")
    newer.close()
    assert checks(cli)["database"] == "wrong"
    assert "newer runq" in cli("doctor").out


def test_doctor_names_a_setting_that_makes_no_sense_and_goes_on(cli: Cli):
    found = checks(cli, RUNQ_CAPACITY="0")
    assert (found["settings"], found["disk"]) == ("wrong", "ok")
    assert cli("doctor", RUNQ_CAPACITY="0").code == 1


def test_doctor_tells_of_little_room_and_of_what_waits_in_the_spool(cli: Cli):
    (cli.home / "spool").mkdir(mode=0o700)
    (cli.home / "spool" / "1-x.json").write_text("[]")
    found = checks(cli, RUNQ_MIN_FREE_MB="999999999")
    assert (found["disk"], found["spool"]) == ("wrong", "note")


def test_doctor_shows_the_workers_that_live(cli: Cli):
    worker = cli.worker()
    view = cli.ok("doctor", "--json").json
    text = next(check["text"] for check in view["checks"] if check["name"] == "workers")
    assert str(worker.pid) in text
