"""Faults that command-running MCP servers had to publish, each tried on runq by the way that it was used."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.cli.conftest import Cli, cli

__all__ = ["cli"]

RULES = """
[[allow]]
argv = ["git", "status"]
[[allow]]
argv = ["git", "diff", "..."]
[[allow]]
argv = ["git", "<word>"]
[[allow]]
argv = ["echo", "..."]
[[allow]]
argv = ["sh", "-c", "true"]
"""


def rules(cli: Cli, text: str = RULES) -> None:
    (cli.home / "rules.toml").write_text(text)
    (cli.home / "rules.toml").chmod(0o600)


def queued(cli: Cli, *argv: str) -> str:
    """The state of what an agent's own shell queues."""
    return cli.ok("add", "--json", "--retries", "0", "--", *argv, CLAUDECODE="1").json["state"]


def ran(cli: Cli) -> list[int]:
    """The jobs that have run when all that may run has."""
    cli.work()
    return [number for number, state in cli.states().items() if state in ("succeeded", "dead")]


@pytest.mark.parametrize("what", ["missing", "empty", "broken", "of others", "a folder"])
def test_cve_2026_55580_without_a_file_of_rules_everything_is_asked_about(cli: Cli, what: str) -> None:
    path = cli.home / "rules.toml"
    if what == "a folder":
        path.mkdir()
    elif what != "missing":
        rules(cli, {"empty": "", "broken": RULES + "[[allow"}.get(what, RULES))
    if what == "of others":
        path.chmod(0o622)
    assert queued(cli, "git", "status") == "held"
    assert queued(cli, "touch", "pwned") == "held"
    assert ran(cli) == []


def test_cve_2026_55580_nor_does_a_broken_one_leave_asking_turned_off(cli: Cli) -> None:
    (cli.home / "config.toml").write_text('agents = "allow"\n')
    rules(cli, "[[deny")
    assert queued(cli, "touch", "pwned") == "held"
    assert ran(cli) == []


@pytest.mark.parametrize(
    "argv",
    [
        ("git", "-c", "alias.x=!touch pwned", "x"),
        ("git", "-c", "alias.status=!touch pwned", "status"),
        ("git", "--config-env=alias.x=X", "x"),
        ("git", "status", "-c", "alias.x=!touch pwned"),
    ],
)
def test_cve_2026_55582_an_allowed_git_runs_no_alias(cli: Cli, argv: tuple[str, ...]) -> None:
    rules(cli)
    assert queued(cli, *argv) == "held"
    assert ran(cli) == []
    assert not (cli.project / "pwned").exists()


def test_cve_2026_55582_nor_one_that_the_repository_has(cli: Cli) -> None:
    rules(cli)
    subprocess.run(["git", "init", "-q", str(cli.project)], check=True)
    with (cli.project / ".git/config").open("a") as file:
        file.write("[alias]\n\tx = !touch pwned\n")
    assert queued(cli, "git", "x") == "held"
    assert ran(cli) == []
    assert not (cli.project / "pwned").exists()


@pytest.mark.parametrize("text", ["$(touch pwned)", "`touch pwned`", "; touch pwned", "| touch pwned", "\ntouch pwned"])
def test_cve_2026_85660_a_shells_signs_are_plain_text_to_what_is_allowed(cli: Cli, text: str) -> None:
    rules(cli)
    assert queued(cli, "git", "status" + text) == "held"
    assert queued(cli, "git", "status", text) == "held"
    assert queued(cli, "sh", "-c", "true" + text) == "held"
    if text.isprintable():
        assert queued(cli, "echo", text) == "available"
        assert ran(cli) == [4]
        assert cli.ok("output", "4").out == text + "\n"
    assert not (cli.project / "pwned").exists()


@pytest.mark.parametrize(
    "argv",
    [
        ("git", "diff", "--output=pwned"),
        ("git", "diff", "--output", "pwned"),
        ("git", "diff", "--outp=pwned"),
        ("git", "diff", "HEAD", "--output=pwned"),
        ("git", "diff", "--", "--output=pwned"),
    ],
)
def test_cve_2025_68144_an_option_that_writes_does_not_follow_what_is_allowed(cli: Cli, argv: tuple[str, ...]) -> None:
    rules(cli)
    assert queued(cli, *argv) == "held"
    assert ran(cli) == []
    assert not (cli.project / "pwned").exists()


class TestSandboxedCodeRewritesTheSettings:
    """CVE 2026-25725: what runs under the policy must not be able to change it through runq."""

    def test_cve_2026_25725_an_agents_job_cannot_change_the_rules_through_runq(self, cli: Cli) -> None:
        runq = json.dumps([*cli_words(), "allow", "touch pwned"])
        rules(cli, f"[[allow]]\nargv = {runq}\n")
        before = (cli.home / "rules.toml").read_bytes()
        assert queued(cli, *json.loads(runq)) == "available"
        assert ran(cli) == [1]
        assert cli.states() == {1: "dead"}
        assert "only a person may" in cli.ok("output", "1").out
        assert (cli.home / "rules.toml").read_bytes() == before

    def test_cve_2026_25725_nor_can_it_approve_itself_from_its_shell(self, cli: Cli) -> None:
        assert queued(cli, "touch", "pwned") == "held"
        for verb in (("approve", "1"), ("allow", "touch pwned")):
            refused = cli(*verb, CLAUDECODE="1")
            assert refused.code == 1
            assert "only a person may" in refused.err
        assert ran(cli) == []

    @pytest.mark.parametrize("name", ["rules.toml", ".runq/rules.toml", ".config/runq/rules.toml", "config.toml"])
    def test_cve_2026_25725_a_file_in_the_project_is_never_read(self, cli: Cli, name: str) -> None:
        path = cli.project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('agents = "allow"\n' if name == "config.toml" else '[[allow]]\nargv = ["touch", "..."]\n')
        path.chmod(0o600)
        assert queued(cli, "touch", "pwned") == "held"
        assert ran(cli) == []

    @pytest.mark.parametrize("argv", [("tee", "rules.toml"), ("cp", "src", "config.toml"), ("tee", "runq.db")])
    def test_cve_2026_25725_runqs_own_files_are_closed_even_where_the_project_holds_them(
        self, cli: Cli, argv: tuple[str, ...]
    ) -> None:
        """A project that is the whole home folder has runq's own folder in it."""
        rules(cli, '[[allow]]\nargv = ["tee", "<relpath>"]\n[[allow]]\nargv = ["cp", "..."]\n')
        words = [argv[0], *(f"home/{word}" for word in argv[1:])]
        (cli.home.parent / "home" / "src").write_text("x")
        (cli.home / "config.toml").write_text(f'roots = ["{cli.home.parent}"]\n')
        folder = str(cli.home.parent)
        said = cli.ok("add", "--json", "--cwd", folder, "--", *words, CLAUDECODE="1", CLAUDE_PROJECT_DIR="").json
        assert said["state"] == "held"
        refused = cli("add", "--cwd", str(cli.home), "--", "tee", "x", CLAUDECODE="1", CLAUDE_PROJECT_DIR="")
        assert (refused.code, "closed to agents" in refused.err) == (1, True)


def cli_words() -> list[str]:
    from tests.cli.conftest import RUNQ

    return RUNQ
