"""From what is asked for to what the store takes in: every check, every choice."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from queue_core.admission import DEFAULT_PATH, MAX_STDIN, check_queue, prepare
from queue_core.errors import Denied, InvalidJob
from queue_core.escalation import Rule
from queue_core.model import NewJob, Origin, Retry
from queue_core.settings import Settings
from tests.unit.programs_for_tests import make_program

if TYPE_CHECKING:
    from queue_core.home import Home
    from queue_core.model import Admission

NOW = 1_800_000_000.0
PERSON = Origin(caller="person")


@pytest.fixture
def tool(bin_dir: Path) -> str:
    return make_program(bin_dir / "tool")


def admit(home: Home, *, origin: Origin = PERSON, settings: Settings | None = None, **fields: Any) -> Admission:
    environ = fields.pop("environ", {"PATH": str(Path(home.data).parent / "bin"), "HOME": "/h"})
    folder = fields.pop("folder", str(Path(home.data).parent))
    job = NewJob(**{"argv": ("tool",), **fields})
    chosen = settings or Settings()
    return prepare([job], origin, settings=chosen, home=home, environ=environ, folder=folder, now=NOW)[0]


@pytest.mark.usefixtures("tool")
class TestChoices:
    def test_the_program_is_resolved_there_and_then(self, home: Home, bin_dir: Path) -> None:
        (bin_dir / "alias").symlink_to(bin_dir / "tool")
        found = admit(home, argv=("alias",))
        assert (found.executable, found.program) == (str(bin_dir / "alias"), os.path.realpath(bin_dir / "tool"))

    def test_the_jobs_own_path_counts_before_the_environments(self, home: Home, tmp_path: Path) -> None:
        mine = make_program(tmp_path / "mine" / "tool")
        assert admit(home, env={"PATH": str(tmp_path / "mine")}).executable == mine

    def test_without_any_path_the_usual_one_is_searched(self, home: Home) -> None:
        assert admit(home, argv=("sh",), environ={}).executable in {f"{d}/sh" for d in DEFAULT_PATH.split(":")}

    def test_the_folder_is_the_jobs_own_or_the_one_it_was_added_in(self, home: Home, tmp_path: Path) -> None:
        (tmp_path / "sub").mkdir()
        assert admit(home).cwd == str(tmp_path)
        assert admit(home, cwd="sub").cwd == str(tmp_path / "sub")
        assert admit(home, cwd=str(tmp_path / "sub")).cwd == str(tmp_path / "sub")

    def test_a_tilde_is_the_users_home(self, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / "sub").mkdir()
        assert admit(home, cwd="~/sub").cwd == str(tmp_path / "sub")

    def test_a_few_variables_are_captured_and_the_named_ones(self, home: Home, bin_dir: Path) -> None:
        environ = {"PATH": str(bin_dir), "HOME": "/h", "KEY": "k", "TERM": "x"}
        found = admit(home, environ=environ, env={"A": "1"}, pass_env=("KEY",))
        assert found.env == {"PATH": str(bin_dir), "HOME": "/h", "KEY": "k", "A": "1"}

    def test_what_the_job_leaves_open_the_settings_say(self, home: Home) -> None:
        settings = Settings(retries=7, backoff="linear", backoff_base=3.0, backoff_cap=9.0, jitter=0.5, timeout=60.0)
        found = admit(home, settings=settings)
        assert found.retry == Retry(retries=7, backoff="linear", base=3.0, cap=9.0, jitter=0.5)
        assert found.timeout == 60.0
        found = admit(home, settings=settings, retries=0, backoff="immediate", backoff_base=0.0, timeout=5.0)
        assert found.retry == Retry(retries=0, backoff="immediate", base=0.0, cap=9.0, jitter=0.5)
        assert found.timeout == 5.0

    @pytest.mark.parametrize(
        ("fields", "due_at"), [({}, None), ({"delay": 5.0}, NOW + 5), ({"delay": 0.0}, NOW), ({"at": 9.0}, 9.0)]
    )
    def test_a_delay_counts_from_now_and_a_time_is_a_time(
        self, home: Home, fields: dict[str, float], due_at: float | None
    ) -> None:
        assert admit(home, **fields).due_at == due_at

    def test_the_command_for_a_death_is_resolved_too(self, home: Home, bin_dir: Path) -> None:
        (step,) = admit(home, on_dead=(("tool", "x"),)).on_dead
        assert (step.argv, step.executable, step.after) == (("tool", "x"), str(bin_dir / "tool"), None)
        assert admit(home).on_dead == ()


BAD: list[tuple[dict[str, Any], str]] = [
    ({"argv": ()}, "no command to run"),
    ({"argv": ("missing",)}, "no program `missing`"),
    ({"cwd": "missing"}, "does not exist"),
    ({"queue": ""}, "queue's name"),
    ({"queue": "a b"}, "queue's name"),
    ({"queue": "x" * 101}, "queue's name"),
    ({"priority": "urgent"}, "priority is one of critical, high"),
    ({"backoff": "cubic"}, "backoff is one of exponential"),
    ({"delay": 1.0, "at": 1.0}, "either delay or at"),
    ({"delay": -1.0}, "delay is at least 0"),
    ({"delay": float("nan")}, "delay is at least 0"),
    ({"delay": float("inf")}, "delay is at least 0"),
    ({"at": -1.0}, "at is at least 0"),
    ({"at": 1e300}, "at is at least 0"),
    ({"timeout": 0.0}, "timeout is at least 0.001"),
    ({"retries": -1}, "retries is at least 0"),
    ({"retries": 10**30}, "retries is at least 0"),
    ({"retries": 10**400}, "retries is at least 0"),
    ({"backoff_base": -1.0}, "backoff_base is at least 0"),
    ({"locks": (("", 1),)}, "a lock is NAME"),
    ({"locks": (("a b", 1),)}, "a lock is NAME"),
    ({"locks": (("gpu", 0),)}, "a lock is NAME"),
    ({"locks": (("gpu", 2**31),)}, "a lock is NAME"),
    ({"env": {"": "x"}}, "variable's name"),
    ({"env": {"A=B": "x"}}, "variable's name"),
    ({"env": {"A": "\0"}}, "without NUL"),
    ({"pass_env": ("A=B",)}, "variable's name"),
    ({"meta": {"a": "\0"}}, "without NUL"),
    ({"meta": {"a\0": "x"}}, "without NUL"),
    ({"meta": {"a": "x" * 40_000, "b": "x" * 40_000}}, "65536 is the most"),
    ({"stdin": b"x" * (MAX_STDIN + 1)}, "--stdin FILE"),
    ({"stdin_path": "/missing/file"}, "does not exist"),
    ({"stdin_path": "/"}, "does not exist"),
    ({"unique": ""}, "1 to 1000 characters"),
    ({"unique": "x" * 1001}, "1 to 1000 characters"),
    ({"name": "a\0"}, "1 to 1000 characters"),
    ({"name": "\udcff"}, "not valid UTF-8"),
    ({"unique": "\udcff"}, "not valid UTF-8"),
    ({"origin": Origin(caller="person", session="\udcff")}, "not valid UTF-8"),
    ({"on_dead": (("missing",),)}, "no program `missing`"),
    ({"on_dead": (("",),)}, "a step of on_dead is a command"),
    ({"on_dead": ((),)}, "a step of on_dead is a command"),
    ({"on_dead": (("sh",), ("sh",))}, "`sh` comes twice"),
    ({"on_dead": (("tool",),)}, "`tool` comes twice"),
    ({"on_dead": (("sh",),), "escalate_after": 0}, "escalate_after is at least 1"),
    ({"escalate_after": 1}, "needs one"),
    ({"escalate_after": 1, "on_dead": ()}, "needs one"),
    ({"backoff_cap": -1.0}, "backoff_cap is at least 0"),
    ({"retry": "patient"}, "no retry preset 'patient', only default, fast, none, slow"),
]


@pytest.mark.usefixtures("tool")
class TestChecks:
    @pytest.mark.parametrize(("fields", "words"), BAD, ids=lambda value: repr(value)[:30])
    def test_what_could_never_run_is_refused_with_a_sentence(
        self, home: Home, fields: dict[str, Any], words: str
    ) -> None:
        with pytest.raises(InvalidJob) as error:
            admit(home, **fields)
        assert words in str(error.value)

    def test_a_folder_whose_name_is_no_utf_8_is_refused(self, home: Home, tmp_path: Path) -> None:
        folder = os.fsencode(tmp_path) + b"/caf\xe9"
        os.mkdir(folder)
        with pytest.raises(InvalidJob, match="not valid UTF-8"):
            admit(home, cwd=os.fsdecode(folder))

    def test_arguments_and_variables_may_be_any_bytes(self, home: Home) -> None:
        found = admit(home, argv=("tool", "\udcff"), env={"A": "\udcff"})
        assert found.job.argv == ("tool", "\udcff")

    @pytest.mark.parametrize("name", ["default", "a.b-c_d/e:f", "x" * 100, "7"])
    def test_a_queues_name_can_be_typed_and_shown(self, name: str) -> None:
        check_queue(name)

    def test_the_first_wrong_job_is_told_and_none_is_taken(self, home: Home, bin_dir: Path) -> None:
        jobs = [NewJob(argv=("tool",)), NewJob(argv=("tool",), priority="x"), NewJob(argv=())]
        with pytest.raises(InvalidJob, match="priority"):
            prepare(jobs, PERSON, settings=Settings(), home=home, environ={"PATH": str(bin_dir)}, folder="/", now=NOW)


@pytest.mark.usefixtures("tool")
class TestAgents:
    @pytest.fixture
    def agent(self, tmp_path: Path) -> Origin:
        return Origin(caller="agent", project=str(tmp_path))

    def rules(self, home: Home, text: str) -> None:
        path = Path(home.rules_file)
        path.write_text(text)
        path.chmod(0o600)

    def allow(self, home: Home, bin_dir: Path, *words: str, more: str = "") -> None:
        program = os.path.realpath(bin_dir / "tool")
        self.rules(home, f"[[allow]]\nargv = {['tool', *words]!r}\nprogram = {program!r}\n{more}\n")

    def test_without_a_rule_it_is_held_and_says_why(self, home: Home, agent: Origin) -> None:
        assert admit(home, origin=agent).held == "no rule covers this command"

    def test_with_a_rule_it_runs(self, home: Home, agent: Origin, bin_dir: Path) -> None:
        self.allow(home, bin_dir, "x")
        assert admit(home, origin=agent, argv=("tool", "x")).held is None
        assert admit(home, origin=agent, argv=("tool", "y")).held is not None

    def test_rules_that_cannot_be_read_mean_ask(self, home: Home, agent: Origin) -> None:
        self.rules(home, "[[allow]")
        assert "the rules cannot be read" in (admit(home, origin=agent).held or "")

    def test_persons_and_hooks_are_not_asked_even_then(self, home: Home) -> None:
        self.rules(home, "[[allow]")
        assert admit(home).held is None
        assert admit(home, origin=Origin(caller="hook", project="/")).held is None

    def test_a_denied_one_makes_no_job(self, home: Home, agent: Origin, bin_dir: Path) -> None:
        self.rules(home, f"[[deny]]\nargv = ['tool', '...']\nprogram = '{bin_dir.resolve()}/tool'\nreason = 'not this'")
        with pytest.raises(Denied, match=r"`tool x` was not queued: not this"):
            admit(home, origin=agent, argv=("tool", "x"))

    def test_a_folder_outside_its_project_makes_no_job(self, home: Home, agent: Origin) -> None:
        with pytest.raises(Denied, match="outside"):
            admit(home, origin=agent, cwd="/")

    def test_a_link_out_of_the_project_is_outside(self, home: Home, agent: Origin, tmp_path: Path) -> None:
        (tmp_path / "out").symlink_to("/")
        with pytest.raises(Denied, match="outside"):
            admit(home, origin=agent, cwd="out")

    def test_the_users_roots_count_besides_the_project(self, home: Home, agent: Origin) -> None:
        assert admit(home, origin=agent, cwd="/", settings=Settings(roots=("/",))).held is not None

    def test_a_root_may_begin_with_a_tilde(self, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / "work").mkdir()
        origin = Origin(caller="agent")
        assert admit(home, origin=origin, cwd="work", settings=Settings(roots=("~/work",))).held is not None

    def test_the_command_for_a_death_has_to_be_allowed_too(self, home: Home, agent: Origin, bin_dir: Path) -> None:
        make_program(bin_dir / "other")
        self.allow(home, bin_dir, "...")
        assert admit(home, origin=agent, on_dead=(("tool", "x"),)).held is None
        assert admit(home, origin=agent, on_dead=(("other",),)).held is not None
        assert admit(home, origin=agent, on_dead=(("tool", "x"), ("other",))).held is not None

    def test_variables_and_input_have_to_be_covered(self, home: Home, agent: Origin, bin_dir: Path) -> None:
        self.allow(home, bin_dir)
        for fields in (
            {"env": {"LD_PRELOAD": "x"}},
            {"pass_env": ("KEY",)},
            {"stdin": b"x"},
            {"stdin_path": "/etc/hostname"},
        ):
            assert admit(home, origin=agent, **fields).held is not None
        self.allow(home, bin_dir, more="env = ['CI']\nstdin = true")
        assert admit(home, origin=agent, env={"CI": "1"}, stdin=b"x").held is None

    def test_a_variables_name_that_is_no_utf_8_can_still_be_asked_about(
        self, home: Home, agent: Origin, bin_dir: Path
    ) -> None:
        self.allow(home, bin_dir)
        held = admit(home, origin=agent, env={"\udcff": "x"}).held
        assert held is not None
        held.encode("utf-8")

    def test_the_users_word_opens_everything(self, home: Home, agent: Origin) -> None:
        assert admit(home, origin=agent, settings=Settings(agents="allow")).held is None


def test_each_of_many_is_handed_over_with_its_own_arguments(home: Home, bin_dir: Path) -> None:
    make_program(bin_dir / "tool")
    rule = Rule(run=(make_program(bin_dir / "rescue"), "{args}"))
    chosen = Settings(escalate={"mail": rule, "tool": rule})
    mails = [NewJob(argv=(), handler="mail", arguments={"n": n}) for n in range(3)]
    tools = [NewJob(argv=("tool", str(n))) for n in range(3)]
    environ = {"PATH": str(bin_dir), "HOME": "/h"}
    found = prepare([*mails, *tools], PERSON, settings=chosen, home=home, environ=environ, folder=str(bin_dir), now=NOW)
    steps = [one.on_dead[0].argv[1:] for one in found]
    assert steps == [('{"n":0}',), ('{"n":1}',), ('{"n":2}',), ("0",), ("1",), ("2",)]
    assert [one.job.arguments or one.job.argv for one in found] == [
        *({"n": n} for n in range(3)),
        *(("tool", str(n)) for n in range(3)),
    ]
