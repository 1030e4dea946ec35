"""What the documents say is what the code does: tables and diagrams are made from it."""

import glob
import json
import os
import re
import tomllib

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


def documents() -> list[str]:
    """What people read, from the root."""
    found = [
        name
        for folder in ("docs", "examples", "plugin")
        for name in glob.glob(f"{folder}/**/*.md", root_dir=ROOT, recursive=True)
    ]
    return ["README.md", "SECURITY.md", "CHANGELOG.md", *sorted(found)]


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of one language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.S | re.M)


@pytest.mark.parametrize("name", documents())
def test_python_in_a_document_compiles_and_settings_are_toml(name: str) -> None:
    for block in blocks(read(name), "python"):
        compile(block, name, "exec")
    for block in blocks(read(name), "toml"):
        tomllib.loads(block)


def test_the_readme_and_the_guide_have_python_to_be_compiled() -> None:
    assert len(blocks(read("README.md"), "python")) >= 1
    assert len(blocks(read("docs", "guide.md"), "python")) >= 2


@pytest.mark.parametrize("name", documents())
def test_no_line_of_a_document_is_wider_than_120_characters_except_in_tables(name: str) -> None:
    assert [line for line in read(name).splitlines() if len(line) > 120 and not line.startswith("|")] == []


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
            assert all(hook["command"] == "runq" and hook["args"][0] in ("hook", "digest") for hook in entry["hooks"])


def test_the_version_is_said_in_one_voice() -> None:
    from queue_core.version import VERSION

    assert f'version = "{VERSION}"' in read("pyproject.toml")
