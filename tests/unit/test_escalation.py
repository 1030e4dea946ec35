"""Which commands take over from a job that has failed: a job's own, and those of the settings' rules."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from queue_core import escalation
from queue_core.errors import InvalidJob, SettingsError
from queue_core.escalation import ID, Rule, checked_rules, names_of, own_steps, steps_by_rules
from queue_core.judge import Judge
from queue_core.lifecycle import dependency
from queue_core.model import STATES, NewJob, Origin, Step
from queue_core.settings import Settings, load
from tests.unit.programs_for_tests import make_program
from tests.unit.test_admission import admit
from tests.unit.test_views import job as stored_job

if TYPE_CHECKING:
    from queue_core.home import Home
    from queue_core.model import Admission, JobState

CONFIG = """
[escalate.aider]
after = 2
run = ["codex", "exec", "{args}"]
[escalate.codex]
run = ["claude", "--task={name}", "{meta.ticket}", "of {id}", "--", "{args}"]
"""


def found(name: str) -> str:
    if name == "missing":
        raise InvalidJob("there is no program `missing`")
    return "/bin/" + name


def by_rules(argv: tuple[str, ...], rules: dict[str, Rule], **fields: Any) -> list[tuple[str, ...]]:
    names = escalation.names_of("/bin/" + argv[0]) if argv else (fields["handler"],)
    return [step.argv for step in steps_by_rules(NewJob(argv=argv, **fields), names, rules, found)]


class TestOwnChain:
    def test_each_command_takes_over_from_the_one_before(self) -> None:
        job = NewJob(argv=("a",), on_dead=(("b", "1"), ("c",)), escalate_after=2)
        assert own_steps(job, found) == (
            Step(argv=("b", "1"), executable="/bin/b", after=2),
            Step(argv=("c",), executable="/bin/c", after=2),
        )

    @pytest.mark.parametrize("chain", [(("a", "x"),), (("b",), ("a", "x")), (("b",), ("c",), ("b",))])
    def test_a_command_that_comes_back_is_refused(self, chain: tuple[tuple[str, ...], ...]) -> None:
        with pytest.raises(InvalidJob, match=r"comes twice .* circle; remove one"):
            own_steps(NewJob(argv=("a", "x"), on_dead=chain), found)

    def test_the_same_program_with_other_arguments_is_no_circle(self) -> None:
        assert len(own_steps(NewJob(argv=("a", "x"), on_dead=(("a", "y"), ("a",))), found)) == 2


class TestRules:
    def test_they_are_followed_to_the_end_of_the_chain_with_the_first_jobs_arguments(self) -> None:
        rules = {"aider": Rule(run=("codex", "exec", "{args}")), "codex": Rule(run=("claude", "{args}"), after=3)}
        job = NewJob(argv=("aider", "-m", "fix it"))
        assert steps_by_rules(job, escalation.names_of("/bin/aider"), rules, found) == (
            Step(argv=("codex", "exec", "-m", "fix it"), executable="/bin/codex"),
            Step(argv=("claude", "-m", "fix it"), executable="/bin/claude", after=3),
        )

    @pytest.mark.parametrize(("name", "steps"), [("tool", 1), ("/bin/tool", 1), ("/other/tool", 0), ("too", 0)])
    def test_a_rule_is_for_a_program_by_its_name_or_its_path(self, name: str, steps: int) -> None:
        assert len(by_rules(("tool",), {name: Rule(run=("other",))})) == steps

    def test_a_rule_may_be_for_a_handler_whose_arguments_are_one_in_json(self) -> None:
        rules = {"transcribe": Rule(run=("whisper", "{args}"))}
        assert by_rules((), rules, handler="transcribe", arguments={"path": "a b"}) == [("whisper", '{"path":"a b"}')]

    def test_texts_are_filled_within_one_argument_and_what_is_not_there_is_empty(self) -> None:
        rules = {"t": Rule(run=("say", "{name}!", "{meta.a.b}", "x{meta.none}", "{id}", "{{name}}"))}
        assert by_rules(("t",), rules, name="a b", meta={"a.b": "c d"}) == [
            ("say", "a b!", "c d", "x", ID, "{name}"),
        ]

    def test_a_value_that_would_become_an_option_ends_the_chain(self) -> None:
        rules = {"t": Rule(run=("say", "{name}")), "say": Rule(run=("shout",))}
        assert by_rules(("t",), rules, name="--evil") == []
        assert by_rules(("t",), {"t": Rule(run=("say", "--", "{name}"))}, name="--ok") == [("say", "--", "--ok")]
        assert by_rules(("t",), {"t": Rule(run=("say", "--name={name}"))}, name="-x") == [("say", "--name=-x")]

    def test_a_program_that_is_not_there_ends_the_chain_and_loses_no_job(self) -> None:
        rules = {"t": Rule(run=("say",)), "say": Rule(run=("missing",)), "missing": Rule(run=("never",))}
        assert by_rules(("t",), rules) == [("say",)]

    def test_a_circle_by_way_of_a_link_has_an_end(self, tmp_path: Path) -> None:
        target = make_program(tmp_path / "real")
        (tmp_path / "link").symlink_to(target)
        rules = {os.path.realpath(target): Rule(run=("link",))}
        job = NewJob(argv=("link",))
        steps = steps_by_rules(job, escalation.names_of(target), rules, lambda name: str(tmp_path / name))
        assert [step.argv for step in steps] == [("link",)]


BAD = [
    ({"aider": 3}, "escalate is a table of programs"),
    (3, "escalate is a table of programs"),
    ({"aider": {"run": ["x"], "when": 3}}, "escalate.aider knows `run` and `after`, not `when`"),
    ({"aider": {}}, "escalate.aider.run is a list of texts"),
    ({"aider": {"run": []}}, "escalate.aider.run is a list of texts"),
    ({"aider": {"run": [1]}}, "escalate.aider.run is a list of texts"),
    ({"aider": {"run": ["x"], "after": 0}}, "escalate.aider.after is a number of failures, at least 1, not 0"),
    ({"aider": {"run": ["x"], "after": True}}, "escalate.aider.after"),
    ({"aider": {"run": ["x"], "after": 1.5}}, "escalate.aider.after"),
    ({"aider": {"run": ["{name}"]}}, "begins with a program"),
    ({"aider": {"run": ["x", "{argv}"]}}, "{argv} is none of {args}, {id}, {name} and {meta.KEY}"),
    ({"aider": {"run": ["x", "--{args}"]}}, "{args} stands for several arguments, so it stands alone"),
    ({"aider": {"run": ["aider", "--again"]}}, "in a circle: aider -> aider; remove one of them from config.toml"),
    (
        {"x": {"run": ["aider"]}, "aider": {"run": ["codex"]}, "codex": {"run": ["/usr/bin/aider"]}},
        "escalation goes in a circle: aider -> codex -> aider; remove one of them from config.toml",
    ),
]


class TestConfig:
    @pytest.mark.parametrize(("value", "words"), BAD, ids=lambda value: repr(value)[:40])
    def test_what_makes_no_sense_is_told_and_a_circle_by_its_names(self, value: object, words: str) -> None:
        with pytest.raises(SettingsError) as error:
            checked_rules(value, "/config.toml")
        assert str(error.value).startswith("/config.toml: ")
        assert words in str(error.value)

    def test_it_comes_from_the_users_file(self, home: Home) -> None:
        Path(home.settings_file).write_text(CONFIG)
        chosen = load(home, {"RUNQ_ESCALATE": "x"})
        assert chosen.escalate["aider"] == Rule(run=("codex", "exec", "{args}"), after=2)
        assert set(chosen.escalate) == {"aider", "codex"}

    def test_a_circle_in_it_is_refused_when_it_is_loaded(self, home: Home) -> None:
        Path(home.settings_file).write_text('[escalate.a]\nrun = ["b"]\n[escalate.b]\nrun = ["a"]')
        with pytest.raises(SettingsError, match="in a circle: a -> b -> a"):
            load(home, {})


@pytest.fixture
def chosen(home: Home, bin_dir: Path) -> Settings:
    for name in ("aider", "codex", "claude", "mine"):
        make_program(bin_dir / name)
    Path(home.settings_file).write_text(CONFIG)
    return load(home, {})


def names(admission: Admission) -> list[str]:
    return [step.argv[0] for step in admission.on_dead]


class TestWhenAJobIsQueued:
    def test_the_rules_chain_is_stored_with_the_job(self, home: Home, chosen: Settings, bin_dir: Path) -> None:
        admission = admit(home, settings=chosen, argv=("aider", "-x"), name="n", meta={"ticket": "7"})
        assert admission.on_dead == (
            Step(argv=("codex", "exec", "-x"), executable=str(bin_dir / "codex"), after=2),
            Step(argv=("claude", "--task=n", "7", f"of {ID}", "--", "-x"), executable=str(bin_dir / "claude")),
        )

    def test_a_job_with_a_chain_of_its_own_keeps_that(self, home: Home, chosen: Settings) -> None:
        assert names(admit(home, settings=chosen, argv=("aider",), on_dead=(("mine",),))) == ["mine"]

    def test_an_empty_chain_opts_out(self, home: Home, chosen: Settings) -> None:
        assert admit(home, settings=chosen, argv=("aider",), on_dead=()).on_dead == ()

    def test_a_step_that_is_not_there_costs_no_hook_its_job(self, home: Home, chosen: Settings, bin_dir: Path) -> None:
        (bin_dir / "claude").unlink()
        assert names(admit(home, settings=chosen, origin=Origin(caller="hook"), argv=("aider",))) == ["codex"]

    def test_a_handlers_job_gets_the_surroundings_that_the_command_will_need(
        self, home: Home, chosen: Settings, bin_dir: Path
    ) -> None:
        settings = Settings(escalate={"transcribe": Rule(run=("mine", "{args}"))})
        found = admit(home, settings=settings, argv=(), handler="transcribe", arguments={"a": 1})
        assert (names(found), found.env["PATH"]) == (["mine"], str(bin_dir))
        assert admit(home, argv=(), handler="other").env == {}


class TestSuccess:
    @pytest.mark.parametrize(
        ("state", "successors", "verdict"),
        [
            ("dead", (), "open"),
            ("dead", ("succeeded",), "met"),
            ("dead", ("dead", "cancelled", "succeeded"), "met"),
            ("running", ("succeeded",), "met"),
            ("cancelled", ("succeeded",), "met"),
            ("cancelled", ("running",), "open"),
            ("cancelled", ("held",), "open"),
            ("cancelled", ("cancelled", "dead"), "open"),
            ("cancelled", ("cancelled", "cancelled"), "never"),
            ("dead", ("cancelled",), "open"),
        ],
    )
    def test_a_successors_is_the_jobs_own_and_it_is_lost_when_nobody_is_left(
        self, state: JobState, successors: tuple[JobState, ...], verdict: str
    ) -> None:
        assert dependency("success", state, successors) == verdict

    @pytest.mark.parametrize("successors", [("succeeded",), ("running",), ("cancelled",)])
    def test_for_its_end_or_its_failure_successors_mean_nothing(self, successors: tuple[JobState, ...]) -> None:
        for state in STATES:
            assert dependency("any", state, successors) == dependency("any", state)
            assert dependency("failure", state, successors) == dependency("failure", state)


OF_STEP = "what takes over if it fails, `{}`: no rule covers this command"


class TestPolicy:
    @pytest.fixture
    def agent(self, tmp_path: Path) -> Origin:
        return Origin(caller="agent", project=os.path.realpath(tmp_path))

    def allow(self, home: Home, bin_dir: Path, *programs: str) -> None:
        text = "".join(
            f"[[allow]]\nargv = ['{name}', 'x']\nprogram = '{os.path.realpath(bin_dir / name)}'\n" for name in programs
        )
        Path(home.rules_file).write_text(text)
        Path(home.rules_file).chmod(0o600)

    def test_every_step_of_an_agents_own_chain_has_to_be_allowed(
        self, home: Home, chosen: Settings, bin_dir: Path, agent: Origin
    ) -> None:
        chain = (("codex", "x"), ("claude", "x"))
        self.allow(home, bin_dir, "aider", "codex")
        assert admit(home, origin=agent, argv=("aider", "x"), on_dead=chain[:1]).held is None
        assert admit(home, origin=agent, argv=("aider", "x"), on_dead=chain).held == OF_STEP.format("claude x")

    def test_the_settings_rules_are_no_reason_to_hold_the_job_itself(
        self, home: Home, chosen: Settings, bin_dir: Path, agent: Origin
    ) -> None:
        self.allow(home, bin_dir, "aider")
        found = admit(home, settings=chosen, origin=agent, argv=("aider", "x"))
        assert (found.held, names(found)) == (None, ["codex", "claude"])

    def test_what_will_run_for_an_agent_is_the_real_program(
        self, home: Home, chosen: Settings, bin_dir: Path, agent: Origin
    ) -> None:
        (bin_dir / "codex").rename(bin_dir / "codex-1")
        (bin_dir / "codex").symlink_to(bin_dir / "codex-1")
        found = admit(home, settings=chosen, origin=agent, argv=("aider", "x"))
        assert [step.executable for step in found.on_dead] == [
            os.path.realpath(bin_dir / name) for name in ("codex-1", "claude")
        ]

    def test_an_agent_that_replays_a_persons_job_is_judged_by_its_chain_as_well(
        self, home: Home, chosen: Settings, bin_dir: Path, tmp_path: Path
    ) -> None:
        self.allow(home, bin_dir, "aider")
        project, program = os.path.realpath(tmp_path), os.path.realpath(bin_dir / "aider")
        steps = (Step(argv=("codex", "x"), executable=str(bin_dir / "codex")),)
        it = stored_job(argv=("aider", "x"), program=program, executable=program, cwd=project, on_dead=steps)
        assert Judge(home, Settings()).job(it, project=project) == OF_STEP.format("codex x")
        self.allow(home, bin_dir, "aider", "codex")
        assert Judge(home, Settings()).job(it, project=project) is None


class TestPrograms:
    """A rule may name a program by a path, and a path may be written in several ways."""

    def test_a_path_counts_however_its_folders_are_linked(self, tmp_path: Path) -> None:
        (tmp_path / "usr").mkdir()
        (tmp_path / "bin").symlink_to("usr")
        rules = checked_rules({f"{tmp_path}/bin/tool": {"run": ["next"]}}, "config.toml")
        job = NewJob(argv=("tool",))
        for path in (f"{tmp_path}/usr/tool", f"{tmp_path}/bin/tool"):
            (step,) = steps_by_rules(job, names_of(path), rules, lambda name: f"/opt/{name}")
            assert step.argv == ("next",)

    def test_a_circle_that_only_shows_as_paths_ends_the_chain(self) -> None:
        rules = checked_rules({"/opt/tool": {"run": ["tool"]}}, "config.toml")
        assert steps_by_rules(NewJob(argv=("tool",)), names_of("/opt/tool"), rules, lambda name: f"/opt/{name}") == ()

    @pytest.mark.parametrize("name", ["", "a\0b"])
    def test_a_rule_for_nothing_is_refused(self, name: str) -> None:
        with pytest.raises(SettingsError, match="names no program"):
            checked_rules({name: {"run": ["next"]}}, "config.toml")

    @pytest.mark.parametrize("run", [["next\0"], ["next", "a\0b"], ["next", "\ud800"]])
    def test_a_command_that_could_never_run_is_refused(self, run: list[str]) -> None:
        with pytest.raises(SettingsError, match=r"escalate\.tool\.run: an argument holds"):
            checked_rules({"tool": {"run": run}}, "config.toml")
