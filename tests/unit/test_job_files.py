"""A file's lines: each a job of its own, alike or not, and what no line may be taken for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from queue_core.alike import Alike
from queue_core.errors import InvalidJob
from queue_core.job_files import read_jobs
from queue_core.submission import new_job

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from queue_core.model import NewJob

LINES: list[dict[str, Any]] = [
    {"argv": ["true", "1"]},
    {"argv": ["true", "2"]},
    {"argv": ["echo"], "queue": "q"},
    {"queue": "q", "argv": ["echo", "é"]},
    {"argv": ["true"], "retries": 1},
    {"argv": ["false"], "retries": 1},
    {"command": "git fetch"},
    {"argv": ["git"], "kwargs": {"all": True}},
    {"argv": ["git"], "kwargs": {"all": True}},
    {"handler": "score", "arguments": {"n": [1, None, 2.5]}},
    {"handler": "score", "arguments": {"n": 2}},
    {"argv": ["true", "3"]},
]


def read(tmp_path: Path, text: str) -> Sequence[NewJob]:
    path = tmp_path / "jobs"
    path.write_text(text, encoding="utf-8")
    return read_jobs(str(path))


def test_what_is_kept_together_are_the_jobs_that_the_lines_ask_for(tmp_path: Path) -> None:
    jobs = read(tmp_path, "\n \n".join(json.dumps(line) for line in LINES) + "\r\n")
    assert list(jobs) == [new_job(line) for line in LINES]
    assert [jobs[place] for place in range(-len(LINES), 0)] == list(jobs)
    assert isinstance(jobs, Alike)
    assert [len(own) for _, own in jobs.stretches][:3] == [2, 2, 2]


@pytest.mark.parametrize(
    ("second", "why"),
    [
        ('{"argv": ["true"], "retries": true}', "line 2: retries is a whole number"),  # to Python, that is 1
        ('{"argv": ["true", 1], "retries": 1}', "line 2: every item of argv"),
        ('{"argv": "true", "retries": 1}', "line 2: argv is a list"),
        ('{"argv":\n["true"], "retries": 1}', "line 2 is not valid JSON"),  # a value ends with its line
        ('{"argv": ["true"], "retries": 1} {}', "line 2 is not valid JSON"),
        ('{"argv": ["true"], "retries": 1},', "line 2 is not valid JSON"),
        ('["true"]', "line 2 is JSON, but no object"),
    ],
)
def test_a_line_like_the_one_before_is_looked_at_as_closely(tmp_path: Path, second: str, why: str) -> None:
    with pytest.raises(InvalidJob, match=why):
        read(tmp_path, f'{{"argv": ["true"], "retries": 1}}\n{second}\n')
