"""What a command is given: its environment, its folder, its input; and never the client's own variables."""

import sys
from typing import Any

import pytest

from queue_core.jobs import Filter
from tests.helpers import wait_until

from .conftest import Rig

CLIENT = {
    "ANTHROPIC_API_KEY": "sk-secret",
    "ANTHROPIC_BASE_URL": "http://proxy",
    "CLAUDE_CODE_ENTRYPOINT": "cli",
    "CLAUDE_CODE_SSE_PORT": "1234",
}
AGENT = {**CLIENT, "CLAUDECODE": "1"}
HOOK = {**AGENT, "CLAUDE_PROJECT_DIR": "/"}


def seen(rig: Rig, job: int) -> dict[str, str]:
    """The environment that a job's command printed."""
    pairs = (rig.run_dir(job) / "output").read_bytes().decode().split("\0")[:-1]
    return dict(pair.split("=", 1) for pair in pairs)


def add_env(rig: Rig, *options: str, verb: str = "add", env: dict[str, str] | None = None, **more: Any) -> int:
    rig.runq(verb, *options, "--", "env", "-0", env=env or {}, **more)  # under a hook it says nothing
    return rig.queue.ids(Filter())[-1]


def test_a_persons_command_gets_the_workers_environment_beneath_where_it_was_added(rig: Rig) -> None:
    job = add_env(rig, "--env", "OWN=1", env={"LANG": "de_DE.UTF-8", "VIRTUAL_ENV": "/venv", "ADDED": "there"})
    rig.drain(env={"LANG": "C", "WORKERS": "yes"})
    env = seen(rig, job)
    assert (env["OWN"], env["LANG"], env["VIRTUAL_ENV"], env["WORKERS"]) == ("1", "de_DE.UTF-8", "/venv", "yes")
    assert "ADDED" not in env


def test_a_hooks_command_gets_the_workers_environment_too(rig: Rig) -> None:
    job = add_env(rig, verb="hook", env=HOOK, input="{}")
    assert rig.job(job).caller == "hook"
    rig.drain(env={"WORKERS": "yes"})
    assert seen(rig, job)["WORKERS"] == "yes"


def test_an_agents_command_gets_only_the_pass_list(rig: Rig) -> None:
    job = add_env(rig, env=AGENT)
    assert (rig.job(job).caller, rig.state(job)) == ("agent", "held")
    rig.runq("approve", str(job))
    workers = {"WORKERS": "yes", "MY_TOKEN": "secret", "TZ": "UTC", "LC_TIME": "C", "NAMED": "in the settings"}
    (rig.home / "config.toml").write_text('pass_env = ["NAMED"]\n')
    rig.drain(env={**workers, "RUNQ_PASS_ENV": "WORKERS"})  # which variables pass is the user's file's alone to say
    env = seen(rig, job)
    assert (env["TZ"], env["LC_TIME"], env["NAMED"]) == ("UTC", "C", "in the settings")
    own = {"RUNQ_JOB_ID", "RUNQ_CLAIM", "RUNQ_HOME", "RUNQ_PROGRESS", "RUNQ_CLAIM_TOKEN", "PWD"}
    assert set(env) <= own | {"PATH", "LANG", "HOME", "TZ", "LC_TIME", "NAMED"}


@pytest.mark.parametrize("caller", [{}, HOOK, AGENT])
def test_nobodys_command_sees_the_clients_variables(rig: Rig, caller: dict[str, str]) -> None:
    job = add_env(rig, env=caller)
    rig.runq("approve", str(job), code=None)
    rig.drain(env=CLIENT)  # a person's worker in the client's terminal
    assert not [name for name in seen(rig, job) if name.startswith(("CLAUDE", "ANTHROPIC"))]


def test_a_named_variable_is_taken_from_where_the_job_was_added(rig: Rig) -> None:
    job = add_env(rig, "--pass-env", "ANTHROPIC_API_KEY", "--pass-env", "MISSING", env={"ANTHROPIC_API_KEY": "sk-mine"})
    rig.drain(env={"ANTHROPIC_API_KEY": "sk-workers"})
    env = seen(rig, job)
    assert env["ANTHROPIC_API_KEY"] == "sk-mine"
    assert "MISSING" not in env


def test_a_command_is_told_which_job_it_is(rig: Rig) -> None:
    folder = rig.folder / "somewhere"
    folder.mkdir()
    job = rig.add("--cwd", str(folder), "--", "sh", "-c", "pwd -P; env -0 > ../env")
    rig.drain()
    text = (rig.folder / "env").read_bytes().decode()
    env = dict(pair.split("=", 1) for pair in text.split("\0")[:-1])
    assert rig.output(job).strip() == str(folder.resolve())
    assert env["PWD"] == str(folder)
    assert (env["RUNQ_JOB_ID"], env["RUNQ_CLAIM"], env["RUNQ_HOME"]) == (str(job), "1", str(rig.home))
    assert env["RUNQ_PROGRESS"] == str(rig.run_dir(job) / "progress")
    assert env["RUNQ_CLAIM_TOKEN"]


def test_a_workers_settings_are_not_its_commands(rig: Rig) -> None:
    job = add_env(rig)
    rig.drain(env={"RUNQ_CAPACITY": "5000", "RUNQ_JOB_ID": "77"})
    env = seen(rig, job)
    assert "RUNQ_CAPACITY" not in env and "RUNQ_GRACE" not in env
    assert env["RUNQ_JOB_ID"] == str(job)


def test_a_job_inside_a_job_has_its_callers_rights(rig: Rig) -> None:
    outer = rig.sh(f"exec {sys.executable} -m queue_core.launch add -- true")
    rig.drain()
    inner = int(rig.output(outer))
    assert rig.job(inner).caller == "person"


def test_input_comes_from_a_file(rig: Rig) -> None:
    (rig.folder / "in").write_bytes(b"\x00\xffline\n")
    job = rig.add("--stdin", "in", "--", "cat")
    rig.drain()
    assert (rig.run_dir(job) / "output").read_bytes() == b"\x00\xffline\n"


def test_input_is_kept_in_the_database_and_its_file_is_gone_afterwards(rig: Rig) -> None:
    text = "ünïcode\n" * 5000
    gate = rig.gate()
    job = rig.add("--stdin", "-", "--", "sh", "-c", f"cat; {gate.wait}", input=text)
    rig.worker()
    rig.pid_of(job)
    kept = rig.run_dir(job).with_name("1.stdin")
    assert kept.stat().st_mode & 0o777 == 0o600
    gate.open()
    rig.reaches(job, "succeeded")
    assert rig.output(job) == text
    assert not kept.exists()


def test_input_from_the_database_is_there_for_a_retry(rig: Rig) -> None:
    job = rig.add("--stdin", "-", "--", "sh", "-c", "cat; [ -e second ] || { touch second; exit 1; }", input="again")
    rig.worker()
    rig.reaches(job, "succeeded")
    assert [(rig.run_dir(job, claim) / "output").read_text() for claim in (1, 2)] == ["again", "again"]
    wait_until(lambda: not list(rig.run_dir(job).parent.glob("*.stdin")), "the input is gone")


def test_without_input_a_command_reads_an_end(rig: Rig) -> None:
    job = rig.sh("cat; echo end")
    rig.drain()
    assert rig.output(job) == "end\n"
