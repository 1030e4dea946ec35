"""`runq cancel`, `pin`, `pause` and their like: what changes, and that nothing does when an id is wrong."""

import os

import pytest

from tests.cli.conftest import AGENT, Cli, on_terminal
from tests.helpers import wait_until


def test_a_waiting_job_is_cancelled_and_never_runs(cli: Cli):
    cli.add("--", "touch", "ran")
    assert cli.ok("cancel", "1").lines == [["1", "cancelled"]]
    cli.work()
    assert not (cli.project / "ran").exists()


def test_a_running_job_is_stopped(cli: Cli):
    cli.worker()
    cli.add("--", "sleep", "600")
    cli.running(1)
    cli.ok("cancel", "1")
    wait_until(lambda: cli.states() == {1: "cancelled"}, "the job is cancelled")
    assert cli.job(1)["outcome"] == "cancelled"


def test_what_has_ended_cannot_be_cancelled(cli: Cli):
    cli.dead()
    cli.add("--", "true")
    cli.work()
    ran = cli("cancel", "1", "2")
    assert ran.code == 1
    assert "runq dead discard 1" in ran.err
    assert "job 2 has succeeded already" in ran.err
    assert cli.states() == {1: "dead", 2: "succeeded"}


def test_cancelling_twice_is_no_error(cli: Cli):
    cli.add("--", "true")
    cli.ok("cancel", "1", "1")
    assert cli.ok("cancel", "1").lines == [["1", "cancelled"]]


def test_dependents_are_cancelled_with_it(cli: Cli):
    cli.add("--", "true")
    cli.add("--after", "1", "--", "true")
    cli.ok("cancel", "1")
    assert cli.states() == {1: "cancelled", 2: "cancelled"}
    assert "job 1" in cli.job(2)["error"]


@pytest.mark.parametrize("verb", ["cancel", "approve", "reject", "pin", "unpin", "dead retry", "dead discard"])
def test_one_wrong_id_and_nothing_is_changed(cli: Cli, verb: str):
    cli.add("--", "git", "status", **AGENT)
    for other, code in (("99", 1), ("x", 2), ("-1", 2)):
        ran = cli(*verb.split(), "1", other)
        assert (ran.code, ran.out) == (code, "")
    job = cli.job(1)
    assert (job["state"], job["pinned"]) == ("held", False)


@pytest.mark.parametrize("verb", ["approve", "reject", "dead retry", "dead discard"])
def test_what_does_not_apply_is_told_with_the_job(cli: Cli, verb: str):
    cli.add("--", "true")
    ran = cli(*verb.split(), "1")
    assert (ran.code, "job 1 is available" in ran.err) == (1, True)


@pytest.mark.parametrize("verb", ["cancel", "approve", "reject", "pin", "unpin"])
def test_an_id_is_needed(cli: Cli, verb: str):
    ran = cli(verb)
    assert (ran.code, f"runq {verb} ID" in ran.err) == (2, True)


def test_json_tells_what_became_of_each(cli: Cli):
    cli.add("--", "git", "status", **AGENT)
    assert cli.ok("approve", "1", "--json").json == {"jobs": [{"id": 1, "state": "available"}]}


def test_a_pinned_job_is_spared_by_pruning(cli: Cli):
    for _ in range(2):
        cli.add("--", "true")
    cli.work()
    cli.ok("pin", "1")
    assert cli.ok("prune", "--older-than", "0").out == "1\n"
    assert cli.states() == {1: "succeeded"}
    cli.ok("unpin", "1")
    assert cli.ok("prune", "--keep", "0", "--json").json == {"pruned": 1}
    assert cli.states() == {}


def test_a_paused_queue_hands_out_nothing(cli: Cli):
    cli.add("--queue", "ci", "--", "true")
    cli.add("--", "true")
    assert cli.ok("pause", "ci").lines == [["ci", "paused"]]
    cli.work()
    assert cli.states() == {1: "available", 2: "succeeded"}
    assert cli.ok("resume", "ci").lines == [["ci", "open"]]
    cli.work()
    assert cli.states() == {1: "succeeded", 2: "succeeded"}


def test_a_queue_can_be_paused_before_it_has_jobs(cli: Cli):
    cli.ok("pause", "later")
    cli.add("--queue", "later", "--", "true")
    cli.work()
    assert cli.states() == {1: "available"}


def test_all_queues_are_paused_and_resumed_at_once(cli: Cli):
    cli.add("--queue", "a", "--", "true")
    cli.add("--queue", "b", "--", "true")
    assert cli.ok("pause").lines == [["a", "paused"], ["b", "paused"]]
    assert cli.ok("resume", "--json").json == {"queues": {"a": {"paused": False}, "b": {"paused": False}}}


def test_pausing_all_says_that_it_means_queues_to_come_too(cli: Cli):
    cli.add("--queue", "a", "--", "true")
    shown = on_terminal(cli, "pause")
    assert shown.startswith("Paused all queues, those to come too (a). What runs goes on; `runq resume` hands out")
    cli.add("--queue", "b", "--", "true")
    problems = cli.ok("health", "--json").json["problems"]
    assert [one for one in problems if "paused" in one] == [
        "2 jobs wait in paused queues (a, b): `runq resume` hands out again, of a queue or of all"
    ]
    assert on_terminal(cli, "resume") == "Resumed all queues, those to come too (a, b).\n"
    assert cli.ok("health", "--json").json["problems"] == []


