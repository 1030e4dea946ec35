"""`runq status`, `list` and `health`: the contract's keys, the filters, the exit codes, lines for other programs."""

import fcntl
from typing import Any

import pytest

from queue_core.cli import dispatch
from queue_core.service import Queue
from tests.cli.conftest import AGENT, Cli

JOB_KEYS = {
    *("id", "state", "queue", "priority", "argv", "cwd", "attempt", "max_attempts", "created_at", "scheduled_at"),
    *("started_at", "finished_at", "outcome", "exit_code", "signal", "error", "waiting_for", "output_tail", "meta"),
    "attempts",
}
ATTEMPT_KEYS = ["claim", "outcome", "exit_code", "signal", "started_at", "finished_at", "host", "output_bytes"]
STATES = {"held", "blocked", "scheduled", "available", "running", "succeeded", "dead", "cancelled"}


def test_a_jobs_json_has_the_keys_of_the_contract(cli: Cli):
    cli.dead("--", "sh", "-c", "echo broken; exit 3")
    job = cli.job(1)
    assert set(job) >= JOB_KEYS
    assert (job["state"], job["outcome"], job["exit_code"], job["attempt"]) == ("dead", "exited", 3, 1)
    assert job["output_tail"] == "broken\n"
    (attempt,) = job["attempts"]
    assert set(ATTEMPT_KEYS) <= set(attempt)
    assert (attempt["outcome"], attempt["exit_code"], attempt["output_bytes"]) == ("exited", 3, 7)
    assert job["finished_at"].endswith("Z")


def test_the_queues_json_has_the_keys_of_the_contract(cli: Cli):
    cli.add("--", "true")
    view = cli.ok("status", "--json").json
    assert set(view) == {"counts", "queues", "worker", "health"}
    assert set(view["counts"]) == STATES
    assert view["counts"]["available"] == 1
    assert view["worker"] == {"state": "off", "pids": []}
    assert view["queues"]["default"]["paused"] is False


def test_healths_json_has_the_keys_of_the_contract(cli: Cli):
    view = cli.ok("health", "--json").json
    assert {"level", "pending", "capacity", "usage", "dead", "problems"} <= set(view)
    assert (view["level"], view["pending"], view["problems"]) == ("ok", 0, [])


def test_lists_json_has_jobs_and_a_cursor(cli: Cli):
    assert cli.ok("list", "--json").json == {"jobs": [], "cursor": "0"}
    cli.add("--", "true")
    view = cli.ok("list", "--json").json
    assert [job["id"] for job in view["jobs"]] == [1]
    assert view["cursor"] == "0"


def test_healths_exit_code_follows_from_the_capacity_alone(cli: Cli):
    cli.dead()
    for _ in range(8):
        cli.add("--", "true")
    codes = {capacity: cli("health", RUNQ_CAPACITY=capacity).code for capacity in ("11", "10", "9", "8", "7")}
    assert codes == {"11": 0, "10": 1, "9": 1, "8": 2, "7": 2}
    problems = cli("health", "--json", RUNQ_CAPACITY="11").json["problems"]
    assert any("1 dead letter" in problem for problem in problems)


def test_health_in_a_pipe_names_each_problem_in_a_line(cli: Cli):
    cli.dead()
    lines = cli.ok("health").lines
    assert ["level", "ok"] in lines
    assert ["dead", "1"] in lines
    assert [line[0] for line in lines].count("problem") == 1


def test_status_in_a_pipe_has_a_line_a_thing(cli: Cli):
    cli.add("--queue", "ci", "--", "true")
    lines = cli.ok("status").lines
    assert ["worker", "off"] in lines
    assert ["jobs", "available", "1"] in lines
    assert ["queue", "ci", "open", "parallelism=4", "available=1"] in lines


def test_a_list_in_a_pipe_is_one_line_a_job_with_nothing_cut_or_broken(cli: Cli):
    script = "echo one\necho two\t" + "x" * 300
    cli.add("--name", "a\nname", "--", "sh", "-c", script)
    (line,) = cli.ok("list").lines
    assert line[:6] == ["1", "available", "default", "normal", "0", "-"]
    assert line[7:9] == ["-", "a\\nname"]
    assert line[9] == "sh -c $'echo one\\necho two\\t" + "x" * 300 + "'"


def test_status_of_a_job_in_a_pipe_is_a_line_a_key(cli: Cli):
    cli.dead("--meta", "k=v", "--", "sh", "-c", "echo a; echo b; exit 3")
    lines = cli.ok("status", "1").lines
    assert ["state", "dead"] in lines
    assert ["exit_code", "3"] in lines
    assert ["meta", "k=v"] in lines
    assert [line for line in lines if line[0] == "output"] == [["output", "a"], ["output", "b"]]
    assert ["attempt", "1", "exit 3"] in [line[:3] for line in lines]


