"""Escalation and retry presets on the command line: what is asked for, what is refused, what is shown."""

import json
import subprocess
import sys

import pytest

from tests.cli.conftest import AGENT, Cli, on_terminal

AIDER = '[escalate.aider]\nrun = ["codex", "exec", "{args}"]\n[escalate.codex]\nrun = ["claude", "-p", "of {id}"]\n'


@pytest.fixture
def agents(cli: Cli) -> Cli:
    """Three programs of which only the last one can do it, and rules that hand over between them."""
    folder = cli.project / "bin"
    folder.mkdir()
    for name, code in (("aider", 1), ("codex", 1), ("claude", 0)):
        path = folder / name
        path.write_text(f'#!/bin/sh\necho "{name} $* for $RUNQ_ESCALATED_FROM"\nexit {code}\n')
        path.chmod(0o755)
    cli.env["PATH"] = f"{folder}:{cli.env['PATH']}"
    configure(cli, AIDER)
    return cli


def configure(cli: Cli, text: str) -> None:
    (cli.home / "config.toml").write_text(text)


def failed(cli: Cli) -> int:
    """A job of aider's that was handed over twice."""
    job = cli.add("--retry", "none", "--", "aider", "fix it")
    cli.work()
    return job


def test_a_chain_of_a_jobs_own_is_followed_to_its_end(cli: Cli):
    chain = ("--on-dead", '["sh", "-c", "exit 4"]', "--on-dead", '["echo", "at last"]')
    job = cli.add("--retries", "0", *chain, "--", "false")
    assert cli.job(job)["on_dead"] == [["sh", "-c", "exit 4"], ["echo", "at last"]]
    cli.work()
    assert cli.states() == {1: "dead", 2: "dead", 3: "succeeded"}
    assert cli.ok("output", "3").out == "at last\n"


def test_the_rules_of_the_settings_are_followed_to_their_end(agents: Cli):
    failed(agents)
    assert agents.ok("output", "2").out == "codex exec fix it for 1\n"
    assert agents.ok("output", "3").out == "claude -p of 1 for 2\n"
    assert agents.ok("output", "1").out == "aider fix it for \n"


def test_the_chain_is_shown_from_any_of_its_jobs(agents: Cli):
    failed(agents)
    for one in (1, 2, 3):
        view = agents.job(one)
        assert [(link["id"], link["state"], link["argv"][0]) for link in view["chain"]] == [
            (1, "dead", "aider"),
            (2, "dead", "codex"),
            (3, "succeeded", "claude"),
        ]
        line = "1 aider (dead) -> 2 codex (dead) -> 3 claude (succeeded)"
        assert ["handed_over", line] in agents.ok("status", str(one)).lines
    assert [(agents.job(one)["escalated_from"], agents.job(one)["escalated_to"]) for one in (1, 2, 3)] == [
        (None, 2),
        (1, 3),
        (2, None),
    ]
    assert "1 aider (dead) -> 2 codex (dead) -> 3" in on_terminal(agents, "status", "2", columns=120)


def test_a_job_alone_has_no_chain_to_show(cli: Cli):
    cli.add("--", "true")
    assert (cli.job(1)["chain"], cli.job(1)["escalated_to"]) == ([], None)
    assert "handed_over" not in cli.ok("status", "1").out


def test_a_job_hands_over_after_so_many_failures(cli: Cli):
    configure(cli, "backoff_base = 0")
    job = cli.add("--retries", "5", "--escalate-after", "2", "--on-dead", '["true"]', "--", "false")
    cli.work()
    assert (cli.job(job)["attempt"], cli.job(job)["escalate_after"], cli.states()[2]) == (2, 2, "succeeded")
    assert "(given up after 2 failures)" in cli.job(job)["error"]


@pytest.mark.parametrize(("options", "steps"), [((), 2), (("--on-dead", "[]"), 0), (("--on-dead", '["true"]'), 1)])
def test_a_jobs_own_word_counts_before_the_rules(agents: Cli, options: tuple[str, ...], steps: int):
    job = agents.add(*options, "--", "aider")
    assert len(agents.job(job)["on_dead"]) == steps


@pytest.mark.parametrize(("on_dead", "steps"), [(["true"], 1), ([["true"], ["echo", "x"]], 2), ([], 0), (None, 2)])
def test_a_file_takes_one_command_or_several_or_none(agents: Cli, on_dead: object, steps: int):
    line = json.dumps({"argv": ["aider"], "on_dead": on_dead})
    job = int(agents.ok("add", "--file", "-", stdin=line.encode()).out)
    assert len(agents.job(job)["on_dead"]) == steps


