"""Frozen values: what stands in for dataclasses on the hook path."""

from __future__ import annotations

import pytest

from queue_core.jobs import Lease
from queue_core.model import NewJob, Retry
from queue_core.value import Frozen, replace


class Point(Frozen):
    x: int
    y: int = 2
    secret: str = ""

    _secret = frozenset({"secret"})


class Point3(Point):
    z: int = 3


def test_fields_come_from_the_arguments_and_the_defaults() -> None:
    point = Point3(x=1, z=5)
    assert (point.x, point.y, point.z) == (1, 2, 5)


def test_a_missing_field_is_named() -> None:
    with pytest.raises(TypeError, match="Point needs x"):
        Point()  # pyright: ignore[reportCallIssue]


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(TypeError, match="Point has no field w"):
        Point(x=1, w=1)  # pyright: ignore[reportCallIssue]


def test_it_cannot_be_changed() -> None:
    point = Point(x=1)
    with pytest.raises(AttributeError, match="frozen"):
        point.x = 2  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(AttributeError, match="frozen"):
        del point.x
    assert point.x == 1


def test_values_are_equal_by_kind_and_fields() -> None:
    assert Point(x=1) == Point(x=1, y=2)
    assert Point(x=1) != Point(x=2)
    assert Point(x=1) != Point3(x=1)
    assert Point(x=1) != 1


def test_equal_values_have_equal_hashes() -> None:
    assert hash(Point(x=1)) == hash(Point(x=1.0))  # pyright: ignore[reportArgumentType]
    one = NewJob(argv=("a",), meta={"a": "1", "b": "2"})
    other = NewJob(argv=("a",), meta={"b": "2", "a": "1"})
    assert one == other
    assert hash(one) == hash(other)
    assert len({Point(x=1), Point(x=1), Point(x=2)}) == 2


def test_replace_gives_a_copy_with_some_fields_changed() -> None:
    point = Point(x=1, secret="s")
    assert replace(point, y=9) == Point(x=1, y=9, secret="s")
    assert point == Point(x=1, secret="s")
    with pytest.raises(TypeError):
        replace(point, w=1)


def test_repr_shows_the_fields_but_hides_secrets() -> None:
    assert repr(Point(x=1, secret="hush")) == "Point(x=1, y=2, secret=hidden)"
    assert repr(Point(x=1)) == "Point(x=1, y=2, secret='')"


@pytest.mark.parametrize("kind", [NewJob, Lease])
def test_environments_inputs_and_tokens_are_secrets(kind: type[Frozen]) -> None:
    assert {"env", "stdin"} <= kind._secret  # pyright: ignore[reportPrivateUsage]
    job = NewJob(argv=("x",), env={"KEY": "hush"}, stdin=b"hush")
    assert "hush" not in repr(job)


def test_a_secret_inside_another_value_stays_hidden() -> None:
    class Outer(Frozen):
        inner: Point

    assert "hush" not in repr(Outer(inner=Point(x=1, secret="hush")))


def test_positional_arguments_are_refused() -> None:
    with pytest.raises(TypeError):
        Retry(3)  # pyright: ignore[reportCallIssue]
