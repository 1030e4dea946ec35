"""The real store against the reference: the same steps to both, and both tell the same after each.

`RUNQ_MODEL_EXAMPLES=5000 pytest tests/stateful/test_machine.py` tries that many, other ones on every run.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from tests import claims
from tests.stateful.engines import ENGINES
from tests.stateful.machine import Tally, run

EXAMPLES = int(os.environ.get("RUNQ_MODEL_EXAMPLES", "0"))  # of a long run
USUAL = 60 if claims.THOROUGH else 25
STEPS = 40


@pytest.mark.claim("model")
@pytest.mark.parametrize("engine", ENGINES)
def test_the_store_does_what_the_reference_does_whoever_interleaves(engine: str) -> None:
    tally = Tally()
    size = settings(max_examples=EXAMPLES or USUAL, stateful_step_count=STEPS, derandomize=not EXAMPLES)
    run(ENGINES[engine], tally, size)
    claims.tried("model", examples=tally.examples, steps=tally.steps)
