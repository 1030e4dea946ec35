"""The guide's program with a handler, and the lines below it, as a newcomer types them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.test_docs import blocks, read
from tests.worker.conftest import Rig

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 60  # seconds for what takes one on an idle machine


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    made.env["PATH"] = f"{Path(sys.executable).parent}:{made.env['PATH']}"
    yield made
    made.close()


def section(name: str) -> str:
    """The guide from one heading to the next."""
    return read("docs", "guide.md").partition(f"\n## {name}\n")[2].partition("\n## ")[0]


def test_the_guides_program_runs_its_job_with_the_lines_below_it(rig: Rig) -> None:
    text = section("Functions instead of commands")
    (program,), (lines,) = blocks(text, "python"), blocks(text, "sh")
    assert program.startswith("# jobs.py\n")
    (rig.folder / "jobs.py").write_text(program)
    done = subprocess.run(
        ["sh", "-e", "-c", lines],
        env=rig.env,
        cwd=rig.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert rig.state(1) == "succeeded"
    result = json.dumps({"result": rig.status(1)["result"]}, separators=(",", ":"))[1:-1]
    assert result in done.stdout
    assert result in lines, "the guide says what comes of it"
