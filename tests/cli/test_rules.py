"""`runq allow` and `runq rules`: what the user writes is what is meant, and it can be asked why."""

import fcntl
import os
import shlex
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from queue_core import rules
from queue_core.errors import StoreBusy
from queue_core.model import Origin
from queue_core.policy import Rule
from queue_core.service import Queue
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
    "npm exec ...": "npm runs other programs",
    "FOO=1 ls": "runq allow --env FOO=1 'ls'",
    "ls && rm x": "`&&` is for a shell",
    "ls; rm x": "`ls;` is for a shell",
    "ls > x": "`>` is for a shell",
    "ls $HOME": "would expand `$HOME`",
    "cat ~/x": "would expand `~/x`",
    "ls *.py": "would expand `*.py`",
    "git log -n <int": "looks like a placeholder",
    "cat <relpath>x": "looks like a placeholder",
    "ls|--env|1A": "is no variable",
    "ls|--cwd|nowhere": "does not exist",
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
    assert view["to_allow"] == f"runq allow --cwd {cli.project} 'git push origin --force'"
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
    assert view["to_allow"] == f"runq allow --cwd {cli.project} --env LANG=de --stdin 'cat -n'"
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
    flat = " ".join(text.split())
    assert "not by git push origin '<word>' (line 2): argument 2 `x` is not `origin`" in flat
    assert f"to allow it: runq allow --cwd {cli.project} 'git push x'" in flat
    assert flat.count("rules.toml") == 1
    assert "argument" in text and "argu\n" not in text  # lines end between words


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


def test_an_approval_does_not_beat_a_rule_that_denies(cli: Cli):
    first, second = cli.add("--", "touch", "x", **AGENT), cli.add("--", "touch", "y", **AGENT)
    cli.ok("approve", str(first))
    (cli.home / "rules.toml").write_text('# mine\n[[deny]]\nargv = ["touch", "..."]\nreason = "no files"\n')
    (cli.home / "rules.toml").chmod(0o600)
    cli.work()
    assert (cli.states()[first], "a rule denies it since: no files" in str(cli.job(first))) == ("held", True)
    ran = cli("approve", str(second))
    assert (ran.code, "rules.toml line 2 denies" in ran.err, "take that rule back first" in ran.err) == (1, True, True)
    assert cli.states() == {first: "held", second: "held"}
    assert not (cli.project / "x").exists()


def test_what_a_pattern_quotes_is_meant_as_it_stands(cli: Cli):
    cli.ok("allow", "git commit -m 'a && b; $HOME ~ *'", "git log '<int'")
    assert stored(cli) == [("git", "commit", "-m", "a && b; $HOME ~ *"), ("git", "log", "<int")]


def test_a_rule_can_be_for_one_folder_alone(cli: Cli):
    (cli.project / "sub").mkdir()
    (cli.project / "link").symlink_to("sub")
    cli.ok("allow", "--cwd", "link", "cat -n")
    (rule,) = rules.load(str(cli.home / "rules.toml"))
    assert rule.cwd == os.path.realpath(cli.project / "sub")
    assert explained(cli, "--cwd", "sub", "--", "cat", "-n")["verdict"] == "allowed"
    assert explained(cli, "--", "cat", "-n")["verdict"] == "ask"


@pytest.mark.parametrize(
    "words",
    [
        ("--", "git", "status"),
        ("--env", "LANG=C", "--stdin", "--", "git", "log"),
        ("--cwd", "sub", "--", "git", "log", "a b"),
        ("--", "cat", "it's"),
    ],
)
def test_what_explain_offers_covers_the_command_at_once_and_no_other_folder(cli: Cli, words: tuple[str, ...]):
    (cli.project / "sub").mkdir()
    for name in ("objects", "refs"):
        (cli.project / ".git" / name).mkdir(parents=True)
    (cli.project / ".git/HEAD").write_text("ref: refs/heads/main\n")
    (cli.project / ".git/config").write_text("[core]\n\tfsmonitor = evil\n")
    offered = explained(cli, *words)["to_allow"]
    cli.ok(*shlex.split(offered)[1:])
    assert explained(cli, *words)["verdict"] == "allowed"
    (cli.project / "other").mkdir()
    behind = words.index("--")
    elsewhere = [word for word in words[:behind] if word not in ("--cwd", "sub")]
    assert explained(cli, *elsewhere, "--cwd", "other", *words[behind:])["verdict"] == "ask"


