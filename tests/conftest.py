"""What every test runs under: one Hypothesis profile, bounded and the same on every run."""

import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

from tests import claims

FAILED = pytest.StashKey[bool]()  # whether a test that was tried has failed

settings.register_profile(
    "bounded",
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("bounded")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--renew-snapshots", action="store_true", help="write tests/mcp/snapshots anew; review the diff")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Count a test for the claims that it is marked with, once; one that was skipped has tried nothing."""
    report = yield
    if (report.when == "call" and not report.skipped) or report.failed:
        item.stash[FAILED] = report.failed or item.stash.get(FAILED, False)
    if report.when == "teardown" and FAILED in item.stash:  # by now nothing is patched any more
        for marker in item.iter_markers("claim"):
            claims.tried(marker.args[0], tests=1, broken=int(item.stash[FAILED]))
    return report


@pytest.fixture(autouse=True)
def _nobody_is_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests mean the same in a terminal, in an agent's shell and in a queued job."""
    for name in list(os.environ):
        if name != "RUNQ_CLAIMS" and name.startswith(
            ("RUNQ_", "CLAUDE", "ANTHROPIC_", "GEMINI_CLI", "CURSOR_AGENT", "CODEX_")
        ):
            monkeypatch.delenv(name)
