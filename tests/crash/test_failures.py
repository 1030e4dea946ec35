"""The last lines of `make reliability` say why it failed: of the log of a machine far away, only those are kept."""

import sys
from pathlib import Path

import pytest

from tests import claims, reliability

TESTS = """\
import pytest
from tests import claims

@pytest.mark.parametrize("key", [key for key in claims.CLAIMS if key not in {left_out!r}])
def test_a_claim(key):
    claims.tried(key, tests=1)
    assert key != {broken!r}, "a [bracket]"
"""
STORMS = """\
import sys
from tests.crash import failures
failures.note(*{reasons!r})
sys.exit({code})
"""


class Rehearsal:
    """`make reliability` with other storms and tests."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._folder, self._monkeypatch, self._capfd = folder, monkeypatch, capfd

    def __call__(self, *, reasons: tuple[str, ...] = (), broken: str = "", left_out: str = "") -> tuple[int, str]:
        """The exit code, and what is said after the table."""
        tests = self._folder / "test_rehearsed.py"
        tests.write_text(TESTS.format(left_out={left_out}, broken=broken))

        def storms(_kills: int, _seed: int) -> list[str]:
            return [sys.executable, "-c", STORMS.format(reasons=reasons, code=int(bool(reasons)))]

        def marked(_jobs: int, report: Path) -> list[str]:
            options = ("-q", "-p", "no:cacheprovider", "-c", "/dev/null", f"--rootdir={self._folder}")
            return [sys.executable, "-m", "pytest", *options, f"--junitxml={report}", str(tests)]

        self._monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they take longer to load than the tests
        self._monkeypatch.setattr(reliability, "storms", storms)
        self._monkeypatch.setattr(reliability, "marked_tests", marked)
        self._monkeypatch.setattr(sys, "argv", ["reliability", "--seed", "5"])
        code = reliability.main()
        return code, self._capfd.readouterr().out.partition("min, seed 5\n")[2]


@pytest.fixture
def rehearse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Rehearsal:
    return Rehearsal(tmp_path, monkeypatch, capfd)


def test_a_good_run_ends_with_the_table(rehearse: Rehearsal) -> None:
    assert rehearse() == (0, "")


def test_what_was_not_reached_or_not_tried_is_said_last(rehearse: Rehearsal) -> None:
    few = "points of the group 'settle' were hit 3 times only, not 20"
    code, said = rehearse(reasons=(few, "all together: 3 kills"), left_out="sleep")
    assert code == 1
    assert said.splitlines() == [
        "FAILED:",
        "  the storms ended with code 1",
        f"  {few}",
        "  all together: 3 kills",
        f"  not tried: {claims.CLAIMS['sleep']}",
    ]


@pytest.mark.parametrize("report", [None, "<testsuites><testsuite>"])
def test_a_report_that_was_cut_short_names_nothing(tmp_path: Path, report: str | None) -> None:
    if report:
        (tmp_path / "tests.xml").write_text(report)
    assert reliability.failed_tests(tmp_path / "tests.xml") == []


def test_failed_tests_are_named_last_whatever_else_has_failed(rehearse: Rehearsal) -> None:
    code, said = rehearse(reasons=tuple(f"reason {number}\nand so on" for number in range(30)), broken="wal")
    assert code == 1
    assert said.count("reason ") == reliability.MOST
    assert "  and 22 more\n  the tests ended with code 1\n  " in said
    assert "test_rehearsed::test_a_claim[wal]: AssertionError: a [bracket]" in said.splitlines()[-1]
