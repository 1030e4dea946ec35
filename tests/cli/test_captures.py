"""`runq hook` without a template: what `[[capture]]` in the user's settings says for the event, and nothing else."""

import json
import os
import shutil

import pytest

from tests.cli.conftest import Cli
from tests.cli.test_hook import flock

WHILE_LOCKED = 5  # seconds: less than the 10 that a person's command waits for a lock
SETTINGS = """
[[capture]]
on = "PostToolUse"
tools = ["Write", "Edit"]
argv = ["echo", "file", "{tool_input.file_path}"]
stdin = true
unique = "u"
retries = 7
meta = { of = "capture" }

[[capture]]
on = ["PostToolUse", "Stop"]
argv = ["echo", "{tool_name}"]
queue = "notes"
priority = "low"

[[capture]]
on = "SessionEnd"
argv = ["echo", "{reason}"]
"""


def hook(cli: Cli, event: str, **said: object) -> tuple[int, str]:
    """What an event's hook ends with: its code, and what it complains of."""
    raw = json.dumps({"session_id": "s-1", "hook_event_name": event, **said}).encode()
    ran = cli("hook", stdin=raw, timeout=WHILE_LOCKED, **cli.hook_env)
    assert ran.out == ""
    return ran.code, ran.err


def commands(cli: Cli) -> list[list[str]]:
    return [job["argv"] for job in reversed(cli.ok("list", "--json").json["jobs"])]


def test_every_capture_that_fits_an_event_is_queued_and_no_other(cli: Cli):
    assert hook(cli, "Stop") == (0, "")  # nothing is configured
    assert list(cli.home.iterdir()) == []
    (cli.home / "config.toml").write_text(SETTINGS)
    for event, said in {"Notification": {}, "stop": {}, "": {"tool_name": "Write"}}.items():
        assert hook(cli, event, **said) == (0, "")
    assert cli.stored() == 0

    path = "/a b/$(x)"
    assert hook(cli, "PostToolUse", tool_name="Write", tool_input={"file_path": path}, cwd=str(cli.home)) == (0, "")
    assert commands(cli) == [["echo", "file", path], ["echo", "Write"]]
    first, second = cli.job(1), cli.job(2)
    assert (first["queue"], first["retries"], first["unique"], first["meta"]) == ("capture", 7, "u", {"of": "capture"})
    assert (second["queue"], second["priority"], second["retries"]) == ("notes", "low", 3)
    assert (first["caller"], first["session"], first["cwd"]) == ("hook", "s-1", str(cli.home))

    assert hook(cli, "PostToolUse", tool_name="Bash", tool_input={"command": "x"}) == (0, "")
    assert commands(cli)[2:] == [["echo", "Bash"]]

    code, complaint = hook(cli, "PostToolUse", tool_name="Edit", tool_input={})
    assert code == 1
    assert complaint.count("\n") == 1
    assert "has no tool_input.file_path" in complaint
    assert commands(cli)[3:] == [["echo", "Edit"]]  # the other one is queued all the same
    code, complaint = hook(cli, "Stop")
    assert (code, "has no tool_name" in complaint) == (1, True)
    assert cli.stored() == 4


def test_the_command_may_read_what_the_hook_was_told(cli: Cli):
    (cli.home / "config.toml").write_text('[[capture]]\non = "Stop"\nargv = ["cat"]\nstdin = true')
    assert hook(cli, "Stop", extra="ü") == (0, "")
    cli.work()
    assert cli.ok("output", "1").json["extra"] == "ü"


def test_the_captures_of_an_event_are_one_submission_also_in_the_spool(cli: Cli):
    (cli.home / "config.toml").write_text(SETTINGS)
    cli.add("--", "true")
    with flock(cli.paths):
        assert hook(cli, "PostToolUse", tool_name="Write", tool_input={"file_path": "x"}) == (0, "")
        assert hook(cli, "SessionEnd", reason="clear") == (0, "")
        spooled = sorted((cli.home / "spool").glob("*.json"))
        assert [len(json.loads(path.read_text())) for path in spooled] == [2, 1]
    assert sorted(commands(cli)[1:]) == [["echo", "Write"], ["echo", "clear"], ["echo", "file", "x"]]


def test_a_capture_whose_program_is_missing_keeps_no_other_from_the_queue(cli: Cli):
    missing = '[[capture]]\non = "SessionEnd"\nargv = ["no-such-program-xyz"]\n'
    (cli.home / "config.toml").write_text(missing + SETTINGS)
    code, complaint = hook(cli, "SessionEnd", reason="other")
    assert (code, "no-such-program-xyz" in complaint) == (1, True)
    assert commands(cli) == [["echo", "other"]]


