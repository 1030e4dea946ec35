"""The Claude Code plugin says of runq what is so: its version, its programs, and the tools that its skill teaches."""

import json
import re
from pathlib import Path
from typing import Any

from queue_core.cli.dispatch import VERBS
from queue_core.version import VERSION

ROOT = Path(__file__).parents[1]
PLUGIN = ROOT / "plugin"
TOOLS = {tool["name"]: tool for tool in json.loads((ROOT / "tests/mcp/snapshots/tools.json").read_text())}
SKILL = (PLUGIN / "skills/queue/SKILL.md").read_text()


def load(*names: str) -> Any:
    return json.loads(ROOT.joinpath(*names).read_text())


def test_the_plugin_has_the_version_of_the_package_and_is_what_the_marketplace_offers() -> None:
    manifest = load("plugin", ".claude-plugin", "plugin.json")
    assert manifest["version"] == VERSION
    (offered,) = load(".claude-plugin", "marketplace.json")["plugins"]
    assert offered["name"] == manifest["name"]
    assert (ROOT / offered["source"]).resolve() == PLUGIN


def test_the_skill_is_short() -> None:
    assert len(SKILL.splitlines()) < 120
    assert [line for line in SKILL.splitlines() if len(line) > 120] == []


def test_what_the_skill_teaches_are_arguments_of_the_tools() -> None:
    """Calls in its tables name their tool; those in its blocks are for `enqueue`."""
    calls = re.findall(r"`(\w+)`[^|`]*with `(\{.*?\})`", SKILL)
    calls += re.findall(r"`(list_jobs)`.*or with `(\{.*?\})`", SKILL)
    (block,) = re.findall(r"```json\n(.*?)```", SKILL, re.S)
    calls += [("enqueue", line) for line in block.splitlines()]
    assert len(calls) >= 10
    for tool, arguments in calls:
        given = json.loads(arguments.replace("CURSOR", '"1"'))
        assert set(given) <= set(TOOLS[tool]["inputSchema"]["properties"]), arguments


def test_the_skill_speaks_of_tools_and_verbs_that_there_are() -> None:
    assert set(re.findall(r"`(dead_letter_\w+)`", SKILL)) <= set(TOOLS)
    verbs = re.findall(r"`runq ([a-z-]+)", SKILL)
    assert len(verbs) >= 10
    assert set(verbs) <= set(VERBS)
