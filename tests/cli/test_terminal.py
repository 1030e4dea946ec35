"""On a terminal people get tables and sentences; what jobs carry cannot act on the terminal."""

import re

from tests.cli.conftest import AGENT, Cli, on_terminal

COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def plain(text: str) -> str:
    return COLOURS.sub("", text)


def test_a_list_is_a_table_that_fits_the_terminal(cli: Cli):
    cli.dead()
    cli.add("--queue", "a-queue-with-a-rather-long-name", "--", "echo", "x" * 200)
    shown = on_terminal(cli, "list")
    assert COLOURS.search(shown)
    lines = plain(shown).splitlines()
    assert lines[0].split() == ["ID", "STATE", "QUEUE", "WHEN", "RESULT", "COMMAND"]
    assert lines[1].split()[:2] == ["2", "available"]
    assert lines[2].split()[:3] == ["1", "dead", "default"]
    assert max(len(line) for line in lines) <= 80


def test_no_colours_where_none_are_wanted(cli: Cli):
    cli.dead()
    assert "\x1b[1;31m" in on_terminal(cli, "list")
    assert "\x1b[1;31m" not in on_terminal(cli, "list", NO_COLOR="1")


def test_status_shows_what_is_wrong_with_its_remedy(cli: Cli):
    cli.dead()
    cli.ok("pause", "ci")
    shown = plain(on_terminal(cli, "status"))
    assert "Health  ok, 0 of 1000 waiting" in shown
    assert "Worker  off" in shown
    assert "runq dead list" in shown
    assert re.search(r"ci .*paused", shown)


def test_status_of_a_job_is_a_sheet(cli: Cli):
    cli.dead("--name", "the name", "--", "sh", "-c", "echo broken; exit 3")
    shown = plain(on_terminal(cli, "status", "1"))
    assert shown.splitlines()[:2] == ["Job 1  dead  the name", "  $ sh -c 'echo broken; exit 3'"]
    assert "exit 3" in shown
    assert "  broken\n" in shown


def test_control_sequences_of_a_job_are_shown_and_not_obeyed(cli: Cli):
    evil = "\x1b]0;owned\x07\x1b[2J\u202egnp.exe"
    cli.ok("add", "--name", evil, "--", "echo", evil, **AGENT)
    for words in (["list"], ["status", "1"], ["approve", "1"], ["dead", "list"]):
        shown = on_terminal(cli, *words)
        assert "\x1b]" not in shown
        assert "\x1b[2J" not in shown
        assert "\u202e" not in shown
    assert "\\u202e" in on_terminal(cli, "status", "1")


def test_the_output_in_a_sheet_is_without_its_control_sequences(cli: Cli):
    cli.add("--", "printf", "\\033[31mred\\033[0m\\n10%%\\r100%%\\n\\033]0;owned\\007")
    cli.work()
    shown = on_terminal(cli, "status", "1")
    assert "  red\n  100%\n" in shown
    assert "\x1b]0;" not in shown


def test_verbs_that_change_things_answer_with_a_sentence(cli: Cli):
    shown = on_terminal(cli, "add", "--", "echo", "two words")
    assert shown.startswith("Queued job 1 (available): echo 'two words'.")
    assert on_terminal(cli, "cancel", "1") == "Cancelled job 1.\n"
    assert on_terminal(cli, "pause", "ci").startswith("Paused ci.")


def test_wait_leaves_a_line_for_each_job(cli: Cli):
    cli.dead()
    assert "Job 1 dead (exit 3)" in plain(on_terminal(cli, "wait", "1"))


def test_output_on_a_terminal_is_text(cli: Cli):
    cli.add("--", "printf", "ok\\377\\n")
    cli.work()
    assert on_terminal(cli, "output", "1") == "ok\ufffd\n"


def test_json_stays_one_document_on_a_terminal(cli: Cli):
    import json

    cli.add("--", "true")
    assert json.loads(on_terminal(cli, "status", "--json"))["counts"]["available"] == 1


def test_doctor_ends_with_its_verdict(cli: Cli):
    shown = plain(on_terminal(cli, "doctor"))
    assert shown.splitlines()[-1] == "Verdict: all is well."
    assert max(len(line) for line in shown.splitlines()) <= 80


def test_rules_and_health_and_logs_speak_to_people(cli: Cli):
    assert "No rules" in plain(on_terminal(cli, "rules"))
    assert plain(on_terminal(cli, "health")).startswith("ok: 0 of 1000 waiting")
    assert "would wait for your approval" in plain(on_terminal(cli, "rules", "--explain", "--", "git", "status"))
