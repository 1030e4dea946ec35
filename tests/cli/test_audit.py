"""`runq audit` from outside: who did what, whoever it was and by whichever way in; it outlives the jobs."""

import json
import os
import re
import shutil
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp_types import Implementation

from tests.cli.conftest import AGENT, Cli, on_terminal

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
SHELL: Any = {**AGENT, "CLAUDE_CODE_SESSION_ID": "s-9"}
TOKEN = "ghp_" + "a1" * 18
CLIENT_SECONDS = 30
DAY = 86400


def deeds(cli: Cli, *words: str) -> list[dict[str, Any]]:
    """Oldest first."""
    return list(reversed(cli.ok("audit", "--json", *words).json["deeds"]))


def told(cli: Cli, *words: str) -> list[tuple[str, int | None, str]]:
    return [(deed["what"], deed["job"], deed["caller"]) for deed in deeds(cli, *words)]


def test_what_an_agent_asks_and_a_person_decides_is_a_line_each(cli: Cli):
    held = cli.add("--", "echo", "two words", **SHELL)
    cli.ok("approve", str(held))
    cli.work()
    other = cli.add("--", "touch", "x", **SHELL)
    cli.ok("reject", str(other))
    assert told(cli) == [
        ("held", held, "agent"),
        ("approved", held, "person"),
        ("held", other, "agent"),
        ("rejected", other, "person"),
    ]
    first = deeds(cli)[0]
    assert (first["session"], first["project"], first["client"]) == ("s-9", str(cli.project), None)
    assert [deed["argv"] for deed in deeds(cli, str(held))] == [["echo", "two words"]] * 2


def test_what_a_hook_queues_is_its_sessions(cli: Cli):
    cli.ok("hook", "--", "true", stdin=b'{"session_id": "s-1"}', **cli.hook_env)
    (deed,) = deeds(cli)
    assert (deed["what"], deed["caller"], deed["session"]) == ("queued", "hook", "s-1")
    assert deed["project"] == str(cli.project)


def test_every_verb_that_changes_something_leaves_its_line(cli: Cli):
    dead = cli.dead()
    waiting = cli.add("--", "true")
    for words in (
        ("pin", str(dead)),
        ("unpin", str(dead)),
        ("cancel", str(waiting)),
        ("dead", "retry", str(dead)),
        ("cancel", str(dead)),
        ("pause", "ci"),
        ("resume", "ci"),
        ("schedule", "add", "nightly", "--every", "1d", "--", "true"),
        ("schedule", "pause", "nightly"),
        ("schedule", "resume", "nightly"),
        ("schedule", "remove", "nightly"),
        ("allow", "git status"),
    ):
        cli.ok(*words)
    again = cli.dead()
    cli.ok("dead", "discard", str(again))
    assert told(cli) == [
        ("queued", dead, "person"),
        ("queued", waiting, "person"),
        ("pinned", dead, "person"),
        ("unpinned", dead, "person"),
        ("cancelled", waiting, "person"),
        ("replayed", dead, "person"),
        ("cancelled", dead, "person"),
        ("paused", None, "person"),
        ("resumed", None, "person"),
        ("scheduled", None, "person"),
        ("paused", None, "person"),
        ("resumed", None, "person"),
        ("unscheduled", None, "person"),
        ("allowed", None, "person"),
        ("queued", again, "person"),
        ("discarded", again, "person"),
    ]
    about = {(deed["what"], deed["about"]) for deed in deeds(cli) if deed["job"] is None}
    assert about == {
        *(("paused", "ci"), ("resumed", "ci")),
        *(("paused", "schedule nightly"), ("resumed", "schedule nightly")),
        *(("scheduled", "nightly"), ("unscheduled", "nightly")),
        ("allowed", f"git status (program {os.path.realpath(shutil.which('git') or '')})"),
    }


def test_a_restore_is_noted_behind_what_it_brought_back(cli: Cli):
    cli.add("--", "true")
    name = cli.ok("backup", "now", "--json").json["name"]
    cli.ok("backup", "restore", name, "--yes")
    assert [what for what, _, _ in told(cli)] == ["queued", "restored"]


