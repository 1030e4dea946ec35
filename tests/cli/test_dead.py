"""`runq dead`: looking at what failed for good, running it again, giving it up."""

import pytest

from tests.cli.conftest import Cli, on_terminal


@pytest.fixture
def three(cli: Cli) -> Cli:
    """Dead letters 1 (default, sh), 2 (ci, sh) and 3 (ci, false)."""
    return _with_three_dead(cli)


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """The same three, for tests that change nothing."""
    return _with_three_dead(Cli(tmp_path_factory.mktemp("three")))


def _with_three_dead(cli: Cli) -> Cli:
    cli.add("--retries", "0", "--", "sh", "-c", "echo broken; exit 3")
    cli.add("--retries", "0", "--queue", "ci", "--", "sh", "-c", "kill -9 $$")
    cli.add("--retries", "0", "--queue", "ci", "--", "false")
    cli.add("--delay", "999", "--", "true")
    cli.work()
    assert cli.states() == {1: "dead", 2: "dead", 3: "dead", 4: "scheduled"}
    return cli


def test_a_list_says_what_failed_and_why(looked_at: Cli):
    lines = looked_at.ok("dead", "list").lines
    assert [line[0] for line in lines] == ["3", "2", "1"]
    assert [line[3] for line in lines] == ["exit 1", "signal 9", "exit 3"]
    assert lines[2][5:] == ["exited with code 3", "sh -c 'echo broken; exit 3'"]
    assert looked_at.ok("dead").out == looked_at.ok("dead", "list").out
    assert [job["id"] for job in looked_at.ok("dead", "list", "--json").json["jobs"]] == [3, 2, 1]


FILTERS = {
    "--queue ci": [3, 2],
    "--program sh": [2, 1],
    "--queue ci --program false": [3],
    "--older-than 1": [],
    "--older-than 0": [3, 2, 1],
    "--older-than 1h": [],
    "--limit 1": [3],
}


@pytest.mark.parametrize("words", FILTERS)
def test_filters_narrow_the_list(looked_at: Cli, words: str):
    assert [int(line[0]) for line in looked_at.ok("dead", "list", *words.split()).lines] == FILTERS[words]


def test_a_retry_runs_it_again_with_a_fresh_allowance(three: Cli):
    assert three.ok("dead", "retry", "1").lines == [["1", "available"]]
    three.work()
    job = three.job(1)
    assert (job["state"], job["attempt"], len(job["attempts"])) == ("dead", 2, 2)


def test_all_that_the_filters_leave_are_retried(three: Cli):
    assert three.ok("dead", "retry", "--all", "--queue", "ci").lines == [["2", "available"], ["3", "available"]]
    assert three.states()[1] == "dead"


def test_a_dry_run_changes_nothing(looked_at: Cli):
    for verb in ("retry", "discard"):
        ran = looked_at.ok("dead", verb, "--all", "--program", "sh", "--dry-run", "--json")
        assert ran.json == {
            "jobs": [{"id": 1, "state": "dead"}, {"id": 2, "state": "dead"}],
            "dry_run": True,
            "left_out": 0,
        }
    assert list(looked_at.states().values()).count("dead") == 3


def test_discarding_gives_up_the_job_and_what_waits_for_it(three: Cli):
    three.add("--after", "1", "--", "true")
    three.ok("dead", "discard", "1")
    states = three.states()
    assert (states[1], states[5], states[2]) == ("cancelled", "cancelled", "dead")
    three.ok("dead", "discard", "--all")
    assert "dead" not in three.states().values()


def test_none_that_is_meant_is_no_error(cli: Cli):
    assert cli.ok("dead", "retry", "--all").out == ""
    assert on_terminal(cli, "dead", "retry", "--all") == "No dead letters match.\n"
    assert cli.ok("dead", "discard", "--all", "--json").json == {"jobs": [], "dry_run": False, "left_out": 0}


BAD = {
    "dead bury": "knows list, retry and discard",
    "dead retry": "say which",
    "dead discard --queue ci": "say which",
    "dead retry 1 --all": "not both",
    "dead retry 1 --queue ci": "not both",
    "dead retry --all --limit 1": "--limit goes with list",
    "dead retry x": "positive whole number",
    "dead list 1": "takes filters only",
    "dead list --older-than -1": "--older-than must be at least 0",
    "dead list --limit 0": "--limit is a number",
}


@pytest.mark.parametrize("words", BAD)
def test_wrong_usage_is_told(cli: Cli, words: str):
    ran = cli(*words.split())
    assert (ran.code, BAD[words] in ran.err) == (2, True)


def test_a_job_that_ended_well_can_run_again_by_its_id(cli: Cli):
    cli.add("--", "true")
    cli.work()
    assert cli.ok("dead", "retry", "1").lines == [["1", "available"]]


def test_a_second_job_of_a_unique_key_is_not_replayed(cli: Cli):
    cli.dead("--unique", "k", "--", "false")
    cli.add("--unique", "k", "--delay", "99", "--", "true")
    ran = cli("dead", "retry", "1")
    assert (ran.code, "same unique key" in ran.err) == (1, True)
    assert cli.states()[1] == "dead"