def test_a_step_that_is_not_there_costs_a_hook_nothing_and_the_doctor_tells(agents: Cli):
    (agents.project / "bin" / "claude").unlink()
    assert len(agents.job(agents.add("--", "aider"))["on_dead"]) == 1
    findings = agents.ok("doctor", "--json").json["checks"]
    assert any("[escalate.codex]" in one["text"] and one["level"] == "warning" for one in findings)
    assert not any("[escalate.aider]" in one["text"] for one in findings)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--on-dead", '["no-such-program"]'), "no program `no-such-program`"),
        (("--on-dead", "echo"), "--on-dead takes a JSON list of texts"),
        (("--on-dead", "[]", "--on-dead", '["true"]'), "--on-dead takes a JSON list of texts"),
        (("--on-dead", '["false"]'), "`false` comes twice in the job's chain"),
        (("--on-dead", '["true"]', "--on-dead", '["true"]'), "`true` comes twice in the job's chain"),
        (("--escalate-after", "1"), "escalate_after says when `on_dead` takes over"),
        (("--escalate-after", "0", "--on-dead", '["true"]'), "--escalate-after must be at least 1"),
        (("--retry", "often"), "no retry preset 'often', only default, fast, none, slow"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_stored(cli: Cli, options: tuple[str, ...], words: str):
    ran = cli("add", *options, "--", "false")
    assert (ran.code, cli.stored()) == (2, 0)
    assert words in ran.err


def test_rules_in_a_circle_are_refused_with_their_names(cli: Cli):
    configure(cli, AIDER + '[escalate.claude]\nrun = ["aider", "{args}"]')
    ran = cli("add", "--", "true")
    assert ran.code != 0
    circle = "escalation goes in a circle: aider -> codex -> claude -> aider; remove one of them from config.toml"
    assert circle in ran.err
    assert circle in cli("doctor").out


class TestDeadLetters:
    def test_the_list_says_who_took_over(self, agents: Cli):
        failed(agents)
        assert [line[0] + ": " + line[5] for line in agents.ok("dead", "list").lines] == [
            "2: exited with code 1; handed over to 3",
            "1: exited with code 1; handed over to 2",
        ]
        shown = on_terminal(agents, "dead", "list")
        assert "NEXT" in shown and "job 3" in shown

    @pytest.mark.parametrize("verb", ["retry", "discard"])
    def test_a_bulk_leaves_out_what_others_took_over_and_says_how_many(self, agents: Cli, verb: str):
        failed(agents)
        alone = agents.dead("--", "false")
        assert agents.states()[alone] == "dead"
        shown = agents.ok("dead", verb, "--all", "--dry-run", "--json").json
        assert ([job["id"] for job in shown["jobs"]], shown["left_out"]) == ([alone], 2)
        ran = agents.ok("dead", verb, "--all")
        assert [line[0] for line in ran.lines] == [str(alone)]
        assert "left out 2 dead letters that other jobs took over" in ran.err

    def test_by_its_id_one_can_be_run_again_all_the_same(self, agents: Cli):
        failed(agents)
        assert agents.ok("dead", "retry", "1").lines == [["1", "available"]]


class TestDependents:
    def test_they_go_on_with_the_success_of_whoever_took_over(self, agents: Cli):
        job = agents.add("--retry", "none", "--", "aider")
        after = agents.add("--after", str(job), "--", "true")
        agents.work()
        assert agents.states()[after] == "succeeded"

    def test_while_they_wait_they_are_told_for_whom(self, agents: Cli):
        configure(agents, AIDER.replace("[escalate.codex]", "[escalate.unused]"))
        job = agents.add("--retry", "none", "--queue", "q", "--", "aider")
        after = agents.add("--after", str(job), "--", "true")
        agents.work()
        text = "job 1 to succeed (dead, handed over to job 3, now dead: replay or discard it)"
        assert agents.job(after)["waiting_for"] == text
        agents.ok("pause", "q")
        agents.ok("dead", "retry", "3")
        assert "(dead, handed over to job 3, now available)" in agents.job(after)["waiting_for"]


class TestPolicy:
    def test_what_a_person_approves_is_shown_with_all_its_steps_and_approved_with_them(self, agents: Cli):
        agents.ok("add", "--retry", "none", "--", "aider", "x", **AGENT)
        assert agents.states() == {1: "held"}
        assert agents.job(1)["on_dead"] == [["codex", "exec", "x"], ["claude", "-p", "of 1"]]
        listed = on_terminal(agents, "list", "--state", "held", columns=400)
        folder = agents.project / "bin"
        steps = f"codex exec x ({folder}/codex); then claude -p 'of 1' ({folder}/claude)"
        assert f"if it fails: {steps}" in listed
        assert steps in on_terminal(agents, "status", "1", columns=400)
        agents.ok("approve", "1")
        agents.work()
        assert agents.states() == {1: "dead", 2: "dead", 3: "succeeded"}

    def test_a_step_that_nobody_approved_and_no_rule_covers_waits_for_a_person(self, agents: Cli):
        agents.ok("allow", "aider x")
        assert agents.add("--retry", "none", "--", "aider", "x", **AGENT) == 1
        assert agents.states() == {1: "available"}
        agents.work()
        assert agents.states() == {1: "dead", 2: "held"}
        assert agents.job(2)["error"] == "no rule covers this command"
        agents.ok("allow", "codex exec x")
        agents.ok("approve", "2")
        agents.work()
        assert agents.states()[3] == "succeeded"

    def test_the_persons_rule_covers_a_step_like_any_other_command(self, agents: Cli):
        for pattern in ("aider x", "codex exec x"):
            agents.ok("allow", pattern)
        agents.add("--retry", "none", "--", "aider", "x", **AGENT)
        agents.work()
        assert agents.states() == {1: "dead", 2: "dead", 3: "held"}


class TestPresets:
    def test_one_sets_the_retries_and_a_jobs_own_word_counts_before_it(self, cli: Cli):
        configure(cli, 'retries = 9\n[retry.mine]\nretries = 7\n[retry.slow]\nbackoff = "linear"\n')
        jobs = [
            cli.add(*options, "--", "false")
            for options in ((), ("--retry", "fast"), ("--retry", "mine"), ("--retry", "slow"), ("--retry", "none"))
        ]
        both = cli.add("--retry", "mine", "--retries", "2", "--", "false")
        assert [cli.job(job)["retries"] for job in (*jobs, both)] == [9, 5, 7, 9, 0, 2]

    def test_the_cap_is_the_longest_wait(self, cli: Cli):
        job = cli.add("--backoff-base", "5000", "--backoff-cap", "0", "--retries", "2", "--", "false")
        cli.work()
        assert cli.job(job)["attempt"] == 3

    def test_the_help_names_them(self, cli: Cli):
        shown = cli.ok("add", "--help").out
        for option in ("--retry PRESET", "--backoff-cap SPAN", "--escalate-after N", "default, fast, slow, none"):
            assert option in shown


class TestCirclesInAFile:
    @pytest.mark.parametrize(
        ("lines", "words"),
        [
            ([{"ref": "a", "after": ["b"]}, {"ref": "b", "after": ["a"]}], "line 1: `after` names 'b'"),
            ([{"ref": "a"}, {"ref": "b", "after": ["a", "b"]}], "line 2: `after` names 'b', which is its own `ref`"),
            ([{"after_any": ["b"]}, {"ref": "b"}], "which is the `ref` of the later line 2"),
            ([{"after_failure": ["b"]}, {"ref": "b"}], "jobs can only wait for earlier lines, so that no circle"),
        ],
    )
    def test_a_line_that_waits_for_a_later_one_or_itself_is_refused(self, cli: Cli, lines: list[dict], words: str):
        text = "\n".join(json.dumps({"argv": ["true"], **line}) for line in lines)
        ran = cli("add", "--file", "-", stdin=text.encode())
        assert (ran.code, cli.stored()) == (2, 0)
        assert words in ran.err

    def test_a_name_that_no_line_has_is_told_as_before(self, cli: Cli):
        ran = cli("add", "--file", "-", stdin=b'{"argv": ["true"], "after": ["x"]}')
        assert "no job's id and no `ref` of an earlier line" in ran.err


def test_a_job_without_such_a_setting_loads_no_more_than_before(cli: Cli):
    configure(cli, "retries = 2\n")
    modules = {"queue_core.escalation", "queue_core.backoff", "queue_core.sqlite.escalate"}
    assert loaded(cli) & modules == set()
    configure(cli, AIDER)
    assert loaded(cli) & modules == {"queue_core.escalation"}


def loaded(cli: Cli) -> set[str]:
    """The modules that `runq add -- true` has loaded when it ends."""
    script = (
        "import os, sys\n"
        "leave = os._exit\n"
        "os._exit = lambda code: (os.write(2, ' '.join(sys.modules).encode()), leave(code))\n"
        "sys.argv = ['runq', 'add', '--', 'true']\n"
        "from queue_core.launch import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", script], env=cli.env, capture_output=True, check=True)
    return set(done.stderr.decode().split())


def test_health_counts_no_dead_letter_that_another_job_has_taken_over(cli: Cli):
    cli.add("--retries", "0", "--on-dead", '["true"]', "--", "false")
    cli.work()
    assert cli.ok("health", "--json").json["problems"] == []
    cli.add("--retries", "0", "--on-dead", '["false", "too"]', "--", "false")
    cli.work()
    (problem,) = cli.ok("health", "--json").json["problems"]
    assert problem.startswith("1 dead letter:"), "only the end of the chain"
