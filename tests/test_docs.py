"""What the documents say is what the code does: tables and diagrams are made from it."""

import json
import os
import re

import pytest

from queue_core import lifecycle, setting_table
from queue_core.cli.dispatch import VERBS

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def read(*names: str) -> str:
    with open(os.path.join(ROOT, *names), encoding="utf-8") as file:
        return file.read()


def between(text: str, mark: str) -> str:
    found = re.search(rf"<!-- {mark}[^>]*-->\n(.*?)\n?<!-- /{mark} -->", text, re.S)
    assert found, f"the marks of {mark} are missing"
    return found.group(1).strip()


def test_the_readme_has_the_table_of_settings_as_it_is() -> None:
    assert between(read("README.md"), "settings") == setting_table.documentation()


def test_the_architecture_has_the_transitions_as_they_are() -> None:
    assert between(read("docs", "architecture.md"), "lifecycle") == lifecycle.diagram()


@pytest.mark.parametrize("verb", VERBS)
def test_the_readme_names_every_verb(verb: str) -> None:
    assert f"runq {verb}" in read("README.md")


def test_the_example_configuration_is_json_and_names_both_programs() -> None:
    example = json.loads(read("claude_config.example.json"))
    assert example["mcpServers"]["runq"]["command"] == "runq-mcp"
    for hooks in example["hooks"].values():
        for entry in hooks:
            assert all(hook["command"] == "runq" and hook["args"][0] == "hook" for hook in entry["hooks"])


def test_the_version_is_said_in_one_voice() -> None:
    from queue_core.version import VERSION

    assert f'version = "{VERSION}"' in read("pyproject.toml")
