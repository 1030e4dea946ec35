"""What somebody asks of a worker, as the worker reads it."""

from pathlib import Path

import pytest

from queue_core.home import Home
from queue_core.liveness import ask_to_leave, asked_to_leave


@pytest.mark.parametrize(
    ("asked", "heard"),
    [
        ([], None),
        (["finish"], "finish"),
        (["stop"], "stop"),
        (["finish", "stop"], "stop"),
        (["stop", "finish"], "stop"),
        (["finish", "finish", "stop", "stop"], "stop"),
    ],
)
def test_the_most_that_was_asked_of_a_worker_counts(tmp_path: Path, asked: list[str], heard: str | None):
    home = Home(data=str(tmp_path), config=str(tmp_path))
    (tmp_path / "workers").mkdir()
    for one in asked:
        ask_to_leave(home, "w", now=one == "stop")
    assert asked_to_leave(home, "w") == heard
