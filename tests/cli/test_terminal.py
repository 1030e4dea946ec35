"""On a terminal people get tables and sentences; what jobs carry cannot act on the terminal."""

import re

from tests.cli.conftest import AGENT, Cli, on_terminal
from tests.helpers import wait_until

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


def test_a_running_job_tells_its_attempt_since_when_and_its_process(cli: Cli):
    cli.worker()
    cli.add("--", "sh", "-c", "echo $$ > pid; exec sleep 600")
    pid = wait_until(lambda: (cli.project / "pid").exists() and (cli.project / "pid").read_text().strip(), "it runs")
    shown = plain(on_terminal(cli, "status", "1"))
    assert re.search(rf"running +attempt 1, for \d+ m?s, process {pid}\n", shown)


def test_a_handlers_result_is_shown(cli: Cli):
    (cli.project / "program.py").write_text(
        "from queue_core import get_queue\n"
        "@get_queue().handler('transcribe')\n"
        "def transcribe(context): return {'text': 'h\u00e9llo \x1b[2J'}\n",
        encoding="utf-8",
    )
    cli.add("--handler", "transcribe")
    assert plain(on_terminal(cli, "status")).splitlines()[1] == "Worker  off"  # none that a session boots would help
    cli.ok("work", "--app", "program", "--until-empty")
    shown = plain(on_terminal(cli, "status", "1"))
    assert 'Result\n  {\n    "text": "h\u00e9llo \\u001b[2J"\n  }\n' in shown
    assert ["result", '{"text":"h\\u00e9llo \\u001b[2J"}'] in cli.ok("status", "1").lines
    assert on_terminal(cli, "output", "1") == "runq: job 1 wrote nothing; its result is in `runq status 1`\n"


def test_columns_that_would_be_empty_are_left_out(cli: Cli):
    cli.add("--", "true")
    cli.work()
    shown = plain(on_terminal(cli, "status", "1"))
    assert "OUTPUT" in shown and "WHY" not in shown
    (cli.project / "gone").write_text("#!/bin/sh\n")
    (cli.project / "gone").chmod(0o755)
    cli.add("--", "./gone")
    (cli.project / "gone").unlink()
    cli.work()
    assert "WHY" in plain(on_terminal(cli, "status", "2"))
    assert "NEXT" not in plain(on_terminal(cli, "dead", "list"))


def test_a_list_that_is_cut_says_which_end_it_shows(cli: Cli):
    for _ in range(3):
        cli.add("--", "true")
    cli.work()
    assert "The newest 2; --limit shows more." in on_terminal(cli, "list", "--limit", "2")
    assert "The first 2; --limit shows more." in on_terminal(cli, "list", "--since", "0", "--limit", "2")


def test_the_progress_bar_tells_of_what_runs_before_anything_has_ended(cli: Cli):
    cli.add("--timeout", "3", "--retries", "0", "--", "sleep", "60")
    assert "running 1" in plain(on_terminal(cli, "process-queue"))


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
