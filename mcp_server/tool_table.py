"""`python -m mcp_server.tool_table`: writes the table of tools in README.md anew, from what the tools say."""

from __future__ import annotations

import re
import sys
from typing import Any

from mcp_server.catalogue import make_tools
from mcp_server.session import Session

README = "README.md"
_MARKS = re.compile(r"(<!-- tools:[^>]*-->\n).*?(\n<!-- /tools -->)", re.S)
_FIRST_SENTENCE = re.compile(r"(.*?)\.(?=\s|$)", re.S)


def documentation() -> str:
    """The table as the README shows it."""
    rows = ["| tool | what it does | arguments |", "|---|---|---|"]
    for tool in make_tools(Session({})):
        rows.append(f"| `{tool.name}` | {_first_sentence(tool.description)} | {_arguments(tool.parameters)} |")
    return "\n".join(rows)


def _first_sentence(description: str) -> str:
    found = _FIRST_SENTENCE.match(description)
    return " ".join((found[1] if found else description).split())


def _arguments(schema: dict[str, Any]) -> str:
    """By name, the required ones in bold."""
    needed = schema.get("required", ())
    return ", ".join(f"**`{name}`**" if name in needed else f"`{name}`" for name in schema.get("properties", {}))


def written_into(text: str) -> str:
    """A document with the table between its marks made anew; ValueError if the marks are missing."""
    if not _MARKS.search(text):
        raise ValueError(f"{README} has no marks `<!-- tools: ... -->` and `<!-- /tools -->`; put them back")
    return _MARKS.sub(lambda found: found[1] + documentation() + found[2], text)


def main() -> int:
    """Write the README of the working folder; 1 if it has no such table."""
    try:
        with open(README, encoding="utf-8") as file:
            text = file.read()
        made = written_into(text)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    with open(README, "w", encoding="utf-8") as file:
        file.write(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
