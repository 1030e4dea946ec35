"""What an agent cannot get past by going through jobs, links, variables and closed streams."""

from __future__ import annotations

import os
import subprocess

import pytest

from queue_core.home import locate

from .conftest import CLI, Rig

AGENT = {"CLAUDECODE": "1"}


def rules(rig: Rig, text: str) -> None:
    (rig.home / "rules.toml").write_text(text)
    (rig.home / "rules.toml").chmod(0o600)


def test_an_agents_shell_inside_a_persons_job_is_an_agents_shell(rig: Rig) -> None:
    held = rig.add("--", "true", env=AGENT)
    runq = " ".join(CLI)
    job = rig.sh(f"CLAUDECODE=1 {runq} approve {held}; CLAUDECODE=1 {runq} allow 'rm -rf x'", "--retries", "0")
    rig.drain()
    assert rig.state(held) == "held"
    assert "only a person may" in rig.output(job)
    assert not (rig.home / "rules.toml").exists()


def test_an_agents_replay_does_not_launder_the_variables_it_had_set(rig: Rig) -> None:
    rules(rig, '[[allow]]\nargv = ["true"]\n')
    job = rig.add("--env", f"HOME={rig.folder}/evil", "--", "true", env=AGENT)
    rig.runq("cancel", str(job), env=AGENT)
    rig.runq("dead", "retry", str(job), code=None, env=AGENT)
    assert rig.state(job) in ("held", "cancelled")
    rig.drain()
    assert rig.job(job).attempts == ()


def test_what_a_person_approved_is_what_runs(rig: Rig) -> None:
    tool = rig.folder / "tool"
    evil = rig.folder / "evil"
    evil.write_text("#!/bin/sh\ntouch pwned\n")
    evil.chmod(0o755)
    tool.symlink_to("/usr/bin/true")
    job = rig.add("--", "./tool", env=AGENT)
    rig.runq("approve", str(job))
    tool.unlink()
    tool.symlink_to(evil)
    rig.drain()
    assert not (rig.folder / "pwned").exists()
    assert rig.state(job) == "succeeded"


def test_an_agents_input_comes_from_its_project_whatever_a_rule_says(rig: Rig) -> None:
    rules(rig, '[[allow]]\nargv = ["cat"]\nstdin = true\n')
    (rig.folder / "inside").write_text("mine")
    assert rig.state(rig.add("--stdin", "inside", "--", "cat", env=AGENT)) == "available"
    assert rig.state(rig.add("--stdin", "/etc/hostname", "--", "cat", env=AGENT)) == "held"


def test_a_hand_over_to_a_program_of_an_odd_name_is_refused_and_stops_nobody(rig: Rig) -> None:
    odd = os.fsdecode(os.fsencode(str(rig.folder)) + b"/\xffnotify")
    os.symlink("/usr/bin/true", odd)
    argv = f'["{rig.folder!s}/\\udcffnotify"]'
    refused = rig.runq("add", "--on-dead", argv, "--", "false", code=None)
    assert (refused.returncode, "not valid UTF-8" in refused.stderr) == (2, True)
    job = rig.sh("true")
    rig.drain()
    assert rig.state(job) == "succeeded"


def test_a_variable_that_was_not_set_where_the_job_was_added_is_not_set(rig: Rig) -> None:
    job = rig.sh('echo "[$VIRTUAL_ENV]"')
    rig.drain(env={"VIRTUAL_ENV": "/workers/own"})
    assert rig.output(job) == "[]\n"


@pytest.mark.parametrize("out", [">&-", ">/dev/full"])
def test_a_job_is_stored_once_and_said_to_be_although_nothing_can_be_said(rig: Rig, out: str) -> None:
    script = f'"$@" {out}'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *CLI, "add", "--", "true"],
        env=rig.env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=rig.folder,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert rig.status()["counts"]["available"] == 1


def test_a_command_in_the_usual_home_finds_the_usual_configuration(rig: Rig) -> None:
    usual = locate({"HOME": "/home/somebody"})
    assert locate({"HOME": "/home/somebody", "RUNQ_HOME": usual.data}) == usual
    elsewhere = locate({"HOME": "/home/somebody", "RUNQ_HOME": "/srv/queue"})
    assert elsewhere.config == elsewhere.data == "/srv/queue"


def test_claims_from_before_the_host_was_renamed_are_found(rig: Rig) -> None:
    job = rig.sh("true")
    queue = rig.queue
    queue.store.exchange(
        [],
        worker="gone",
        keeper="gone",
        host="its-former-name",
        want=1,
        max_running=8,
        now=queue.clock(),
        tokens=lambda: "token",
        chance=lambda: 0.0,
    )
    rig.drain()
    assert rig.job(job).attempts[0].outcome == "lost"


def test_one_approval_is_no_approval_of_what_the_agent_has_run_again(rig: Rig) -> None:
    rules(rig, '[[allow]]\nargv = ["false"]\n')
    hidden = '["sh", "-c", "echo ran >> hidden"]'
    job = rig.add("--retries", "0", "--on-dead", hidden, "--", "false", env=AGENT)
    assert rig.state(job) == "held"
    rig.runq("approve", str(job))
    rig.drain()
    assert rig.lines("hidden") == ["ran"]
    rig.runq("dead", "retry", str(job), env=AGENT)
    rig.drain()
    assert rig.lines("hidden") == ["ran"]
    assert [one.state for one in (rig.job(job), rig.job(job + 2))] == ["dead", "held"]


def test_a_persons_replay_of_what_was_approved_is_approved_still(rig: Rig) -> None:
    job = rig.add("--retries", "0", "--", "sh", "-c", "echo ran >> hidden; false", env=AGENT)
    rig.runq("approve", str(job))
    rig.drain()
    rig.runq("dead", "retry", str(job))
    rig.drain()
    assert rig.lines("hidden") == ["ran", "ran"]


def test_what_an_approval_covers_is_shown_wherever_one_is_asked_for(rig: Rig) -> None:
    rules(rig, '[[allow]]\nargv = ["true"]\n')
    added = rig.runq("add", "--on-dead", '["sh", "-c", "rm x"]', "--", "true", env=AGENT)
    assert "if it fails: sh -c 'rm x'" in added.stderr
    listed = rig.runq("list", "--state", "held").stdout
    assert "if it fails: sh -c 'rm x' (/" in listed
    why = rig.status(1)["waiting_for"]
    assert "what takes over if it fails, `sh -c rm x`: no rule covers" in why