WRONG = {
    "no table": ("capture = 5", "[[capture]] with two brackets"),
    "one table": ('[capture]\non = "Stop"', "[[capture]] with two brackets"),
    "no event": ('[[capture]]\nargv = ["true"]', "line 1, column 1: [[capture]] number 1: on is a name"),
    "an event that is a number": ('[[capture]]\nargv = ["true"]\non = 5', "line 3, column 1: [[capture]] number 1: on"),
    "no argv": ('[[capture]]\non = "Stop"', "line 1, column 1: [[capture]] number 1 needs argv"),
    "an argv that is a text": ('[[capture]]\non = "Stop"\nargv = "true"', "line 3, column 1"),
    "a key that is none": ('[[capture]]\non = "Stop"\nargv = ["true"]\nretrys = 5', "line 4, column 1"),
    "a placeholder as program": ('[[capture]]\non = "Stop"\nargv = ["{x}"]', "begins with a program"),
    "a bad value": ('[[capture]]\non = "Stop"\nargv = ["true"]\nretries = "many"', "retries is a whole number"),
    "no tools": ('[[capture]]\non = "Stop"\nargv = ["true"]\ntools = []', "tools is a name or a list"),
    "stdin that is a text": ('[[capture]]\non = "Stop"\nargv = ["true"]\nstdin = "x"', "stdin is true"),
    "two inputs": ('[[capture]]\non = "Stop"\nargv = ["true"]\nstdin = true\nstdin_path = "/x"', "either stdin or"),
    "the second of two": (SETTINGS + '[[capture]]\non = "Stop"\nargv = []', "[[capture]] number 4 needs argv"),
    "a list in one line": ('capture = [{on = "Stop", argv = []}]', "[[capture]] number 1 needs argv"),
}


def test_what_makes_no_sense_is_told_with_its_place_and_nothing_is_queued(cli: Cli):
    path = cli.home / "config.toml"
    for text, said in WRONG.values():
        path.write_text(text)
        code, complaint = hook(cli, "Stop")
        assert (code, complaint.count("\n"), said in complaint) == (1, 1, True), complaint
        assert str(path) in complaint
    assert cli.stored() == 0
    path.write_text(SETTINGS)
    assert hook(cli, "SessionEnd", reason="x") == (0, "")
    shown = cli("doctor", "--all").out
    assert "echo on PostToolUse, Stop" in shown


def test_the_doctor_notes_captures_that_no_ready_made_hook_brings_about(cli: Cli):
    (cli.home / "config.toml").write_text(SETTINGS)
    assert "PostToolUse runs for" in (said := cli.ok("doctor").out)  # the second one is for any tool
    assert said.count("so not for other tools") == 1
    for table, noted in {
        'on = "PostToolUse"\ntools = ["Bash", "Edit"]': "so not for Bash",
        'on = ["Stop", "Notification"]': "no ready-made hook runs at Notification",
        'on = "SessionStart"': "no ready-made hook runs at SessionStart",
        'on = "Stop"\ntools = ["Write"]': "",
        'on = ["PostToolUse", "SessionEnd"]\ntools = ["NotebookEdit"]': "",
    }.items():
        (cli.home / "config.toml").write_text(f'[[capture]]\nargv = ["echo"]\n{table}\n')
        notes = [line for line in cli.ok("doctor").lines if line[:2] == ["note", "capture"]]
        assert len(notes) == bool(noted), notes
        assert not noted or noted in notes[0][2], notes


@pytest.mark.parametrize("words", [["--queue", "q"], ["--queue", "q", "--"], ["--"]])
def test_options_of_a_job_need_a_template(cli: Cli, words: list[str]):
    (cli.home / "config.toml").write_text(SETTINGS)
    ran = cli("hook", *words, stdin=b'{"hook_event_name": "SessionEnd", "reason": "x"}', **cli.hook_env)
    assert (ran.code, ran.err.startswith("runq: ")) == (1, True)
    assert cli.stored() == 0


def test_a_session_that_ends_is_captured_in_a_home_that_has_never_been_used(cli: Cli):
    (cli.home / "config.toml").write_text(SETTINGS)
    settings = (cli.home / "config.toml").read_bytes()
    shutil.rmtree(cli.home)
    config = cli.project.parent / ".config" / "runq"
    os.makedirs(config)
    (config / "config.toml").write_bytes(settings)
    ran = cli("hook", stdin=b'{"hook_event_name": "SessionEnd", "reason": "x"}', **{**cli.hook_env, "RUNQ_HOME": ""})
    assert (ran.code, ran.err) == (0, "")
    assert (cli.project.parent / ".local" / "share" / "runq" / "runq.db").exists()
