"""What every test runs under: one Hypothesis profile, bounded and the same on every run."""

import os

import pytest
from hypothesis import HealthCheck, settings

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


@pytest.fixture(autouse=True)
def _nobody_is_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests mean the same in a terminal, in an agent's shell and in a queued job."""
    for name in list(os.environ):
        if name.startswith(("RUNQ_", "CLAUDE", "ANTHROPIC_", "GEMINI_CLI", "CURSOR_AGENT", "CODEX_")):
            monkeypatch.delenv(name)
