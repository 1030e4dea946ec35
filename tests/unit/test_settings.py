"""Settings: defaults < file < environment < flags, and every wrong value told by name and place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from queue_core.errors import SettingsError
from queue_core.home import Home
from queue_core.quotas import QueueLimits
from queue_core.setting_table import SPECS, documentation
from queue_core.settings import Settings, load

if TYPE_CHECKING:
    from queue_core.home import Home

EXAMPLES: dict[str, tuple[str, Any]] = {
    "capacity": ("50", 50),
    "project_capacity": ("20", 20),
    "session_capacity": ("10", 10),
    "parallelism": ("2", 2),
    "max_running": ("3", 3),
    "starts_per_minute": ("30", 30),
    "timeout": ("2.5", 2.5),
    "grace": ("0", 0.0),
    "retries": ("0", 0),
    "backoff": ("linear", "linear"),
    "backoff_base": ("1", 1.0),
    "backoff_cap": ("9.5", 9.5),
    "jitter": ("0.5", 0.5),
    "permanent_exit_codes": ("64, 65", (64, 65)),
    "output_cap_mb": ("0.5", 0.5),
    "idle": ("5", 5.0),
    "after_session": ("drain", "drain"),
    "linger": ("1", 1.0),
    "keep_days": ("1", 1.0),
    "keep_count": ("7", 7),
    "pin_cap": ("0", 0),
    "backup_at": ("23:59", "23:59"),
    "backup_keep": ("1", 1),
    "snapshot_every": ("0", 0),
    "snapshot_keep": ("2", 2),
    "log_level": ("debug", "debug"),
    "min_free_mb": ("1", 1.0),
}


def write(home: Home, text: str | bytes) -> str:
    Path(home.settings_file).write_bytes(text if isinstance(text, bytes) else text.encode())
    return home.settings_file


class TestOrder:
    def test_with_nothing_set_the_defaults_hold(self, home: Home) -> None:
        assert load(home, {}) == Settings()

    def test_each_layer_beats_the_one_before(self, home: Home) -> None:
        write(home, "capacity = 1\nretries = 1\nparallelism = 1")
        chosen = load(home, {"RUNQ_RETRIES": "2", "RUNQ_PARALLELISM": "2"}, parallelism=3)
        assert (chosen.capacity, chosen.retries, chosen.parallelism) == (1, 2, 3)
        assert (chosen.max_running, chosen.explicit) == (8, {"capacity", "retries", "parallelism"})

    def test_a_flag_that_was_not_given_changes_nothing(self, home: Home) -> None:
        assert load(home, {"RUNQ_PARALLELISM": "2"}, parallelism=None).parallelism == 2

    def test_the_projects_own_variables_that_are_no_settings_are_left_alone(self, home: Home) -> None:
        assert load(home, {"RUNQ_HOME": "/x", "RUNQ_JOB_ID": "1", "RUNQ_UNHEARD_OF": "1"}) == Settings()


class TestEnvironment:
    @pytest.mark.parametrize("name", EXAMPLES)
    def test_every_setting_but_the_policys_can_be_set(self, home: Home, name: str) -> None:
        text, value = EXAMPLES[name]
        assert getattr(load(home, {"RUNQ_" + name.upper(): text}), name) == value

    def test_the_examples_leave_nothing_out(self) -> None:
        policy = {name for name, spec in SPECS.items() if spec.policy}
        assert policy == {"agents", "roots", "pass_env", "agent_timeout", "isolation", "output_secrets", "audit_days"}
        assert set(SPECS) - set(EXAMPLES) == policy | {"queues", "escalate", "retry", "capture"}
        assert set(SPECS) == set(Settings._fields) - {"explicit"}  # pyright: ignore[reportPrivateUsage]

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("AGENTS", "allow"),
            ("ROOTS", "/"),
            ("PASS_ENV", "KEY"),
            ("ISOLATION", "none"),
            ("QUEUES", "x"),
            ("RETRY", "x"),
        ],
    )
    def test_policy_comes_from_the_users_file_alone(self, home: Home, name: str, value: str) -> None:
        assert load(home, {"RUNQ_" + name: value}) == Settings()

    @pytest.mark.parametrize(
        ("name", "text", "words"),
        [
            ("RETRIES", "many", "a whole number"),
            ("RETRIES", "1.5", "a whole number"),
            ("RETRIES", "-1", "at least 0"),
            ("RETRIES", "", "a whole number"),
            ("CAPACITY", "0", "at least 1"),
            ("CAPACITY", "inf", "a whole number"),
            ("CAPACITY", "nan", "a whole number"),
            ("CAPACITY", "9" * 30, "at most"),
            ("GRACE", "inf", "a number"),
            ("GRACE", "soon", "a number"),
            ("TIMEOUT", "0", "at least 0.001"),
            ("JITTER", "1.5", "at most 1"),
            ("BACKOFF", "cubic", "exponential, linear"),
            ("LOG_LEVEL", "loud", "debug, info"),
            ("BACKUP_AT", "3:00", 'a time such as "03:00"'),
            ("BACKUP_AT", "24:00", 'a time such as "03:00"'),
            ("BACKUP_AT", "03:60", 'a time such as "03:00"'),
            ("BACKUP_AT", "never", 'a time such as "03:00"'),
            ("BACKUP_KEEP", "0", "at least 1"),
            ("PERMANENT_EXIT_CODES", "64,x", "a list of numbers"),
        ],
    )
    def test_a_wrong_value_is_told_with_its_name_and_its_place(
        self, home: Home, name: str, text: str, words: str
    ) -> None:
        with pytest.raises(SettingsError) as error:
            load(home, {"RUNQ_" + name: text})
        assert str(error.value).startswith(f"RUNQ_{name}: {name.lower()} is ")
        assert words in str(error.value)


class TestFile:
    def test_everything_can_be_set_in_it(self, home: Home) -> None:
        write(
            home,
            'agents = "allow"\nroots = ["/srv", "~/work"]\npermanent_exit_codes = [64]\ntimeout = 5\n'
            '[queues]\nbuilds = 2\n"a.b" = 1\napi = {starts_per_minute = 30}\n'
            "both = {parallelism = 2, starts_per_minute = 9}\n",
        )
        chosen = load(home, {})
        assert (chosen.agents, chosen.roots, chosen.timeout) == ("allow", ("/srv", "~/work"), 5.0)
        assert chosen.queues == {
            "builds": QueueLimits(parallelism=2),
            "a.b": QueueLimits(parallelism=1),
            "api": QueueLimits(starts_per_minute=30),
            "both": QueueLimits(parallelism=2, starts_per_minute=9),
        }
        assert chosen.limits_starts

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("capacity = ", "not valid TOML"),
            (b"# caf\xe9", "not valid TOML"),
            ("capacty = 5", "`capacty`"),
            ('capacity = "5"', "capacity is a whole number"),
            ("capacity = true", "capacity is a whole number"),
            ("capacity = 0", "capacity is at least 1"),
            ("grace = nan", "grace is a number"),
            ("grace = inf", "grace is a number"),
            ("capacity = inf", "capacity is a whole number"),
            ("jitter = 2", "jitter is at most 1"),
            ("agents = 'always'", "agents is one of ask, allow"),
            ("agents = ['allow']", "agents is one of ask, allow"),
            ("roots = '/srv'", "roots is a list of texts"),
            ("roots = [1]", "roots is a list of texts"),
            ("roots = ['work']", "roots"),
            ("permanent_exit_codes = ['1']", "permanent_exit_codes is a list of numbers"),
            ("permanent_exit_codes = [true]", "permanent_exit_codes is a list of numbers"),
            ("queues = 3", "queues is a table"),
            ("[queues]\nbuilds = 0", "queues.builds"),
            ("[queues]\nbuilds = 'x'", "queues.builds"),
            ("[queues]\nbuilds = true", "queues.builds"),
            ("[queues]\nbuilds = {parallelism = 0}", "queues.builds.parallelism"),
            ("[queues]\nbuilds = {starts_per_minute = 1.5}", "queues.builds.starts_per_minute"),
            ("[queues]\nbuilds = {starts = 1}", "no `starts`"),
            ("starts_per_minute = 0", "starts_per_minute is at least 1"),
        ],
    )
    def test_a_wrong_value_is_told_with_its_name_and_its_place(self, home: Home, text: str | bytes, words: str) -> None:
        path = write(home, text)
        with pytest.raises(SettingsError) as error:
            load(home, {})
        assert str(error.value).startswith(path)
        assert words in str(error.value)

    def test_one_that_cannot_be_read_is_told(self, home: Home) -> None:
        Path(home.settings_file).mkdir()
        with pytest.raises(SettingsError, match="could not be read"):
            load(home, {})


class TestFlags:
    @pytest.mark.parametrize(("value", "words"), [(0, "at least 1"), ("two", "a whole number")])
    def test_they_are_checked_like_everything_else(self, home: Home, value: object, words: str) -> None:
        with pytest.raises(SettingsError) as error:
            load(home, {}, parallelism=value)
        assert str(error.value).startswith("--parallelism: parallelism is ")
        assert words in str(error.value)


def test_the_documentation_names_every_setting() -> None:
    text = documentation()
    assert all(f"| `{name}` |" in text for name in SPECS)


def test_the_output_cap_is_in_bytes() -> None:
    assert Settings(output_cap_mb=1.5).output_cap == 1_572_864


@pytest.mark.parametrize("mode", [0o602, 0o666])
def test_a_file_that_others_can_write_to_is_not_believed(tmp_path: Path, mode: int) -> None:
    (tmp_path / "config.toml").write_text('agents = "allow"\n')
    (tmp_path / "config.toml").chmod(mode)
    with pytest.raises(SettingsError, match="chmod 600"):
        load(Home(data=str(tmp_path), config=str(tmp_path)), {})


def test_one_that_the_users_own_group_can_write_to_is(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("capacity = 7\n")
    (tmp_path / "config.toml").chmod(0o664)
    assert load(Home(data=str(tmp_path), config=str(tmp_path)), {}).capacity == 7


def test_without_a_quota_there_are_none_and_one_alone_leaves_the_other_open() -> None:
    assert Settings().quotas is None
    quotas = Settings(session_capacity=5).quotas
    assert quotas is not None and (quotas.project, quotas.session) == (None, 5)
