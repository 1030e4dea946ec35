"""Policy asked again about a stored job: when it is replayed by an agent, and when it is to run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from queue_core.judge import Judge
from queue_core.settings import Settings
from queue_core.value import replace
from tests.unit.programs_for_tests import make_program
from tests.unit.test_views import job

if TYPE_CHECKING:
    from queue_core.home import Home
    from queue_core.jobs import Job


@pytest.fixture
def stored(bin_dir: Path, tmp_path: Path) -> Job:
    tool = str(Path(make_program(bin_dir / "tool")).resolve())
    project = str(tmp_path.resolve())
    return job(argv=("tool", "x"), program=tool, executable=tool, cwd=project, project=project, caller="agent")


def judged(home: Home, it: Job, rules: str = "", **settings: object) -> str | None:
    Path(home.rules_file).write_text(rules)
    Path(home.rules_file).chmod(0o600)
    return Judge(home, Settings(**settings)).job(it)  # pyright: ignore[reportArgumentType]


def rule(it: Job, more: str = "") -> str:
    return f"[[allow]]\nargv = ['tool', 'x']\nprogram = '{it.program}'\n{more}\n"


def test_what_a_rule_covers_may_run(home: Home, stored: Job) -> None:
    assert judged(home, stored, rule(stored)) is None


def test_when_the_rule_is_gone_it_may_not(home: Home, stored: Job) -> None:
    assert judged(home, stored) == "no rule covers this command"


def test_when_the_rules_are_broken_it_may_not(home: Home, stored: Job) -> None:
    assert "cannot be read" in (judged(home, stored, "[[") or "")


def test_a_program_that_was_exchanged_for_another_may_not(home: Home, stored: Job, bin_dir: Path) -> None:
    other = make_program(bin_dir / "other")
    (bin_dir / "link").symlink_to(stored.program)
    it = replace(stored, executable=str(bin_dir / "link"))
    assert judged(home, it, rule(it), agents="allow") is None
    (bin_dir / "link").unlink()
    (bin_dir / "link").symlink_to(other)
    assert "is no longer" in (judged(home, it, rule(it), agents="allow") or "")


def test_the_variables_that_were_asked_for_count_and_the_captured_ones_do_not(home: Home, stored: Job) -> None:
    it = replace(stored, env={"PATH": "/b", "HOME": "/h", "LANG": "de", "VIRTUAL_ENV": "/v"})
    assert judged(home, it, rule(it)) is None
    assert "HOME" in (judged(home, replace(it, own_env=("HOME",)), rule(it)) or "")
    it = replace(stored, env={"PATH": "/b", "LD_PRELOAD": "/x"}, own_env=("LD_PRELOAD",))
    assert "LD_PRELOAD" in (judged(home, it, rule(it)) or "")
    assert judged(home, it, rule(it, "env = ['LD_PRELOAD']")) is None


def test_an_input_file_counts(home: Home, stored: Job) -> None:
    it = replace(stored, stdin_path=f"{stored.cwd}/input")
    assert "input" in (judged(home, it, rule(it)) or "")
    assert judged(home, it, rule(it, "stdin = true")) is None


def test_an_input_file_outside_the_project_is_asked_about_whatever_the_rule(home: Home, stored: Job) -> None:
    it = replace(stored, stdin_path="/etc/hostname")
    assert "outside" in (judged(home, it, rule(it, "stdin = true")) or "")


def test_what_a_person_has_rejected_may_not_run(home: Home, stored: Job) -> None:
    it = replace(stored, rejected_at=1.0)
    assert judged(home, it, rule(it)) == "a person has rejected it"


def test_input_from_the_database_counts(home: Home, stored: Job) -> None:
    it = replace(stored, has_input=True)
    assert "input" in (judged(home, it, rule(it)) or "")


def test_a_folder_that_became_a_link_out_of_the_project_does_too(home: Home, stored: Job, tmp_path: Path) -> None:
    (tmp_path / "work").symlink_to("/")
    it = replace(stored, cwd=str(tmp_path / "work"))
    assert "outside" in (judged(home, it, rule(it)) or "")


class TestWhatAPersonHasApproved:
    """At the claim it is not judged by rules again, but it has to be what was approved."""

    def at_claim(self, home: Home, it: Job) -> str | None:
        return Judge(home, Settings()).at_claim(it)

    def test_it_runs_whatever_the_rules_say(self, home: Home, stored: Job) -> None:
        assert self.at_claim(home, stored) == "no rule covers this command"
        assert self.at_claim(home, replace(stored, approved_at=1.0)) is None

    def test_not_what_a_rule_denies_since(self, home: Home, stored: Job) -> None:
        it = replace(stored, approved_at=1.0)
        denied = f"[[deny]]\nargv = ['tool', '...']\nprogram = '{it.program}'\nreason = 'no longer'\n"
        assert judged(home, it, denied) == "no longer"
        assert self.at_claim(home, it) == "a rule denies it since: no longer"
        said = Judge(home, Settings()).why_not_approved(it) or ""
        assert f"rules.toml line 1 denies job {it.id} (no longer)" in said
        judged(home, it, denied.replace("'tool', '...'", "'tool', 'y'"))
        assert self.at_claim(home, it) is None
        assert Judge(home, Settings()).why_not_approved(it) is None

    def test_not_where_its_folder_leads_elsewhere_since(self, home: Home, stored: Job, tmp_path: Path) -> None:
        folder, other = tmp_path.resolve() / "folder", tmp_path.resolve() / "other"
        other.mkdir()
        folder.mkdir()
        it = replace(stored, cwd=str(folder), approved_at=1.0)
        assert self.at_claim(home, it) is None
        folder.rmdir()
        folder.symlink_to(other)
        assert "leads elsewhere" in (self.at_claim(home, it) or "")

    def test_an_earlier_approval_does_not_cover_what_an_agent_has_run_again(self, home: Home, stored: Job) -> None:
        assert Judge(home, Settings()).job(replace(stored, approved_at=1.0)) == "no rule covers this command"


def test_runqs_own_files_are_closed_even_where_the_project_holds_them(home: Home, stored: Job) -> None:
    folder = Path(home.config)
    project = str(folder.parent.resolve())
    it = replace(stored, argv=("tool", f"{folder.name}/rules.toml"), cwd=project, project=project)
    pattern = f"[[allow]]\nargv = ['tool', '<relpath>']\nprogram = '{it.program}'\n"
    assert judged(home, it, pattern) == "no rule covers this command"
    assert judged(home, replace(it, argv=("tool", "rules.toml")), pattern) is None


def test_what_the_repository_runs_counts(home: Home, stored: Job, bin_dir: Path, tmp_path: Path) -> None:
    git = str(Path(make_program(bin_dir / "git")).resolve())
    project = tmp_path.resolve() / "repository"
    for name in ("objects", "refs"):
        (project / ".git" / name).mkdir(parents=True)
    (project / ".git/HEAD").write_text("ref: refs/heads/main\n")
    it = replace(stored, argv=("git", "status"), program=git, executable=git, cwd=str(project), project=str(project))
    pattern = f"[[allow]]\nargv = ['git', 'status']\nprogram = '{git}'\n"
    assert judged(home, it, pattern) is None
    (project / ".git/config").write_text("[core]\n\tfsmonitor = evil\n")
    assert "core.fsmonitor" in (judged(home, it, pattern) or "")
    assert judged(home, it, pattern + "trust_repository = true\n") is None


@pytest.mark.parametrize("secret", [".ssh/id", ".netrc", ".config/gcloud/key", ".claude.json", ".bash_history"])
def test_where_the_home_is_the_project_its_secrets_are_closed(
    home: Home, stored: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    user = tmp_path.resolve() / "user"
    (user / "notes").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(user))
    it = replace(stored, argv=("tool", secret), cwd=str(user), project=str(user))
    pattern = f"[[allow]]\nargv = ['tool', '<relpath>']\nprogram = '{it.program}'\n"
    assert judged(home, it, pattern) == "no rule covers this command"
    assert judged(home, replace(it, argv=("tool", "notes")), pattern) is None
    inside = replace(it, argv=("tool", "x"), cwd=str(user / ".ssh"))
    assert "closed to agents" in (judged(home, inside, pattern) or "")
