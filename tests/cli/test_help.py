"""A verb that nobody documents does not exist."""

import importlib
from pathlib import Path

import pytest

from queue_core.cli.dispatch import VERBS, described, run
from queue_core.cli.help import help_text, overview

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.parametrize("name", VERBS)
def test_help_shows_an_example_and_every_option(name: str, capsys: pytest.CaptureFixture[str]):
    verb = described(name)
    for word in ("--help", "-h"):
        assert run([name, word]) == 0
        shown = capsys.readouterr().out
        assert shown.startswith(f"runq {name}")
        assert f"Example:\n  runq {name}" in shown
        for option in verb.options:
            assert f"--{option.name}" in shown
            assert option.help


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_can_be_run(name: str):
    module = importlib.import_module(f"queue_core.cli.{VERBS[name][0]}")
    assert callable(getattr(module, "run_" + name.replace("-", "_")))
    assert described(name).name == name


@pytest.mark.parametrize("name", VERBS)
def test_the_overview_and_the_readme_name_every_verb(name: str):
    assert f"  {name} " in overview(VERBS)
    assert f"runq {name}" in README.read_text(encoding="utf-8"), f"README.md says nothing of `runq {name}`"


@pytest.mark.parametrize("columns", [60, 80, 200])
@pytest.mark.parametrize("name", VERBS)
def test_help_fits_the_terminal_and_breaks_no_word(name: str, columns: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    text = help_text(described(name))
    written = text[: text.index("Example:")]
    assert max(len(line) for line in written.splitlines()) <= min(columns, 100)
    monkeypatch.setenv("COLUMNS", "100")
    wide = help_text(described(name))
    assert written.split() == wide[: wide.index("Example:")].split()


@pytest.mark.parametrize("name", ["dead", "schedule", "backup"])
def test_help_of_an_action_shows_its_usage_and_its_options_alone(name: str, capsys: pytest.CaptureFixture[str]):
    assert run([name, "list", "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"runq {name} list ")
    options = {line.split()[0] for line in shown.splitlines() if line.startswith("  --")}
    assert options == {f"--{option}" for option in described(name).actions["list"]}


def test_no_arguments_show_the_overview(capsys: pytest.CaptureFixture[str]):
    assert run([]) == 0
    assert capsys.readouterr().out == overview(VERBS) + "\n"
