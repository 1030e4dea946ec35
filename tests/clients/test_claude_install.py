"""`runq install claude`, judged by the real Claude Code: it finds the server, starts it, and finds it gone."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.cli.conftest import PATIENCE, RUNQ
from tests.clients.claude import environ
from tests.clients.installed import CLAUDE, program
from tests.mcp.places import Place


def test_claude_code_finds_what_was_installed_in_either_scope_and_nothing_after_the_undo(place: Place) -> None:
    environment = {name: value for name, value in environ(place).items() if name != "CLAUDE_CONFIG_DIR"}
    folder = Path(environment["HOME"])
    # Asked for by name, since nobody is there to be asked whether the project's servers are trusted.
    approval = '{\n  "enabledMcpjsonServers": ["runq"]\n}\n'
    (folder / ".claude/settings.json").write_text(approval)

    def run(*words: str | Path) -> str:
        done = subprocess.run(
            words, env=environment, cwd=place.project, capture_output=True, text=True, timeout=PATIENCE * 4, check=False
        )
        return done.stdout + done.stderr

    def found() -> str:
        return run(program(CLAUDE, "claude"), "mcp", "get", "runq")

    written = run(*RUNQ, "install", "claude", "--yes")
    assert "Next: start a new session" in written
    shown = found()
    assert "User config" in shown and "Connected" in shown, shown
    assert (folder / ".claude/settings.json").read_text() != approval
    assert "numStartups" in (rewritten := (folder / ".claude.json").read_text()) or "firstStartTime" in rewritten
    run(*RUNQ, "install", "claude", "--undo", "--yes")
    assert (folder / ".claude/settings.json").read_text() == approval
    left = json.loads((folder / ".claude.json").read_text())
    assert left == {name: value for name, value in json.loads(rewritten).items() if name != "mcpServers"}

    run(*RUNQ, "install", "claude", "--scope", "project", "--yes")
    shown = found()
    assert "Project config" in shown and "Connected" in shown and "Command: runq-mcp" in shown, shown
    run(*RUNQ, "install", "claude", "--scope", "project", "--undo", "--yes")
    assert list(Path(place.project).iterdir()) == []
    assert 'No MCP server named "runq"' in found()
