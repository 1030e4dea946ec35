"""Answers that cannot be written: one sentence, and the exit code says that something failed."""

import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import RUNQ, Cli

FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("--version",),
        ("list", "--help"),
        ("add", "--help"),
        ("status",),
        ("status", "--json"),
        ("list",),
        ("rules", "--json"),
        ("output", "1"),
        ("wait", "1"),
    ],
)
def test_an_answer_that_cannot_be_written_is_told_in_one_sentence(cli: Cli, words: tuple[str, ...]) -> None:
    cli.add("--", "seq", "50000")
    cli.work()
    with FULL.open("wb") as full:
        done = subprocess.run(
            [*RUNQ, *words], env=cli.env, cwd=cli.project, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr.startswith("runq: cannot write (No space left on device); "), done.stderr
    assert done.stderr.count("\n") == 1
