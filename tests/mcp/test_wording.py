"""The queue's hints in terms of an agent's tools: none of them is forgotten."""

import re
from pathlib import Path

import pytest

from mcp_server.wording import PERSONS, for_agents

CORE = Path(__file__).parents[2] / "queue_core"
HINT = re.compile(r"`(runq [a-z]+(?: (?:list|retry|show)\b)?(?: --[a-z]+(?: held)?)?)[^`]*`")


def hints() -> list[str]:
    """Every `runq VERB` in a sentence of the parts that agents hear from; docstrings are not sentences."""
    found: set[str] = set()
    for path in CORE.rglob("*.py"):
        if "cli" in path.parts:
            continue
        code = re.sub(r'"""[\s\S]*?"""|#.*', "", path.read_text(encoding="utf-8"))
        found.update(match[0] for match in HINT.finditer(code))
    return sorted(found)


def test_every_hint_of_the_queue_is_one_that_an_agent_can_follow_or_pass_on() -> None:
    assert len(hints()) > 5
    for hint in hints():
        concrete = re.sub(r"\{[^}]*\}", "7", hint)
        sentence = f"(a session's server boots one, or run {concrete})" if "work" in concrete else concrete
        verb = for_agents(sentence).removeprefix("`").split()
        assert verb[0] != "runq" or verb[1].strip("`") in PERSONS, hint


@pytest.mark.parametrize(
    ("told", "heard"),
    [
        (
            "there is no job 5; `runq list` shows the jobs there are",
            "there is no job 5; `list_jobs` shows the jobs there are",
        ),
        ("`runq status 12` tells more", "`status` with job_id 12 tells more"),
        ("2 dead letters: `runq dead list` shows why", "2 dead letters: `dead_letter_list` shows why"),
        ("`runq dead retry --all` runs them again", "`dead_letter_retry` runs them again"),
        (
            "a person's approval (look with `runq approve --show 5`, then `runq approve 5`)",
            "a person's approval (look with `runq approve --show 5`, then `runq approve 5`)",
        ),
        (
            "2 waiting for approval: `runq list --state held`, look with `runq approve --show ID`, then"
            " `runq approve ID` or `runq reject ID`",
            "2 waiting for approval: `list_jobs` shows them; ask the user to look with `runq approve --show ID`, then"
            " `runq approve ID` or `runq reject ID`",
        ),
    ],
)
def test_a_sentence_names_tools_instead_of_verbs(told: str, heard: str) -> None:
    assert for_agents(told) == heard