def test_status_says_what_a_job_waits_for(cli: Cli):
    cli.add("--", "true")
    assert "a worker" in cli.job(1)["waiting_for"]
    cli.ok("pause")
    assert "runq resume default" in cli.job(1)["waiting_for"]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """Four jobs, only looked at."""
    cli = Cli(tmp_path_factory.mktemp("many"))
    cli.ok("add", "--queue", "ci", "--meta", "k=1", "--", "true", CLAUDE_CODE_SESSION_ID="s-1")
    cli.ok("add", "--meta", "k=2", "--meta", "other=1", "--", "echo", "k=1", **cli.hook_env)
    cli.ok("add", "--delay", "1d", "--", "sh", "-c", "true", **AGENT)
    cli.ok("add", "--delay", "1d", "--", "true", CLAUDE_PROJECT_DIR="/other")
    return cli


FILTERS = {
    "--state available": [2, 1],
    "--state available --state held": [3, 2, 1],
    "--queue ci": [1],
    "--caller hook": [2],
    "--caller agent": [3],
    "--session s-1": [1],
    "--project .": [3, 2],
    "--project /other": [4],
    "--program sh": [3],
    "--program s_": [],
    "--program TRUE": [],
    "--program /usr/bin/true": [4, 1],
    "--meta k=1": [1],
    "--meta k=2 --meta other=1": [2],
    "--meta k=1 --meta other=1": [],
    "--limit 1": [4],
    "--caller person --state scheduled": [4],
}


@pytest.mark.parametrize("words", FILTERS)
def test_a_list_is_narrowed_by(many: Cli, words: str):
    if "/usr/bin/true" in words:
        words = words.replace("/usr/bin/true", many.job(1)["program"])
    ran = many.ok("list", *words.split())
    assert [int(line[0]) for line in ran.lines] == FILTERS.get(words, [4, 1])


def test_since_gives_what_ended_after_a_cursor_oldest_first(cli: Cli):
    cli.add("--", "true")
    cli.work()
    cursor = cli.ok("list", "--json").json["cursor"]
    cli.add("--", "true")
    cli.add("--", "true")
    cli.ok("cancel", "3")
    cli.work()
    view = cli.ok("list", "--since", cursor, "--json").json
    assert [job["id"] for job in view["jobs"]] == [3, 2]
    assert cli.ok("list", "--since", view["cursor"], "--json").json == {"jobs": [], "cursor": view["cursor"]}


BAD = {
    "list --state gone": "--state is one of",
    "list --limit 0": "--limit is a number",
    "list --limit many": "--limit is a whole number",
    "list --since -1": "--since takes a cursor",
    "list --since 7d": "for a span see `runq stats --since`",
    "list --meta k": "NAME=VALUE",
    "list now": "runq list takes no arguments",
    "status x": "positive whole number",
    "status 0": "positive whole number",
    "status 1 2": "one argument at most",
    "health now": "runq health takes no arguments",
}


@pytest.mark.parametrize("words", BAD)
def test_wrong_usage_is_told(cli: Cli, words: str):
    ran = cli(*words.split())
    assert (ran.code, BAD[words] in ran.err, ran.out) == (2, True, "")


def test_a_job_that_is_none_is_told(cli: Cli):
    ran = cli("status", "7", "--json")
    assert (ran.code, "there is no job 7" in ran.err, ran.out) == (1, True, "")


def test_a_reader_that_leaves_early_is_no_error(cli: Cli):
    import subprocess

    cli.add("--", "true")
    from tests.cli.conftest import RUNQ

    process = subprocess.Popen([*RUNQ, "status", "1"], env=cli.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(30) == 0


def test_a_queue_that_appears_while_status_looks_is_no_error(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """The jobs are looked at after the queues, and somebody may have queued one in a new queue in between."""
    cli.add("--", "true")
    cli.ok("pause")
    look = Queue.status_view

    def then_one_more(queue: Queue) -> Any:
        view = look(queue)
        cli.add("--queue", "new", "--", "true")
        return view

    monkeypatch.setattr(Queue, "status_view", then_one_more)
    monkeypatch.setenv("RUNQ_HOME", str(cli.home))
    assert dispatch.run(["status"]) == 0
    assert "jobs\tavailable\t1\n" in capsys.readouterr().out


@pytest.mark.claim("spool")
def test_whoever_looks_waits_for_no_lock(cli: Cli):
    """Whoever holds the write lock may be stopped for long; what is to be taken in keeps until it goes on."""
    job = cli.add("--", "true")
    with (cli.home / "runq.lock").open("a") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        assert cli("hook", "--", "true").code == 0
        looked = cli("status", str(job), "--json", timeout=9.0)  # a write waits for ten
        assert looked.json["state"] == "available"
    assert len(cli.ok("list", "--json").json["jobs"]) == 2
