"""Who asks follows from the environment, and decides what may be done."""

import os

import pytest

from tests.cli.conftest import AGENT, Cli


def test_the_caller_follows_from_the_environment(cli: Cli):
    environments = [{}, AGENT, {"GEMINI_CLI": "1"}, cli.hook_env, {"CLAUDE_PROJECT_DIR": "/x"}]
    for env in environments:
        cli.ok("add", "--", "true", **env)
    assert [cli.job(number)["caller"] for number in range(1, 6)] == ["person", "agent", "agent", "hook", "person"]


def test_a_hook_typed_by_a_person_is_a_hook_and_one_of_an_agent_is_not(cli: Cli):
    cli.ok("hook", "--", "true", stdin=b"{}")
    cli.ok("hook", "--", "true", stdin=b"{}", **AGENT)
    assert [cli.job(number)["caller"] for number in (1, 2)] == ["hook", "agent"]


def test_inside_a_job_the_caller_is_that_jobs(cli: Cli):
    cli.add("--", "true")
    cli.add("--", "true", **AGENT)
    for inside in ("1", "2", "99", "x"):
        cli.ok("add", "--", "true", RUNQ_JOB_ID=inside)
    assert [cli.job(number)["caller"] for number in (3, 4, 5, 6)] == ["person", "agent", "agent", "agent"]


def test_session_and_project_come_along(cli: Cli):
    cli.ok("add", "--", "true", CLAUDE_CODE_SESSION_ID="s-9", **cli.hook_env)
    job = cli.job(1)
    assert (job["session"], job["project"]) == ("s-9", str(cli.project))


def test_an_agents_job_waits_for_a_person(cli: Cli):
    ran = cli.ok("add", "--", "git", "status", **AGENT)
    assert ran.out == "1\n"
    assert "look with `runq approve --show 1`, then `runq approve 1` (git status)" in ran.err
    job = cli.job(1)
    assert (job["state"], "approve 1" in job["waiting_for"]) == ("held", True)
    cli.work()
    assert cli.states() == {1: "held"}


def test_a_person_approves_and_it_runs(cli: Cli):
    cli.add("--", "echo", "approved", **AGENT)
    assert cli.ok("approve", "1").lines == [["1", "available"]]
    cli.work()
    assert cli.ok("output", "1").out == "approved\n"


def test_a_person_rejects_and_it_never_runs(cli: Cli):
    cli.add("--", "touch", "ran", **AGENT)
    assert cli.ok("reject", "1").lines == [["1", "cancelled"]]
    cli.work()
    assert not (cli.project / "ran").exists()


@pytest.mark.parametrize("who", ["agent", "hook", "an agent's job"])
def test_only_a_person_decides(cli: Cli, who: str):
    cli.add("--", "git", "status", **AGENT)
    env = {"agent": AGENT, "hook": cli.hook_env, "an agent's job": {"RUNQ_JOB_ID": "1"}}[who]
    for words in (["approve", "1"], ["reject", "1"], ["allow", "git status"]):
        ran = cli(*words, **env)
        assert (ran.code, "only a person" in ran.err) == (1, True)
    assert cli.states() == {1: "held"}
    assert not (cli.home / "rules.toml").exists()


def test_what_a_rule_allows_runs_unasked(cli: Cli):
    cli.ok("allow", "git status")
    assert cli.ok("add", "--json", "--", "git", "status", **AGENT).json["state"] == "available"
    assert cli.ok("add", "--json", "--", "git", "status", "--short", **AGENT).json["state"] == "held"
    assert cli.ok("add", "--json", "--env", "GIT_DIR=/x", "--", "git", "status", **AGENT).json["state"] == "held"


def test_a_folder_outside_the_project_is_denied_to_agents(cli: Cli):
    ran = cli("add", "--cwd", "/", "--", "true", **AGENT)
    assert (ran.code, "outside the folders" in ran.err) == (1, True)
    assert cli.states() == {}


def test_an_agents_replay_goes_through_the_rules_again(cli: Cli):
    cli.add("--retries", "0", "--", "false", **AGENT)
    cli.ok("approve", "1")
    cli.work()
    assert cli.states() == {1: "dead"}
    assert cli.ok("dead", "retry", "1", **AGENT).lines == [["1", "held"]]
    cli.ok("cancel", "1")
    assert cli.ok("dead", "retry", "1").lines == [["1", "available"]]


def test_a_job_whose_folder_leads_elsewhere_since_runs_where_the_person_was_shown(cli: Cli):
    """Once approved it must not be held for ever because a link stands in the place of its folder."""
    (cli.project / "before").mkdir()
    (cli.project / "real").mkdir()
    cli.add("--cwd", "before", "--", "sh", "-c", "pwd -P", **AGENT)
    (cli.project / "before").rmdir()
    (cli.project / "before").symlink_to("real")
    real = os.path.realpath(cli.project / "real")
    assert f"  folder      {real}\n" in cli.ok("approve", "--show", "1").out
    cli.ok("approve", "1")
    cli.work()
    assert cli.ok("output", "1").out == f"{real}\n"
