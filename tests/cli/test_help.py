"""A verb that nobody documents does not exist."""

import importlib
from pathlib import Path

import pytest

from queue_core.cli.dispatch import VERBS, run
from queue_core.cli.help import overview
from queue_core.cli.options import Verb

README = Path(__file__).parents[2] / "README.md"


def verb_of(name: str) -> Verb:
    return importlib.import_module(f"queue_core.cli.{VERBS[name][0]}").VERBS[name]


@pytest.mark.parametrize("name", VERBS)
def test_help_shows_an_example_and_every_option(name: str, capsys: pytest.CaptureFixture[str]):
    verb = verb_of(name)
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
    assert verb_of(name).name == name


@pytest.mark.parametrize("name", VERBS)
def test_the_overview_and_the_readme_name_every_verb(name: str):
    assert f"  {name} " in overview(VERBS)
    assert f"runq {name}" in README.read_text(encoding="utf-8"), f"README.md says nothing of `runq {name}`"


def test_no_arguments_show_the_overview(capsys: pytest.CaptureFixture[str]):
    assert run([]) == 0
    assert capsys.readouterr().out == overview(VERBS) + "\n"