async def _call(cli: Cli, mode: Any) -> None:
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "mcp_server"],
        env={**cli.env, "CLAUDE_CODE_SESSION_ID": "s-3", "CLAUDE_PROJECT_DIR": str(cli.project)},
        cwd=cli.project,
    )
    with anyio.fail_after(CLIENT_SECONDS):
        async with Client(
            server, mode=mode, client_info=Implementation(name="my\x1b[2Jclient", version="7.1")
        ) as client:
            assert (client.protocol_version >= "2026") == (mode == "auto")
            result = await client.call_tool("enqueue", {"argv": ["echo", "x"]})
            assert result.structured_content and result.structured_content["state"] == "held"
            await client.call_tool("cancel", {"job_ids": [result.structured_content["id"]]})


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_an_mcp_client_of_either_era_is_known_by_name_and_version(cli: Cli, mode: str):
    anyio.run(_call, cli, mode)
    found = deeds(cli)
    assert [deed["what"] for deed in found] == ["held", "cancelled"]
    for deed in found:
        assert (deed["caller"], deed["client"]) == ("agent", "my\x1b[2Jclient 7.1")
        assert (deed["session"], deed["project"]) == ("s-3", str(cli.project))
    for shown in (cli.ok("audit").out, on_terminal(cli, "audit", columns=200)):
        assert "\x1b[2J" not in shown
        assert "\\e[2Jclient 7.1" in shown


def test_it_is_narrowed_by_what_is_asked(cli: Cli):
    mine = cli.add("--", "true")
    theirs = cli.add("--", "true", **SHELL)
    cli.ok("cancel", str(mine), str(theirs))
    with sqlite3.connect(cli.paths.database) as database:  # long ago
        database.execute("INSERT INTO audit (at, what, about, caller) VALUES (1e9, 'paused', 'old', 'person')")
    database.close()

    def jobs(*words: str) -> list[int | None]:
        return [job for _, job, _ in told(cli, *words)]

    assert jobs("--what", "held") == [theirs]
    assert jobs("--caller", "agent") == [theirs]
    assert jobs("--session", "s-9") == [theirs, theirs]  # a person's word on a job belongs to the job's project
    assert jobs("--project", str(cli.project)) == [theirs, theirs]
    assert jobs("--project", ".") == [theirs, theirs]
    assert jobs(str(mine)) == [mine, mine]
    assert jobs("--since", "1h") == [mine, theirs, mine, theirs]
    assert jobs("--since", "2001-01-01") == [mine, theirs, mine, theirs, None]
    assert jobs("--since", "1h", "--what", "paused") == []
    assert jobs("--limit", "1") == [None]
    assert jobs("--what", "cancelled", "--caller", "person", str(theirs)) == [theirs]
    assert jobs("999") == []


def test_it_is_lines_in_a_pipe_a_table_on_a_terminal_and_one_document_as_json(cli: Cli):
    cli.ok("add", "--", "echo", "two words", "a\tb", **SHELL)
    cli.ok("cancel", "1")
    at, *rest = cli.ok("audit").lines[1]
    assert RFC3339.fullmatch(at)
    assert rest == ["held", "1", "agent", "-", "s-9", str(cli.project), "echo 'two words' $'a\\tb'"]
    assert cli.ok("audit").lines[0][1:] == ["cancelled", "1", "person", "-", "-", "-", "echo 'two words' $'a\\tb'"]
    assert all(RFC3339.fullmatch(deed["at"]) for deed in deeds(cli))
    assert deeds(cli)[0]["argv"] == ["echo", "two words", "a\tb"]
    table = COLOURS.sub("", on_terminal(cli, "audit")).splitlines()
    assert table[0].split() == ["WHEN", "(UTC)", "WHAT", "JOB", "WHO", "COMMAND"]
    assert [row.split()[2:5] for row in table[1:]] == [["cancelled", "1", "person"], ["held", "1", "agent"]]
    assert "The newest 1; --limit shows more." in on_terminal(cli, "audit", "--limit", "1")
    assert json.loads(on_terminal(cli, "audit", "--json"))["deeds"]


def test_nothing_of_the_kind_is_no_error(cli: Cli):
    cli.add("--", "true")
    assert cli.ok("audit", "999").out == ""
    assert cli.ok("audit", "999", "--json").json == {"deeds": []}
    assert on_terminal(cli, "audit", "999") == "Nothing of the kind was noted.\n"


