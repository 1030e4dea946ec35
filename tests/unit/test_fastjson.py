"""fastjson: the standard module's values and errors, without its import."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queue_core.fastjson import dumps, loads

TEXT = st.text(st.characters(codec=None, exclude_categories=()))  # lone surrogates too
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_written_is_what_json_would_write(value: Any) -> None:
    assert dumps(value) == json.dumps(value, separators=(",", ":"))


@given(VALUES)
def test_what_is_written_is_read_back_the_same_and_is_pure_ascii(value: Any) -> None:
    text = dumps(value)
    assert text.isascii()
    assert loads(text) == value


@given(VALUES, st.sampled_from([None, 2]), st.sampled_from(["", " ", "\n\t\r "]))
def test_what_json_writes_is_read(value: Any, indent: int | None, space: str) -> None:
    text = space + json.dumps(value, indent=indent, ensure_ascii=False) + space
    assert loads(text) == value


@given(st.text(st.sampled_from('{}[]",:\\/u0123456789abcdef.-+eE tfnrulsNaI\n\ufeff'), max_size=12))
def test_any_text_is_read_or_refused_as_json_would(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(ValueError):
            loads(text)
    else:
        assert repr(loads(text)) == repr(expected)


@pytest.mark.parametrize("text", ["", " ", "{", "[1,]", '{"a":1,}', "1 2", "nul", '"\n"', "'a'", "\ufeff1", "{1:2}"])
def test_malformed_text_is_a_value_error_that_says_where(text: str) -> None:
    with pytest.raises(ValueError, match=r"line 1 column|BOM"):
        loads(text)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[" * 100_000 + "]" * 100_000])
def test_text_nested_too_deeply_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        loads(text)


def test_a_number_of_too_many_digits_is_a_value_error() -> None:
    with pytest.raises(ValueError):
        loads("9" * 10_000)


def test_bytes_that_are_no_utf_8_survive() -> None:
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert loads(dumps([name])) == [name]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, {1}, b"", object(), [object()]])
def test_what_json_has_no_word_for_is_a_type_error(value: object) -> None:
    with pytest.raises(TypeError):
        dumps(value)


def test_a_tuple_is_written_as_a_list() -> None:
    assert dumps((1, (2,))) == "[1,[2]]"
