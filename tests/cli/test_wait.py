"""`runq wait`: a line for each job as it ends, and an exit code that says whether all went well."""

import pytest

from tests.cli.conftest import AGENT, Cli, finish


def test_all_succeeded_is_0(cli: Cli):
    cli.add("--", "true")
    cli.add("--", "true")
    cli.work()
    ran = cli("wait", "2", "1")
    assert (ran.code, ran.lines, ran.err) == (0, [["2", "succeeded", "0"], ["1", "succeeded", "0"]], "")


def test_one_that_did_not_is_1(cli: Cli):
    cli.dead()
    cli.add("--", "true")
    cli.work()
    ran = cli("wait", "1", "2")
    assert (ran.code, ran.lines) == (1, [["1", "dead", "3"], ["2", "succeeded", "0"]])
    cli.add("--", "true")
    cli.ok("cancel", "3")
    ran = cli("wait", "3")
    assert (ran.code, ran.lines) == (1, [["3", "cancelled", "-"]])


def test_the_time_being_over_is_124_and_says_which_are_left(cli: Cli):
    cli.add("--", "true")
    ran = cli("wait", "1", "--timeout", "0")
    assert (ran.code, ran.out) == (124, "")
    assert "1 (available)" in ran.err
    assert "job 1 waits for a worker: none is up" in ran.err


def test_it_ends_when_the_jobs_do(cli: Cli):
    cli.add("--", "true")
    cli.add("--after", "1", "--", "true")
    waiting = cli.start("wait", "--all")
    assert waiting.stderr is not None
    assert b"waits for a worker: none is up" in waiting.stderr.readline()
    cli.work()
    ran = finish(waiting)
    assert (ran.code, ran.lines) == (0, [["1", "succeeded", "0"], ["2", "succeeded", "0"]])


def test_all_without_jobs_has_nothing_to_wait_for(cli: Cli):
    cli.dead()
    ran = cli("wait", "--all")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_json_is_one_document_at_the_end(cli: Cli):
    cli.dead()
    ran = cli("wait", "1", "--json")
    assert ran.code == 1
    assert ran.json["timed_out"] is False
    assert [(job["id"], job["state"], job["exit_code"]) for job in ran.json["jobs"]] == [(1, "dead", 3)]
    cli.add("--", "true")
    ran = cli("wait", "1", "2", "--timeout", "0", "--json")
    assert (ran.code, ran.json["timed_out"], len(ran.json["jobs"])) == (124, True, 2)


def test_a_held_job_is_pointed_out(cli: Cli):
    cli.add("--", "git", "status", **AGENT)
    assert "look with `runq approve --show ID`, then `runq approve ID`" in cli("wait", "1", "--timeout", "0").err


def test_what_a_worker_would_not_help_is_named(cli: Cli):
    cli.add("--queue", "ci", "--", "true")
    cli.add("--queue", "ci", "--", "true")
    cli.add("--handler", "transcribe")
    cli.ok("pause", "ci")
    said = cli("wait", "--all", "--timeout", "0").err
    assert "job 1 (and 1 more of these) waits for its queue to be resumed (`runq resume ci`)" in said
    assert "job 3 waits for a worker that has the handler transcribe" in said
    assert "none is up" not in said


def test_the_time_may_be_a_span(cli: Cli):
    cli.add("--", "true")
    cli.work()
    assert cli.ok("wait", "1", "--timeout", "5m").lines == [["1", "succeeded", "0"]]


BAD = {
    "wait": (2, "needs the id"),
    "wait x": (2, "positive whole number"),
    "wait 1 --all": (2, "not both"),
    "wait 1 --timeout -1": (2, "--timeout"),
    "wait 1 --timeout nan": (2, "--timeout"),
    "wait 99": (1, "there is no job 99"),
}


@pytest.mark.parametrize("words", BAD)
def test_what_cannot_be_waited_for_is_told(cli: Cli, words: str):
    ran = cli(*words.split())
    code, sentence = BAD[words]
    assert (ran.code, sentence in ran.err) == (code, True)


def test_a_job_that_is_pruned_meanwhile_does_not_keep_it_waiting(cli: Cli):
    cli.add("--", "true")
    waiting = cli.start("wait", "1")
    assert waiting.stderr is not None
    assert b"waits for a worker: none is up" in waiting.stderr.readline()
    waiting.send_signal(19)  # SIGSTOP: it misses the end
    cli.ok("cancel", "1")
    cli.ok("prune", "--keep", "0")
    waiting.send_signal(18)
    ran = finish(waiting)
    assert (ran.code, ran.lines) == (1, [["1", "gone", "-"]])