WRONG = {
    "an id that is none": ["x"],
    "a negative id": ["--", "-1"],
    "an endless id": ["9" * 30],
    "two ids": ["1", "2"],
    "an unknown deed": ["--what", "eaten"],
    "an unknown caller": ["--caller", "root"],
    "a time that is none": ["--since", "yesterday"],
    "a time to come": ["--since", "2999-01-01"],
    "a limit of nothing": ["--limit", "0"],
    "a limit that is none": ["--limit", "many"],
    "a limit beyond all": ["--limit", "1" + "0" * 30],
    "an unknown option": ["--colour"],
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_asked_wrongly_is_a_sentence(cli: Cli, what: str):
    ran = cli("audit", *WRONG[what])
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("runq: ") and ran.err.count("\n") == 1


def test_it_outlives_the_job_and_is_shortened_by_the_users_setting(cli: Cli):
    job = cli.add("--", "echo", "gone")
    cli.work()
    (cli.home / "config.toml").write_text("keep_days = 0\nkeep_count = 0\n")
    cli.ok("prune")
    assert cli.states() == {}
    assert [(deed["what"], deed["job"], deed["argv"]) for deed in deeds(cli)] == [("queued", job, ["echo", "gone"])]
    with sqlite3.connect(cli.paths.database) as database:
        noted = "INSERT INTO audit (id, at, what, about, caller) VALUES (?, ?, 'paused', 'x', 'person')"
        database.executemany(noted, [(-3, time.time() - 3 * DAY), (-1, time.time() - DAY)])
    database.close()
    cli.ok("prune", RUNQ_AUDIT_DAYS="2")  # policy: from the file alone
    assert len(deeds(cli)) == 3
    (cli.home / "config.toml").write_text("audit_days = 2\n")
    cli.ok("prune")
    assert len(deeds(cli)) == 2


def test_what_jobs_and_clients_carry_is_shown_and_not_obeyed(cli: Cli):
    evil = "\x1b]0;owned\x07\x1b[2J\u202egnp.exe"
    cli.ok("add", "--", "echo", evil, **(SHELL | {"CLAUDE_CODE_SESSION_ID": evil}))
    cli.ok("pause", "ci")
    for shown in (cli.ok("audit").out, on_terminal(cli, "audit", columns=200)):
        assert not {"\x07", "\u202e"} & set(shown)
        assert "\x1b]" not in shown and "\x1b[2J" not in shown
    assert len(cli.ok("audit").lines) == 2


def test_tokens_of_known_shapes_are_masked(cli: Cli):
    cli.add("--", "curl", "-H", f"Authorization: {TOKEN}")
    cli.ok("cancel", "1")
    for shown in (cli.ok("audit").out, cli.ok("audit", "--json").out, on_terminal(cli, "audit", columns=200)):
        assert TOKEN not in shown and TOKEN[10:] not in shown
        assert shown.count("ghp_") == 2


def test_looking_changes_nothing(cli: Cli, tmp_path: Path):
    cli.add("--", "true")
    before = deeds(cli)
    cli.ok("audit")
    assert deeds(cli) == before


def test_what_a_rule_says_besides_the_command_is_noted_and_so_is_who_tried_in_vain(cli: Cli):
    cli.ok("allow", "--env", "MODE=fast", "--stdin", "git status")
    job = cli.add("--", "true", **SHELL)
    assert cli("approve", str(job), **SHELL).code == 1
    assert cli("allow", "ls", **SHELL).code == 1
    (allowed,) = deeds(cli, "--what", "allowed")
    assert allowed["about"].endswith(", with MODE=fast, stdin)")
    assert {(deed["about"], deed["caller"]) for deed in deeds(cli, "--what", "denied")} == {
        ("to change the rules", "agent"),
        (f"to approve jobs {job}", "agent"),
    }


def test_a_replay_that_is_held_tells_the_command_and_not_the_reason(cli: Cli):
    job = cli.dead()
    cli.ok("dead", "retry", str(job), **SHELL)
    (replayed,) = deeds(cli, "--what", "replayed")
    assert (replayed["caller"], replayed["argv"][0]) == ("agent", "sh")


def test_what_is_refused_at_once_is_noted_as_well(cli: Cli):
    refused = cli("add", "--cwd", "/", "--", "true", **SHELL)
    assert refused.code == 1
    (denied,) = deeds(cli, "--what", "denied")
    assert denied["caller"] == "agent"
    assert "outside the folders agents may work in" in denied["about"]


def test_a_refusal_that_cannot_be_written_as_it_was_said_is_noted_as_well(cli: Cli):
    refused = cli("add", "--cwd", "/", "--", "true", b"\xff".decode("utf-8", "surrogateescape"), **SHELL)
    assert refused.code == 1
    assert "Traceback" not in refused.err
    assert len(deeds(cli, "--what", "denied")) == 1


def test_the_words_that_may_be_asked_for_are_those_that_the_database_takes():
    from queue_core.cli.audit import DEEDS
    from queue_core.sqlite.schema import third

    (taken,) = re.findall(r"CHECK \(what IN \(([^)]*)\)\)", third.SQL)
    assert tuple(re.findall(r"'(\w+)'", taken)) == DEEDS


def test_a_schedule_that_is_denied_is_noted_like_a_job(cli: Cli):
    refused = cli("schedule", "add", "often", "--every", "1h", "--cwd", "/", "--", "true", **SHELL)
    assert (refused.code, refused.err.count("was not scheduled")) == (1, 1)
    (denied,) = deeds(cli, "--what", "denied")
    assert denied["caller"] == "agent"
