"""What programs make of their options and operands: shown to be so on real ones, and asked about by the policy."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from queue_core import known_programs
from queue_core.policy import Request, Rule, decide
from tests.cli.conftest import Cli, cli
from tests.safety.workshop import git, repository, write

__all__ = ["cli"]


def verdict(argv: list[str], pattern: str, cwd: str = "/project", *, options: bool = False) -> str:
    """What the policy says of a command under one rule; nothing is run."""
    request = Request(caller="agent", argv=tuple(argv), program=f"/programs/{argv[0]}", cwd=cwd)
    rule = Rule(argv=tuple(pattern.split()), options=options)
    return decide(request, [rule], roots=[cwd], agents="ask", resolve=lambda name: f"/programs/{name}").verdict


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """With a link out in it, and with files that name what lies outside."""
    folder = tmp_path.resolve() / "project"
    write(folder.parent / "outside/secret", "SECRET\n")
    write(folder.parent / "outside/secret.json", '"SECRET"\n')
    write(folder / "names0", f"{folder.parent}/outside/secret\0")
    write(folder / "sums", f"{'0' * 64}  {folder.parent}/outside/secret\n")
    write(folder / "a", "a\n")
    (folder / "link").symlink_to(folder.parent / "outside")
    return folder


@pytest.mark.parametrize(
    ("argv", "seen"),
    [
        (["grep", "-R", "SECRET", "."], "SECRET"),
        (["grep", "-nR", "SECRET", "."], "SECRET"),
        (["grep", "--deref", "SECRET", "."], "SECRET"),
        (["ls", "-LR", "."], "secret"),
        (["du", "-aL", "."], "secret"),
        (["wc", "--files0-from=names0"], "outside/secret"),
        (["wc", "--files0=names0"], "outside/secret"),
        (["du", "--files0-from=names0"], "outside/secret"),
        (["sha256sum", "-c", "sums"], "outside/secret: FAILED"),
        (["sha256sum", "--che", "sums"], "outside/secret: FAILED"),
        (["jq", "-n", 'import "secret" as $x {search: "./link"}; $x'], "SECRET"),
        (["jq", "-n", "env.CANARY"], "told"),
        (["jq", "-n", "$ENV.CANARY"], "told"),
    ],
)
def test_an_option_or_a_word_that_reads_outside_is_asked_about(project: Path, argv: list[str], seen: str) -> None:
    if shutil.which(argv[0]) is None:
        pytest.skip(f"{argv[0]} is not installed")
    environ = {**os.environ, "CANARY": "told"}
    done = subprocess.run(argv, cwd=project, capture_output=True, text=True, check=False, timeout=60, env=environ)
    assert seen in done.stdout
    assert verdict(argv, f"{argv[0]} ...", str(project)) == "ask"


def test_the_second_file_of_uniq_is_written(project: Path) -> None:
    subprocess.run(["uniq", "sums", "a"], cwd=project, check=True)
    assert (project / "a").read_bytes() == (project / "sums").read_bytes()
    for pattern in ("uniq ...", "uniq sums ...", "uniq <relpath> ...", "uniq <relpath> <relpath>", "uniq sums <word>"):
        assert verdict(["uniq", "sums", "a"], pattern, str(project)) == "ask", pattern
    assert verdict(["uniq", "-c", "a"], "uniq ...", str(project)) == "allowed"
    assert verdict(["uniq", "sums", "a"], "uniq sums a", str(project)) == "allowed"


# Judged only, never run.
@pytest.mark.parametrize(
    ("command", "pattern", "expected"),
    [
        ("date 010100002000", "date ...", "ask"),
        ("date 010100002000", "date <int>", "ask"),
        ("date -u +%F", "date ...", "allowed"),
        ("date", "date ...", "allowed"),
        ("hostname x", "hostname ...", "ask"),
        ("xxd a b", "xxd ...", "ask"),
        ("xxd a", "xxd ...", "allowed"),
        ("tail -f a", "tail ...", "ask"),
        ("tail -F a", "tail ...", "ask"),
        ("tail -5f a", "tail ...", "ask"),
        ("tail --retry a", "tail ...", "ask"),
        ("tail --pid=1 a", "tail ...", "ask"),
        ("tail --follow=name a", "tail ...", "ask"),
        ("tail -n5 a", "tail ...", "allowed"),
        ("tail -5 a", "tail ...", "allowed"),
        ("head --lines=5 a", "head ...", "allowed"),
        ("head --lin=5 a", "head ...", "ask"),
        ("ls -H .", "ls ...", "ask"),
        ("ls --dereference-command-line .", "ls ...", "ask"),
        ("du -D .", "du ...", "ask"),
        ("du -X a .", "du ...", "ask"),
        ("du -sh -d2 .", "du ...", "allowed"),
        ("grep -f a b", "grep ...", "ask"),
        ("grep -rfa b", "grep ...", "ask"),
        ("grep --exclude-from=a b", "grep ...", "ask"),
        ("grep -A3 -e x -i b", "grep ...", "allowed"),
        ("cut -d, -f1-3 a", "cut ...", "allowed"),
        ("nl -ba a", "nl ...", "allowed"),
        ("comm -12 a b", "comm ...", "allowed"),
        ("cat - a", "cat ...", "allowed"),
        ("stat -c %s a", "stat ...", "allowed"),
        ("echo --anything", "echo ...", "allowed"),
        ("jq -r .imported a", "jq ...", "allowed"),
        ("jq --from-file a b", "jq ...", "ask"),
        ("jq env a", "jq <word> <relpath>", "ask"),
        ("jq .x a", "jq .x <relpath>", "allowed"),
        ("gh pr checkout 5", "gh pr ...", "ask"),
        ("gh pr checkout 5", "gh pr checkout <int>", "ask"),
        ("gh pr checkout 5", "gh pr checkout 5", "allowed"),
        ("gh co 5", "gh co ...", "ask"),
        ("gh issue develop 5", "gh issue ...", "ask"),
        ("gh pr view 5", "gh pr ...", "allowed"),
        ("glab mr checkout 5", "glab mr ...", "ask"),
        ("hub push x", "hub push ...", "ask"),
    ],
)
def test_options_and_operands_are_judged_by_what_they_do(command: str, pattern: str, expected: str) -> None:
    assert verdict(command.split(), pattern) == expected


@pytest.mark.parametrize(
    "option",
    """
    -vettool=./x -ldflags=x -p -pevil -r -w -i -D -x -c -o -V -v=x -n=3 --pdbcls --pdbcls=a:b --junitxml=x --junit-xml
    --basetemp=x --formatter=x --format=./x.js --format --parser=x --reporter --runner=x --transform=x --resolver=x
    --environment=x --env --setup --setupFiles=x --setup-file --globals --global-setup --bootstrap=x --require=x
    --node-options=x --install-types --fix --fix-only --write --in-place --inplace --update-snapshot --plugin --plu
    --exe --outp --out --conf --load-plug --post-comm --testRunner=x --setup.x=y --title=./x.js --title=x.so
    --title=a=b --title=a:b --title=a/b --title={x} --x - -- --- --draft_x --TITLE --é -é --timeout=../x
    """.split(),  # noqa: SIM905
)
def test_under_options_true_what_may_run_load_or_write_is_asked_about(option: str) -> None:
    assert verdict(["tool", option], "tool ...", options=True) == "ask"


@pytest.mark.parametrize(
    "option",
    """
    -v -vv -q -s -n -n4 -l -h -a -1 -vq --title --title=x --draft --verbose --quiet --dry-run --timeout=5 --color=never
    --no-color --strict --all --max-count=3 --show-locals --fail-fast --tag=a,b --help --version
    """.split(),  # noqa: SIM905
)
def test_plain_ones_pass(option: str) -> None:
    assert verdict(["tool", option], "tool ...", options=True) == "allowed"


def test_no_list_of_harmless_options_has_one_that_its_program_runs_or_writes_by() -> None:
    """Those of the readers, looked through: nothing that follows links, waits, or reads names from a file."""
    suspects = ("from", "check", "follow", "dereference", "retry", "pid", "file=", "output=", "exec", "config")
    for program in ("ls", "cat", "head", "tail", "wc", "grep", "du", "sha256sum", "jq", "od", "cmp"):
        known = known_programs.HARMLESS_OPTIONS[program]
        assert [one for one in known for word in suspects if word in one] == [], program


def test_a_repository_that_lies_outside_the_project_is_held(cli: Cli) -> None:
    """From the rules down to the worker: the judge tells where agents may work."""
    (cli.home / "rules.toml").write_text("[[allow]]\nargv = ['git', 'log']\n")
    (cli.home / "rules.toml").chmod(0o600)
    other = cli.home.parent / "other"
    repository(other)
    write(cli.project / "sub/.git", f"gitdir: {other}/.git\n")
    held = cli.ok("add", "--json", "--cwd", str(cli.project / "sub"), "--", "git", "log", CLAUDECODE="1").json
    assert held["state"] == "held"
    assert "the repository lies outside" in cli.ok("status", str(held["id"])).out
    repository(cli.project)
    git(cli.project, "status")
    assert cli.ok("add", "--json", "--", "git", "log", CLAUDECODE="1").json["state"] == "available"
