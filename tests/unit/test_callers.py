"""Who asks: it follows from the environment, and in doubt it is an agent."""

from __future__ import annotations

import os

import pytest

from queue_core.callers import caller_of, origin_of, under_hook
from queue_core.model import Origin

CLAUDE = {"CLAUDECODE": "1"}
HOOK = {**CLAUDE, "CLAUDE_PROJECT_DIR": "/p"}


def caller(environ: dict[str, str], *, hook_verb: bool = False, of_job: str | None = None) -> str:
    return caller_of(environ, hook_verb=hook_verb, caller_of_job=lambda job: of_job)  # pyright: ignore[reportArgumentType, reportReturnType]


@pytest.mark.parametrize(
    ("environ", "add", "hook"),
    [
        ({}, "person", "hook"),
        ({"CLAUDE_PROJECT_DIR": "/p"}, "person", "hook"),
        (CLAUDE, "agent", "agent"),
        (HOOK, "hook", "hook"),
        ({"CLAUDECODE": "", "CLAUDE_PROJECT_DIR": "/p"}, "person", "hook"),
        ({**CLAUDE, "CLAUDE_PROJECT_DIR": ""}, "agent", "agent"),
        ({"GEMINI_CLI": "1"}, "agent", "agent"),
        ({"CURSOR_AGENT": "1"}, "agent", "agent"),
        ({"CODEX_SANDBOX_NETWORK_DISABLED": "1"}, "agent", "agent"),
        ({"CODEX_THREAD_ID": "x"}, "agent", "agent"),
        ({"OPENCODE": "1"}, "agent", "agent"),
        ({"AI_AGENT": "some-agent"}, "agent", "agent"),
        ({"CODEX_SANDBOX": "seatbelt"}, "agent", "agent"),
        ({"RUNQ_JOB_ID": ""}, "person", "hook"),
    ],
)
def test_the_environment_tells_who_asks(environ: dict[str, str], add: str, hook: str) -> None:
    assert caller(environ) == add
    assert caller(environ, hook_verb=True) == hook


@pytest.mark.parametrize("of_job", ["person", "hook", "agent"])
def test_inside_a_job_it_is_that_jobs_caller(of_job: str) -> None:
    assert caller({"RUNQ_JOB_ID": "7"}, of_job=of_job) == of_job


@pytest.mark.parametrize("of_job", ["person", "hook", "agent"])
def test_an_agents_shell_inside_a_job_is_an_agents_shell(of_job: str) -> None:
    assert caller({**CLAUDE, "RUNQ_JOB_ID": "7"}, of_job=of_job) == "agent"


@pytest.mark.parametrize(("of_job", "expected"), [("person", "hook"), ("hook", "hook"), ("agent", "agent")])
def test_a_hook_inside_a_job_is_the_lesser_of_both(of_job: str, expected: str) -> None:
    assert caller({**HOOK, "RUNQ_JOB_ID": "7"}, of_job=of_job) == expected


def test_the_jobs_own_id_is_asked_for() -> None:
    asked: list[int] = []
    caller_of({"RUNQ_JOB_ID": "42"}, hook_verb=False, caller_of_job=asked.append)
    assert asked == [42]


@pytest.mark.parametrize("number", ["x", "-1", "1.5", "0x1", "²", "٣", "9" * 30, "9" * 5000])
def test_a_job_that_is_none_makes_an_agent(number: str) -> None:
    assert caller({"RUNQ_JOB_ID": number}) == "agent"
    assert caller({"RUNQ_JOB_ID": number}, of_job=None, hook_verb=True) == "agent"


def test_a_hook_is_told_by_both_marks() -> None:
    assert under_hook(HOOK)
    assert not under_hook(CLAUDE)


class TestOrigin:
    def test_session_and_project_come_from_the_environment(self) -> None:
        environ = {"CLAUDE_CODE_SESSION_ID": "s", "CLAUDE_PROJECT_DIR": "/p"}
        assert origin_of(environ, "hook") == Origin(caller="hook", session="s", project="/p")

    def test_a_session_that_the_hooks_input_names_counts_more(self) -> None:
        assert origin_of({"CLAUDE_CODE_SESSION_ID": "s"}, "person", session="t").session == "t"

    def test_a_person_has_no_project_unless_told_and_others_have_the_folder_they_are_in(self) -> None:
        assert origin_of({}, "person").project is None
        assert origin_of({}, "agent").project == os.getcwd()
