"""A job as a dict: every key, and for each the values that make no sense."""

from __future__ import annotations

from typing import Any

import pytest

from queue_core.errors import InvalidJob
from queue_core.model import NewJob
from queue_core.submission import KEYS, lock, new_job, time_of

GOOD: dict[str, tuple[Any, str, Any]] = {
    "argv": (["git", "fetch"], "argv", ("git", "fetch")),
    "handler": ("h", "handler", "h"),
    "arguments": ({"a": [1, {"b": None}]}, "arguments", {"a": [1, {"b": None}]}),
    "cwd": ("/tmp", "cwd", "/tmp"),
    "env": ({"A": "1"}, "env", {"A": "1"}),
    "pass_env": (["A"], "pass_env", ("A",)),
    "stdin": ("hü\udcff", "stdin", b"h\xc3\xbc\xff"),
    "stdin_path": ("/x", "stdin_path", "/x"),
    "queue": ("q", "queue", "q"),
    "priority": ("high", "priority", "high"),
    "sequential": (True, "sequential", True),
    "after": ([1, "2", "ref"], "after", (1, 2, "ref")),
    "after_any": (3, "after_any", (3,)),
    "after_failure": ("build", "after_failure", ("build",)),
    "delay": (5, "delay", 5.0),
    "at": ("2026-11-22T18:00:00Z", "at", 1795370400.0),
    "timeout": (1.5, "timeout", 1.5),
    "retries": (0, "retries", 0),
    "backoff": ("linear", "backoff", "linear"),
    "backoff_base": (2, "backoff_base", 2.0),
    "unique": ("key", "unique", "key"),
    "locks": (["gpu", "disk=3"], "locks", (("gpu", None), ("disk", 3))),
    "name": ("n", "name", "n"),
    "meta": ({"k": "v"}, "meta", {"k": "v"}),
    "on_dead": (["notify", "x"], "on_dead", (("notify", "x"),)),
    "escalate_after": (2, "escalate_after", 2),
    "retry": ("fast", "retry", "fast"),
    "backoff_cap": (60, "backoff_cap", 60.0),
    "ref": ("r", "ref", "r"),
}
BAD: list[tuple[str, Any]] = [
    ("argv", "git fetch"),
    ("argv", ["git", 1]),
    ("argv", {"a": 1}),
    ("cwd", 1),
    ("env", ["A=1"]),
    ("env", {"A": 1}),
    ("env", {"A": None}),
    ("pass_env", "A"),
    ("pass_env", [1]),
    ("stdin", 1),
    ("stdin", "\ud800"),
    ("queue", 1),
    ("priority", 1),
    ("sequential", "yes"),
    ("sequential", 1),
    ("after", 1.5),
    ("after", [True]),
    ("after", [None]),
    ("after", {"a": 1}),
    ("after", 0),
    ("after", -1),
    ("after", 10**30),
    ("after", "9" * 30),
    ("after", "9" * 5000),
    ("delay", "5"),
    ("delay", True),
    ("delay", 10**400),
    ("at", "tomorrow"),
    ("at", True),
    ("at", []),
    ("at", "2026-13-01"),
    ("at", 10**400),
    ("timeout", "5"),
    ("retries", 1.5),
    ("retries", True),
    ("retries", "3"),
    ("backoff_base", "2"),
    ("locks", "gpu"),
    ("locks", ["gpu=x"]),
    ("locks", ["gpu=-1"]),
    ("locks", ["gpu=²"]),
    ("locks", ["gpu=" + "9" * 5000]),
    ("meta", {"k": 1}),
    ("meta", "k=v"),
    ("on_dead", "notify"),
    ("on_dead", [1]),
    ("on_dead", [["a"], "b"]),
    ("on_dead", [["a"], [1]]),
    ("escalate_after", "2"),
    ("escalate_after", True),
    ("retry", 3),
    ("backoff_cap", "long"),
    ("handler", 7),
    ("arguments", [1]),
    ("arguments", {"x": object()}),
    ("arguments", {"x": float("inf")}),
    ("kwargs", []),
    ("kwargs", "x"),
]


@pytest.mark.parametrize("key", GOOD)
def test_each_key_becomes_its_field(key: str) -> None:
    value, field, expected = GOOD[key]
    job = new_job({**({} if key == "handler" else {"argv": ["true"]}), key: value})
    assert getattr(job, field) == expected
    assert type(getattr(job, field)) is type(expected)


def test_the_examples_leave_no_key_out() -> None:
    assert set(KEYS) - set(GOOD) == {"command", "kwargs"}


@pytest.mark.parametrize(("key", "value"), BAD, ids=lambda value: repr(value)[:20])
def test_a_value_that_makes_no_sense_is_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(InvalidJob) as error:
        new_job({"argv": ["true"], key: value})
    assert key in str(error.value) or key.rstrip("s") in str(error.value)
    assert len(str(error.value)) < 300


def test_an_unknown_key_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidJob, match=r"`prio` is no key of a job.*priority"):
        new_job({"argv": ["true"], "prio": "high"})


def test_none_means_not_given() -> None:
    given: dict[str, Any] = dict.fromkeys(KEYS)
    assert new_job({**given, "argv": ["true"]}) == NewJob(argv=("true",))


class TestCommand:
    def test_a_command_line_is_split_but_never_run_by_a_shell(self) -> None:
        assert new_job({"command": "echo 'a b' $HOME | x > y"}).argv == ("echo", "a b", "$HOME", "|", "x", ">", "y")

    def test_kwargs_become_flags(self) -> None:
        job = new_job({"command": "tool run", "kwargs": {"dry_run": True, "n": 5}})
        assert job.argv == ("tool", "run", "--dry-run", "--n", "5")

    @pytest.mark.parametrize("fields", [{}, {"argv": ["a"], "command": "a"}, {"argv": None}])
    def test_the_command_is_given_in_one_of_two_ways(self, fields: dict[str, Any]) -> None:
        with pytest.raises(InvalidJob, match="either as argv"):
            new_job(fields)

    def test_an_open_quote_is_refused(self) -> None:
        with pytest.raises(InvalidJob, match="cannot be split"):
            new_job({"command": "echo 'a"})


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (5, 5.0),
        ("5.5", 5.5),
        ("1970-01-01T00:00:10Z", 10.0),
        ("1970-01-01T01:00:10+01:00", 10.0),
        ("1970-01-02 00:00:00+00:00", 86400.0),
    ],
)
def test_a_time_is_a_number_or_iso_8601(value: Any, seconds: float) -> None:
    assert time_of(value) == seconds


@pytest.mark.parametrize(
    ("word", "expected"), [("a", ("a", None)), ("a=2", ("a", 2)), ("a=", ("a", None)), ("a=0", ("a", 0))]
)
def test_a_lock_is_a_name_with_or_without_a_capacity(word: str, expected: tuple[str, int | None]) -> None:
    assert lock(word) == expected
