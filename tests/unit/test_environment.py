"""What a command sees: for each caller, with the client's own variables and everybody's keys in the worker's."""

from __future__ import annotations

import pytest

from queue_core.environment import Environments, captured

KEYS = {
    "OPENAI_API_KEY": "k1",
    "GITHUB_TOKEN": "k2",
    "AWS_SECRET_ACCESS_KEY": "k3",
}
CLIENT = {
    "CLAUDECODE": "1",
    "CLAUDE_PROJECT_DIR": "/p",
    "CLAUDE_CODE_OAUTH_TOKEN": "c1",
    "ANTHROPIC_API_KEY": "c2",
    "ANTHROPIC_BASE_URL": "c3",
    "RUNQ_CAPACITY": "5",
    "RUNQ_JOB_ID": "1",
}
WORKER = {**KEYS, **CLIENT, "PATH": "/worker", "HOME": "/h", "TERM": "xterm", "LC_ALL": "C", "EDITOR": "vi"}
STORED = {"PATH": "/added", "HOME": "/h", "LANG": "de", "MINE": "1"}
OWN = {"RUNQ_JOB_ID": "7", "RUNQ_HOME": "/home"}


def seen(caller: str, pass_env: tuple[str, ...] = (), stored: dict[str, str] | None = None) -> dict[str, str]:
    return Environments(WORKER, pass_env).for_command(STORED if stored is None else stored, caller=caller, own=OWN)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("caller", ["person", "hook"])
def test_a_persons_and_a_hooks_command_sees_the_workers_environment_beneath_its_own(caller: str) -> None:
    found = seen(caller)
    assert found == {**KEYS, "TERM": "xterm", "LC_ALL": "C", "EDITOR": "vi", **STORED, **OWN}


def test_an_agents_command_sees_only_what_the_pass_list_names() -> None:
    assert seen("agent") == {"TERM": "xterm", "LC_ALL": "C", **STORED, **OWN}


@pytest.mark.parametrize("caller", ["person", "hook", "agent"])
def test_nobody_sees_the_clients_own_variables_unless_named(caller: str) -> None:
    assert not set(seen(caller)) & (set(CLIENT) - set(OWN))
    assert seen(caller, ("ANTHROPIC_API_KEY",))["ANTHROPIC_API_KEY"] == "c2"


def test_an_agents_command_sees_a_key_only_if_it_is_named() -> None:
    found = seen("agent", ("GITHUB_TOKEN", "NOT_THERE"))
    assert found["GITHUB_TOKEN"] == "k2"
    assert "OPENAI_API_KEY" not in found
    assert "NOT_THERE" not in found


def test_a_name_is_passed_as_it_is_and_not_as_a_prefix() -> None:
    assert not set(seen("agent", ("GITHUB", "ANTHROPIC_"))) & {"GITHUB_TOKEN", "ANTHROPIC_API_KEY"}


@pytest.mark.parametrize("caller", ["person", "hook", "agent"])
def test_what_was_stored_beats_the_workers_and_the_claims_own_beats_all(caller: str) -> None:
    found = seen(caller, stored={"PATH": "/added", "RUNQ_JOB_ID": "99"})
    assert (found["PATH"], found["RUNQ_JOB_ID"]) == ("/added", "7")


class TestCaptured:
    ENVIRON = {"PATH": "/b", "HOME": "/h", "LANG": "de", "VIRTUAL_ENV": "/v", "API_KEY": "k", "TERM": "x"}

    def test_a_few_variables_are_taken_from_where_the_job_was_added(self) -> None:
        assert captured(self.ENVIRON, {}, ()) == {"PATH": "/b", "HOME": "/h", "LANG": "de", "VIRTUAL_ENV": "/v"}

    def test_others_only_by_name_and_if_they_are_there(self) -> None:
        found = captured({"API_KEY": "k", "OTHER_KEY": "o"}, {}, ("API_KEY", "NONE"))
        assert found == {"API_KEY": "k"}

    def test_the_jobs_own_beat_them(self) -> None:
        assert captured({"PATH": "/b"}, {"PATH": "/mine", "A": "1"}, ()) == {"PATH": "/mine", "A": "1"}