def test_explain_advises_where_a_rule_cannot_say_it_or_should_be_looked_at(cli: Cli):
    assert "no rule can say just this" in explained(cli, "--", "echo", "<int>")["advice"]
    assert "LD_PRELOAD can make" in explained(cli, "--env", "LD_PRELOAD=/x", "--", "ls")["advice"]
    assert explained(cli, "--env", "LANG=C", "--", "ls")["advice"] is None
    assert explained(cli, "--", "git", "commit", "-m", "a b")["to_allow"].endswith("\"git commit -m 'a b'\"")
    (cli.home / "rules.toml").write_text("[allow]\n")
    (cli.home / "rules.toml").chmod(0o600)
    view = explained(cli, "--", "ls")
    assert (view["to_allow"], "mend the file: " in view["advice"]) == (None, True)


def test_explain_without_the_dashes_is_told_where_they_go(cli: Cli):
    for words in (("git", "status"), ("git", "-s")):
        assert "runq rules --explain -- " in cli("rules", "--explain", *words).err


def test_a_rule_without_effect_is_told(cli: Cli):
    (cli.home / "rules.toml").write_text('[[allow]]\nargv = ["bash", "..."]\n[[allow]]\nargv = ["ls", "..."]\n')
    (cli.home / "rules.toml").chmod(0o600)
    first, second = cli.ok("rules").lines
    assert ("no effect" in first[2], second[2]) == (True, "-")
    assert cli("doctor").out.count("has no effect") == 1


def test_on_a_narrow_terminal_no_pattern_is_cut(cli: Cli):
    pattern = "git log --oneline --graph --all --decorate --since=2020-01-01 ..."
    cli.ok("allow", "--env", "LANG", pattern)
    text = on_terminal(cli, "rules")
    assert f"allow  {pattern}" in text
    assert "KIND" in on_terminal(cli, "rules", columns=200)


def test_without_rules_and_asking_one_thing_is_said(cli: Cli):
    (cli.home / "config.toml").write_text('agents = "allow"\n')
    (cli.home / "config.toml").chmod(0o600)
    for text in (on_terminal(cli, "rules"), cli("doctor").out):
        assert "agents may run" in text
        assert "waits for your approval" not in text


def test_doctor_warns_of_what_gives_agents_more_than_meant(cli: Cli):
    (cli.home / "config.toml").write_text(
        'roots = ["/", "/no/such/folder"]\noutput_secrets = "keep"\npass_env = ["LANG", "PYTHONPATH"]\n'
    )
    (cli.home / "config.toml").chmod(0o600)
    said = cli("doctor", RUNQ_AGENTS="allow").out
    for words in ("agents may work anywhere", "/no/such/folder is no folder", "secrets in output", "PYTHONPATH in"):
        assert words in said
    assert "RUNQ_AGENTS is set, and is ignored: agents is set in config.toml alone" in said


def test_where_the_trail_cannot_take_it_nothing_is_allowed(cli: Cli):
    """Otherwise the rule would be in force, and the audit trail would never hear of it: it is there the next time."""
    cli.ok("status")
    rule = Rule(argv=("git", "status"), program="/usr/bin/git")
    with (cli.home / "runq.lock").open("a") as holder, closing(Queue.open(cli.env, patience=0.05)) as queue:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(StoreBusy):
            queue.allow(rule, Origin(caller="person"))
        assert not (cli.home / "rules.toml").exists()
        fcntl.flock(holder, fcntl.LOCK_UN)
        assert queue.allow(rule, Origin(caller="person"))
