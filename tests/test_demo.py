"""`runq demo` is the main job on real input; it checks itself on the way, and this checks that it ran."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

STEPS = (
    "2 commands wait, worker: off",
    "was booted because of the backlog",
    "job 1 succeeded, exit code 0: captured src/app.py",
    "job 2 dead after 2 attempts",
    "dead_letter_retry 2 -> held",
    "job 2 succeeded, exit code 0: the settings are back",
    "job 3 exit code 7: finished all the same",
    "it ran once",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def told(folder: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "HOME": folder, "TMPDIR": folder}
    command = [sys.executable, "-m", "queue_core.launch", "demo"]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120, cwd=folder)


def test_the_demo_shows_every_step(told: subprocess.CompletedProcess[str]) -> None:
    assert told.returncode == 0, told.stderr
    at = 0
    for step in STEPS:
        at = told.stdout.index(step, at)


def test_the_demo_ends_with_commands_that_can_be_typed(told: subprocess.CompletedProcess[str]) -> None:
    assert f"{sys.executable} -m queue_core.launch add -- echo hello" in told.stdout


def test_an_interrupted_demo_says_so_and_leaves_nothing_behind(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "queue_core.launch", "demo"]
    demo = subprocess.Popen(
        command,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        start_new_session=True,
    )
    assert demo.stdout is not None
    while "2. A session starts" not in demo.stdout.readline():
        assert demo.poll() is None
    os.killpg(demo.pid, signal.SIGINT)  # as a terminal does it: all of its processes
    _, said = demo.communicate(timeout=60)
    assert (demo.returncode, said) == (130, "runq: interrupted\n")
    assert os.listdir(tmp_path) == []


def test_the_demo_leaves_nothing_behind(told: subprocess.CompletedProcess[str], folder: str) -> None:
    assert told.returncode == 0
    assert os.listdir(folder) == []