def test_health_names_the_paused_queue_in_which_jobs_wait(cli: Cli):
    cli.ok("pause", "ci")
    assert cli.ok("health", "--json").json["problems"] == []
    cli.add("--queue", "ci", "--", "true")
    (problem,) = cli.ok("health", "--json").json["problems"]
    assert problem == "1 job waits in the paused queue ci: `runq resume ci` hands out again"


def test_a_person_is_told_once_that_it_is_too_late_to_cancel(cli: Cli):
    cli.dead()
    assert on_terminal(cli, "cancel", "1") == "runq: job 1 is a dead letter; `runq dead discard 1` gives it up\n"


def test_resuming_a_queue_that_does_not_exist_names_those_that_do(cli: Cli):
    cli.ok("pause", "ci")
    ran = cli("resume", "co")
    assert (ran.code, "ci" in ran.err) == (1, True)
    assert list(cli.ok("status", "--json").json["queues"]) == ["ci"]


def test_a_queues_name_that_could_not_be_typed_is_refused(cli: Cli):
    assert cli("pause", "a b").code == 2
    assert cli("pause", "a", "b").code == 2


@pytest.mark.parametrize("who", ["agent", "hook"])
def test_a_queue_that_a_person_has_paused_is_a_persons_to_resume(cli: Cli, who: str):
    env = AGENT if who == "agent" else cli.hook_env
    cli.ok("pause", "ci")
    cli.ok("pause", "ci", **env)
    for words in (("resume", "ci"), ("resume",)):
        ran = cli(*words, **env)
        said = "the queue ci was paused by a person, who alone may resume it; ask the user to do it"
        assert (ran.code, ran.err) == (1, f"runq: {said}\n")
    assert cli.ok("status", "--json").json["queues"]["ci"]["paused"] is True
    cli.ok("resume", "ci")
    cli.ok("pause", "ci", **env)
    cli.ok("resume", "ci", **env)
    cli.ok("pause")
    cli.add("--queue", "new", "--", "true")
    assert "all queues were paused by a person" in cli("resume", **env).err
    assert "the queue new was paused by a person" in cli("resume", "new", **env).err


class TestWhatIsAskedFor:
    """`approve --show`: a person who decides has to see everything, and nobody else may."""

    def ask(self, cli: Cli, *options: str, stdin: str = "") -> None:
        cli.ok("add", *options, "--", "env", "-S", "two\nlines", stdin=stdin.encode(), **AGENT)

    def test_it_is_shown_in_full_and_nothing_is_approved(self, cli: Cli) -> None:
        self.ask(cli, "--env", "GIT_PAGER=sh -c x\n  folder  /safe", "--stdin", "-", stdin="rm -rf ~")
        shown = cli.ok("approve", "--show", "1")
        assert [line.split(None, 1) for line in shown.out.splitlines()[1:4]] == [
            ["command", "env -S $'two\\nlines'"],
            ["program", os.path.realpath("/usr/bin/env")],
            ["folder", str(cli.project)],
        ]
        assert "  variable    GIT_PAGER=$'sh -c x\\n  folder  /safe'\n" in shown.out
        assert "  input       rm -rf ~\n" in shown.out
        assert "  asked by    an agent in " in shown.out
        assert cli.ok("status", "1", "--json").json["state"] == "held"

    def test_what_else_decides_is_shown_where_it_is_not_the_usual(self, cli: Cli) -> None:
        self.ask(cli, "--retries", "0")
        names = [line.split()[0] for line in cli.ok("approve", "--show", "1").out.splitlines()[1:]]
        assert names == ["command", "program", "folder", "timeout", "asked", "because"]  # an agent's always has one
        given = ("--queue", "ci", "--priority", "high", "--retries", "2", "--timeout", "90", "--unique", "a\nb")
        self.ask(cli, *given, "--lock", "db", "--lock", "net", "--sequential", "--at", "2040-01-02T03:04:05Z")
        shown = cli.ok("approve", "--show", "2").out
        for line in (
            "  queue       ci, where it runs alone\n",
            "  priority    high\n",
            "  attempts    3 at most\n",
            "  not before  2040-01-02T03:04:05.000Z\n",
            "  timeout     90 s an attempt\n",
            "  locks       db, net\n",
            "  unique      a\\nb\n",
        ):
            assert line in shown
        (asked,) = cli.ok("approve", "--show", "2", "--json").json["jobs"]
        assert (asked["queue"], asked["priority"], asked["retries"]) == ("ci", "high", 2)
        assert (asked["sequential"], asked["locks"], asked["unique"]) == (True, ["db", "net"], "a\nb")
        assert (asked["scheduled_at"], asked["timeout"]) == ("2040-01-02T03:04:05.000Z", 90)

    def test_as_json_it_has_the_values(self, cli: Cli) -> None:
        self.ask(cli, "--env", "A=1", "--stdin", "-", stdin="given")
        (asked,) = cli.ok("approve", "--show", "1", "--json").json["jobs"]
        assert (asked["env"], asked["stdin"], asked["argv"]) == ({"A": "1"}, "given", ["env", "-S", "two\nlines"])

    def test_status_names_the_variables_that_were_asked_for_without_their_values(self, cli: Cli) -> None:
        self.ask(cli, "--env", "PATH=/tmp/evil:/usr/bin", "--env", "KEY=hidden")
        job = cli.ok("status", "1", "--json")
        assert job.json["own_env"] == ["KEY", "PATH"]
        assert "hidden" not in job.out + cli.ok("status", "1").out

    def test_an_agent_is_shown_nothing(self, cli: Cli) -> None:
        cli.ok("add", "--env", "KEY=hidden", "--", "true")
        refused = cli("approve", "--show", "1", **AGENT)
        assert (refused.code, refused.out) == (1, "")
        assert "only a person" in refused.err
