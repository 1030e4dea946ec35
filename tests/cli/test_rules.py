"""`runq allow` and `runq rules`: what the user writes is what is meant, and it can be asked why."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from queue_core import rules
from tests.cli.conftest import AGENT, Cli, on_terminal


def stored(cli: Cli) -> list[tuple[str, ...]]:
    return [rule.argv for rule in rules.load(str(cli.home / "rules.toml"))]


def test_a_pattern_is_stored_with_the_real_path_of_its_program(cli: Cli):
    folder = cli.project / "bin"
    folder.mkdir()
    tool = folder / "real-tool"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    (folder / "tool").symlink_to("real-tool")
    cli.ok("allow", "tool --fast", PATH=f"{folder}:{cli.env['PATH']}")
    (rule,) = rules.load(str(cli.home / "rules.toml"))
    assert (rule.argv, rule.program) == (("tool", "--fast"), os.path.realpath(tool))
    assert stat.S_IMODE((cli.home / "rules.toml").stat().st_mode) == 0o600


def test_several_quoted_patterns_are_several_rules(cli: Cli):
    cli.ok("allow", "git status", "git log -n <int> ...")
    assert stored(cli) == [("git", "status"), ("git", "log", "-n", "<int>", "...")]


def test_quotes_and_strange_characters_survive(cli: Cli):
    cli.ok("allow", """git commit -m 'a "b" \\ c'""", "git log 'ü\x7f'")
    assert stored(cli) == [("git", "commit", "-m", 'a "b" \\ c'), ("git", "log", "ü\x7f")]


def test_allowing_twice_writes_one_rule(cli: Cli):
    cli.ok("allow", "git status")
    cli.ok("allow", "git status")
    assert stored(cli) == [("git", "status")]


@pytest.mark.parametrize("words", [["git", "status"], ["--", "git", "status"]])
def test_bare_words_are_refused_with_the_quotes_they_lack(cli: Cli, words: list[str]):
    ran = cli("allow", *words)
    assert ran.code == 2
    assert f"runq allow '{' '.join(word for word in words if word != '--')}'" in ran.err
    assert not (cli.home / "rules.toml").exists()


def test_one_word_among_quoted_patterns_is_a_pattern(cli: Cli):
    cli.ok("allow", "git status", "true")
    assert stored(cli) == [("git", "status"), ("true",)]


BAD = {
    "": "needs a pattern",
    " ": "pattern is empty",
    "git 'status": "check its quotes",
    "git ... status": "end of a pattern only",
    "git <path>": "none of <int>",
    "<word> status": "begins with a program",
    "no-such-program-xyz -v": "no program",
    "sh -c ...": "runs other programs",
    "git status --short|--short": "quote the whole command",
}


@pytest.mark.parametrize("what", BAD)
def test_a_pattern_that_would_not_mean_what_its_writer_thinks_is_refused(cli: Cli, what: str):
    words = what.split("|") if what else []
    ran = cli("allow", *words)
    assert (ran.code, BAD[what] in ran.err) == (2, True)
    assert not (cli.home / "rules.toml").exists()


def test_one_bad_pattern_and_none_is_written(cli: Cli):
    assert cli("allow", "git status", "sh -c ...").code == 2
    assert not (cli.home / "rules.toml").exists()


def test_variables_and_input_can_be_allowed_with_it(cli: Cli):
    cli.ok("allow", "cat -n", "--env", "LANG", "--stdin")
    words = ("add", "--json", "--env", "LANG=C", "--stdin", "-", "--", "cat", "-n")
    assert cli.ok(*words, stdin=b"x", **AGENT).json["state"] == "available"


def test_rules_lists_them(cli: Cli):
    assert cli.ok("rules").out == ""
    cli.ok("allow", "git status")
    program = rules.load(str(cli.home / "rules.toml"))[0].program
    assert cli.ok("rules").lines == [["allow", program, "-", "git status"]]
    view = cli.ok("rules", "--json").json
    assert (view["agents"], view["roots"], view["path"]) == ("ask", [], str(cli.home / "rules.toml"))
    assert [(rule["kind"], rule["argv"], rule["program"]) for rule in view["rules"]] == [
        ("allow", ["git", "status"], program)
    ]


def test_explain_says_what_would_become_of_a_command_and_why(cli: Cli):
    (cli.home / "rules.toml").write_text(
        '[[allow]]\nargv = ["git", "log", "..."]\n'
        '[[deny]]\nargv = ["git", "push", "..."]\nreason = "releases are mine"\n'
    )
    (cli.home / "rules.toml").chmod(0o600)

    def explain(*argv: str) -> tuple[str, str]:
        view = cli.ok("rules", "--explain", "--json", "--", *argv).json
        return view["verdict"], view["reason"]

    assert explain("git", "log", "main")[0] == "allowed"
    assert explain("git", "push", "--force") == ("denied", "releases are mine")
    assert explain("make", "test") == ("ask", "no rule covers this command")
    assert ["verdict", "denied"] in cli.ok("rules", "--explain", "--", "git", "push").lines
    assert cli.states() == {}


def test_explain_needs_a_command_and_a_command_needs_explain(cli: Cli):
    assert "--explain -- PROGRAM" in cli("rules", "--explain").err
    assert "runq rules --explain -- git status" in cli("rules", "--", "git", "status").err


@pytest.mark.parametrize("what", ["broken", "open to others"])
def test_a_rules_file_that_cannot_be_trusted_means_ask(cli: Cli, what: str):
    path: Path = cli.home / "rules.toml"
    cli.ok("allow", "git status")
    if what == "broken":
        path.write_text("[[allow]")
    else:
        path.chmod(0o666)
    assert cli("rules").code == 2
    assert cli("allow", "git log").code == 2
    ran = cli.ok("rules", "--explain", "--json", "--", "git", "status")
    assert (ran.json["verdict"], "cannot be read" in ran.json["reason"]) == ("ask", True)
    assert cli("doctor").code == 1


def explained(cli: Cli, *words: str) -> dict[str, Any]:
    return cli.ok("rules", "--explain", "--json", *words).json


def test_explain_says_why_the_nearest_rules_do_not_do_and_what_would_allow_it(cli: Cli):
    (cli.home / "rules.toml").write_text(
        '# mine\n[[allow]]\nargv = ["git", "push", "origin", "<word>"]\n\n[[allow]]\nargv = ["git", "log"]\n'
        '[[allow]]\nargv = ["make"]\n'
    )
    (cli.home / "rules.toml").chmod(0o600)
    view = explained(cli, "--", "git", "push", "origin", "--force")
    assert [(rule["line"], rule["why_not"]) for rule in view["near"]] == [
        (2, "argument 3 `--force` is not `<word>`"),
        (5, "argument 1 `push` is not `log`"),
    ]
    assert view["to_allow"] == "runq allow 'git push origin --force'"
    cli.ok("allow", "git push origin --force")
    view = explained(cli, "--", "git", "push", "origin", "--force")
    assert (view["verdict"], view["rule"]["line"], view["near"]) == ("allowed", 10, [])
    lines = cli.ok("rules", "--explain", "--", "git", "push").lines
    assert ["verdict", "ask"] in lines
    assert any(line[0] == "not" and line[-2:] == ["2", "argument 2 `origin` is missing"] for line in lines)


def test_explain_takes_the_folder_the_variables_and_the_input_into_account(cli: Cli):
    (cli.project / "sub").mkdir()
    cli.ok("allow", "cat -n", "--env", "LANG=C", "--stdin")
    assert explained(cli, "--env", "LANG=C", "--stdin", "--cwd", "sub", "--", "cat", "-n")["verdict"] == "allowed"
    view = explained(cli, "--env", "LANG=de", "--stdin", "--", "cat", "-n")
    assert (view["verdict"], "to that value" in view["reason"]) == ("ask", True)
    assert view["to_allow"] == "runq allow --env LANG=de --stdin 'cat -n'"
    assert explained(cli, "--cwd", "/", "--", "cat", "-n")["verdict"] == "denied"
    assert cli("rules", "--explain", "--env", "LANG", "--", "cat").code == 2
    assert "goes with --explain" in cli("rules", "--stdin").err


def test_explain_offers_no_rule_that_would_mean_more_than_the_command(cli: Cli):
    assert explained(cli, "--", "echo", "<word>")["to_allow"] is None
    assert explained(cli, "--", "echo", "a\nb")["to_allow"] is None


def test_explain_on_a_terminal_is_short_and_says_all_of_it(cli: Cli):
    cli.ok("allow", "git push origin <word>")
    text = on_terminal(cli, "rules", "--explain", "--", "git", "push", "x")
    assert "ask: an agent's job would wait for your approval" in text
    assert f"not by   git push origin '<word>'  ({cli.home}/rules.toml:2): argument 2 `x` is not `origin`" in text
    assert "to allow it: runq allow 'git push x'" in text


def test_a_rule_can_let_options_follow_and_trust_the_repository(cli: Cli):
    cli.ok("allow", "--options", "--trust-repository", "git log ...")
    (rule,) = rules.load(str(cli.home / "rules.toml"))
    assert (rule.options, rule.trust_repository) == (True, True)
    assert cli.ok("rules").lines[0][2] == "options, trust_repository"


def test_a_mistake_in_the_file_is_told_with_line_and_column(cli: Cli):
    (cli.home / "rules.toml").write_text('[[allow]]\nargv = ["git", "<file>"]\n')
    (cli.home / "rules.toml").chmod(0o600)
    place = f"{cli.home}/rules.toml, line 2, column 16"
    assert place in cli("rules").err
    assert place in cli("doctor").out
    assert place in str(cli.ok("health", "--json").json["problems"])
