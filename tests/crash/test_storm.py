"""Every scenario in small, and the proof that a storm would find what it is there to find."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import claims
from tests.crash.__main__ import note, summary
from tests.crash.storm import SCENARIOS, Result, Scenario, Storm
from tests.helpers import short_folder

SEED = 20261122
KILLS = {"servers and workers": 14, "keepers too": 14, "commands too": 20, "store": 12}
USUAL = ("commands too", "store")  # the others are a part of every full storm
LONGEST = 240.0  # seconds, on a machine that is busy with other things
STORMS = 8  # within which a planted fault has to show: whether a kill falls where it matters is chance
# What the planted faults need: keepers or workers that die while commands run, clients that live to hear an answer.
KEEPERS = Scenario("keepers", 0, {"keeper": 100}, lasting=(1500, 2500), servers=0, workers=2)
WORKERS = Scenario("workers", 0, {"worker": 100}, lasting=(1500, 2500), servers=0, workers=2)
CLIENTS = Scenario("clients", 0, {"worker": 100}, servers=0, workers=2)


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as made:
        yield made


def storm(scenario: Scenario, folder: Path, *, kills: int, plant: str = "", seed: int = SEED) -> Result:
    made = Storm(scenario, folder, seed, plant=plant)
    try:
        return made.run(kills=kills, seconds=LONGEST)
    finally:
        made.close()


@pytest.mark.claim("lost")
@pytest.mark.claim("overlap")
@pytest.mark.claim("unrecorded")
@pytest.mark.claim("truth")
@pytest.mark.parametrize("name", SCENARIOS if claims.THOROUGH else USUAL)
def test_a_small_storm_finds_nothing(name: str, folder: Path) -> None:
    result = storm(SCENARIOS[name]._replace(servers=2), folder, kills=KILLS[name])
    note(result)
    assert result.findings == [], summary(result)
    assert result.kills.total() >= KILLS[name]


@pytest.mark.parametrize(
    ("scenario", "planted"),
    [
        (KEEPERS, {"alone counts as lost": "overlap"}),
        *([(KEEPERS, {"lost counts as never started": "unrecorded"})] if claims.THOROUGH else []),
        *([(WORKERS, {"keepers not asked": "unrecorded", "no retries": "lost"})] if claims.THOROUGH else []),
        (CLIENTS, {"acknowledged before the commit": "lost", "every end is a success": "truth"}),
    ],
)
def test_planted_faults_are_found(scenario: Scenario, planted: dict[str, str], folder: Path) -> None:
    wanted = set(planted.values())
    for number in range(STORMS):
        home = folder / str(number)
        home.mkdir()
        kills = 8 if scenario is WORKERS else 5
        result = storm(scenario, home, kills=kills, plant=",".join(planted), seed=SEED + number)
        wanted -= {finding.claim for finding in result.findings}
        if not wanted:
            return
    pytest.fail(f"not found in {STORMS} storms: {wanted}")
