"""Quotas as people, hooks, agents and workers meet them."""

import fcntl
import json
import re
import sqlite3

from tests.cli.conftest import AGENT, Cli, finish, on_terminal

SESSION = {**AGENT, "CLAUDE_CODE_SESSION_ID": "s-1"}


def payload(session: str = "s-1") -> bytes:
    return json.dumps({"session_id": session}).encode()


def configure(cli: Cli, text: str) -> None:
    (cli.home / "config.toml").write_text(text)


def test_an_agent_is_told_of_its_sessions_quota_and_nothing_is_stored(cli: Cli):
    configure(cli, 'session_capacity = 2\nagents = "allow"\n')
    cli.ok("add", "--", "true", **SESSION), cli.ok("add", "--", "true", **SESSION)
    ran = cli("add", "--", "true", **SESSION)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        "runq: this session has 2 waiting jobs, which is its quota (`session_capacity`); nothing was stored. "
        "Wait until some have ended, or cancel some\n"
    )
    assert cli.stored() == 2
    cli.ok("cancel", "1")
    cli.ok("add", "--", "true", **SESSION)


def test_a_persons_terminal_has_no_quota(cli: Cli):
    configure(cli, "session_capacity = 1\nproject_capacity = 1\n")
    for _ in range(3):
        cli.ok("add", "--", "true")


def test_a_hooks_job_beyond_it_is_refused_and_not_spooled(cli: Cli):
    quota = {**cli.hook_env, "RUNQ_PROJECT_CAPACITY": "2"}
    for session in ("s-1", "s-2"):
        ran = cli.ok("hook", "--", "true", stdin=payload(session), **quota)
        assert (ran.out, ran.err) == ("", "")
    ran = cli("hook", "--", "true", stdin=payload("s-3"), **quota)
    assert (ran.code, ran.out) == (1, ""), "never 2, which would block the client's turn"
    assert "this project has 2 waiting jobs" in ran.err
    assert cli.stored() == 2
    assert not list(cli.home.glob("spool/*.json"))


def test_what_the_spool_holds_has_been_accepted_and_comes_in_over_any_quota(cli: Cli):
    quota = {**cli.hook_env, "RUNQ_SESSION_CAPACITY": "1"}
    cli.ok("hook", "--", "true", stdin=payload(), **quota)
    with open(cli.paths.write_lock, "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for _ in range(2):
            cli.ok("hook", "--", "true", stdin=payload(), **quota)
    assert cli.stored() == 1
    assert len(cli.ok("list", "--json", RUNQ_SESSION_CAPACITY="1").json["jobs"]) == 3


def test_of_many_processes_at_once_no_more_get_in_than_the_quota_has_room_for(cli: Cli):
    configure(cli, 'session_capacity = 3\nagents = "allow"\n')
    cli.ok("status")  # the database is there
    ends = [finish(process) for process in [cli.start("add", "--", "true", **SESSION) for _ in range(8)]]
    assert sorted(ran.code for ran in ends) == [0] * 3 + [1] * 5
    assert cli.stored() == 3


def test_a_batch_beyond_it_is_refused_as_a_whole(cli: Cli):
    configure(cli, 'session_capacity = 3\nagents = "allow"\n')
    lines = b'{"argv": ["true"]}\n' * 4
    ran = cli("add", "--file", "-", stdin=lines, **SESSION)
    assert (ran.code, "4 more would exceed its quota of 3" in ran.err) == (1, True)
    assert cli.stored() == 0


def test_process_queue_starts_what_may_start_and_says_what_remains_and_until_when(cli: Cli):
    configure(cli, "[queues]\napi = {starts_per_minute = 2}\n")
    for _ in range(5):
        cli.add("--queue", "api", "--", "true")
    other = cli.add("--", "true")
    ran = cli.ok("process-queue")
    assert sorted(cli.states().values()) == ["available"] * 3 + ["succeeded"] * 3
    assert cli.states()[other] == "succeeded"
    assert "Remaining: 3 available." in ran.err
    assert re.search(r"api has used its 2 starts a minute: the next in \d+ s", ran.err)
    again = cli.ok("process-queue")
    assert "Done: nothing could run. Remaining: 3 available." in again.err
    assert "its queue's 2 starts a minute to come round: the next in" in cli.job(3)["waiting_for"]


def test_several_processes_share_the_limit_over_all_queues(cli: Cli):
    for number in range(9):
        cli.add("--queue", f"q{number % 3}", "--", "true")
    ends = [finish(one) for one in [cli.start("process-queue", RUNQ_STARTS_PER_MINUTE="4") for _ in range(3)]]
    assert [ran.code for ran in ends] == [0, 0, 0]
    assert sorted(cli.states().values()) == ["available"] * 5 + ["succeeded"] * 4
    assert "all queues' 4 starts a minute" in cli.job(9)["waiting_for"]


def test_without_the_setting_the_next_worker_alone_takes_the_limit_away(cli: Cli):
    for _ in range(3):
        cli.add("--", "true")
    cli.ok("process-queue", RUNQ_STARTS_PER_MINUTE="1")
    assert list(cli.states().values()).count("succeeded") == 1
    cli.ok("process-queue")
    assert list(cli.states().values()).count("succeeded") == 3


def test_status_shows_the_limit_and_the_rest(cli: Cli):
    configure(cli, "[queues]\napi = {starts_per_minute = 1}\n")
    cli.add("--queue", "api", "--", "true"), cli.add("--queue", "api", "--", "true")
    cli.ok("process-queue")
    queue = cli.ok("status", "--json").json["queues"]["api"]
    assert queue["starts_per_minute"] == 1 and queue["rests_until"].endswith("Z")
    assert cli.ok("status").lines[-1][:5] == ["queue", "api", "open", "parallelism=4", "starts_per_minute=1"]
    assert re.search(r"api .*rests for \d+ s", on_terminal(cli, "status"))
    shown = {one["name"]: one["value"] for one in cli.ok("doctor", "--json").json["settings"]}
    assert shown["queues"] == "api=1/min"


def test_a_start_is_counted_once_however_many_look(cli: Cli):
    configure(cli, "starts_per_minute = 3\n[queues]\napi = {starts_per_minute = 2}\n")
    for _ in range(4):
        cli.add("--queue", "api", "--", "true")
    cli.ok("process-queue"), cli.ok("process-queue")
    connection = sqlite3.connect(cli.home / "runq.db")
    assert connection.execute("SELECT queue, count(*) FROM starts GROUP BY 1").fetchall() == [("", 2), ("api", 2)]
    connection.close()
