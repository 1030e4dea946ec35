"""A value is set, added and removed in a JSON text; all other characters stay."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queue_core.clients import json_edit, json_tree, splices
from queue_core.clients.json_tree import JsonError

KEYS = st.sampled_from(["a", "b", "hooks", "é", 'q"uote', "mcpServers", "//", "{"])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**6), 10**6),
    st.sampled_from(["", "x", "a, b", "/* no comment */", "// none", "\\", "}\n{", "ü\U0001f600", "\u2028"]),
)
VALUES = st.recursive(
    SCALARS, lambda inside: st.lists(inside, max_size=3) | st.dictionaries(KEYS, inside, max_size=3), max_leaves=8
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=4)
COMMENTS = ("/* c, } */", "/**/", "// c ] ,")


class Writer:
    """Writes a value as JSON in a layout that chance decides: indentation, line ends, comments, trailing commas."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.comments = draw(st.booleans())
        self.newline = draw(st.sampled_from(["\n", "\r\n"]))
        self.unit = draw(st.sampled_from(["  ", "    ", "\t", ""]))
        self.lines = draw(st.sampled_from(["all", "none", "some"]))

    def gap(self) -> str:
        """Something between two tokens that means nothing."""
        if not self.comments or self.draw(st.integers(0, 2)):
            return ""
        comment = self.draw(st.sampled_from(COMMENTS))
        return f" {comment}{self.newline if comment.startswith('//') else ''}"

    def text(self, value: Any, depth: int = 0) -> str:
        if not isinstance(value, dict | list):
            return json.dumps(value, ensure_ascii=False)
        opening, closing = "{}" if isinstance(value, dict) else "[]"
        if not value:  # with blanks alone in it, it would come back without them
            inner = self.gap()
            return opening + (inner if inner.strip() else "") + closing
        own_lines = self.lines == "all" or (self.lines == "some" and self.draw(st.booleans()))
        lead = self.newline + self.unit * (depth + 1) if own_lines else self.draw(st.sampled_from(["", " "]))
        pairs = value.items() if isinstance(value, dict) else [(None, one) for one in value]
        entries: list[str] = []
        for key, one in pairs:
            name = "" if key is None else json.dumps(key, ensure_ascii=False) + self.gap() + ": "
            entries.append(self.gap() + lead + name + self.gap() + self.text(one, depth + 1) + self.gap())
        trailing = "," if self.comments and self.draw(st.booleans()) else ""
        end = self.newline + self.unit * depth if own_lines else ""
        return opening + ",".join(entries) + trailing + self.gap() + end + closing


@st.composite
def documents(draw: Any) -> tuple[str, dict[str, Any], bool]:
    """A text, what it says, and whether it may have comments."""
    value = draw(OBJECTS)
    writer = Writer(draw)
    text = draw(st.sampled_from(["", json_tree.BOM])) + writer.gap() + writer.text(value) + writer.gap()
    return text + draw(st.sampled_from(["", writer.newline])), value, writer.comments


def deepest(value: dict[str, Any], path: tuple[str, ...]) -> int:
    """How many keys of the path are there."""
    for depth, key in enumerate(path):
        if not isinstance(value, dict) or key not in value:
            return depth
        value = value[key]
    return len(path)


def with_value(value: Any, path: tuple[str, ...], new: Any) -> Any:
    return new if not path else {**value, path[0]: with_value(value.get(path[0], {}), path[1:], new)}


def is_in_the_way(value: Any, path: tuple[str, ...]) -> bool:
    for key in path:
        if not isinstance(value, dict):
            return True
        value = value.get(key, {})
    return False


PATHS = st.lists(KEYS, min_size=1, max_size=3).map(tuple)


@settings(max_examples=100)
@given(document=documents(), path=PATHS, new=VALUES)
def test_what_was_set_is_there_and_what_was_added_is_removed_without_a_trace(
    document: tuple[str, dict[str, Any], bool], path: tuple[str, ...], new: Any
) -> None:
    text, value, comments = document
    tree = json_tree.read(text, comments=comments)
    assert tree.value() == value
    if is_in_the_way(value, path):
        with pytest.raises(JsonError):
            json_edit.put(tree, path, new)
        return
    edited = json_edit.put(tree, path, new)
    again = json_tree.read(edited, comments=comments)
    assert again.value() == with_value(value, path, new)
    assert list(again.value()) == list(with_value(value, path, new)), "the order of the keys"
    there = deepest(value, path)
    if there < len(path):
        assert json_edit.remove(again, path[: there + 1]) == text
    else:
        old, now = json_edit.find(tree, path), json_edit.find(again, path)
        assert old and now
        assert (edited[: now.start], edited[now.end :]) == (text[: old.start], text[old.end :])


@settings(max_examples=60)
@given(document=documents(), key=KEYS, new=VALUES)
def test_an_item_that_was_added_to_a_list_is_removed_without_a_trace(
    document: tuple[str, dict[str, Any], bool], key: str, new: Any
) -> None:
    text, value, comments = document
    tree = json_tree.read(text, comments=comments)
    items = value.get(key, [])
    if not isinstance(items, list):
        with pytest.raises(JsonError):
            json_edit.append(tree, (key,), new)
        return
    edited = json_tree.read(json_edit.append(tree, (key,), new), comments=comments)
    assert edited.value() == {**value, key: [*items, new]}
    assert json_edit.remove(edited, (key, len(items)) if key in value else (key,)) == text


@settings(max_examples=60)
@given(document=documents(), data=st.data())
def test_what_is_removed_is_gone_and_nothing_else_is(
    document: tuple[str, dict[str, Any], bool], data: st.DataObject
) -> None:
    text, value, comments = document
    if not value:
        return
    key = data.draw(st.sampled_from(sorted(value)))
    path: tuple[str | int, ...] = (key,)
    if isinstance(value[key], list) and value[key]:
        index = data.draw(st.integers(0, len(value[key]) - 1))
        path, left = (key, index), {**value, key: [*value[key][:index], *value[key][index + 1 :]]}
    else:
        left = {name: one for name, one in value.items() if name != key}
    edited = json_edit.remove(json_tree.read(text, comments=comments), path)
    assert json_tree.read(edited, comments=comments).value() == left
    for comment in COMMENTS:  # those within what is removed go with it
        assert edited.count(comment) <= text.count(comment)


@settings(max_examples=60)
@given(text=st.text(alphabet='{}[]",:/*\\ \n01-.eEtrufalsn\u00e9', max_size=25) | OBJECTS.map(json.dumps))
def test_a_text_is_read_if_json_has_it_and_as_json_has_it(text: str) -> None:
    try:
        expected = json.loads(text, parse_constant=pytest.fail)
    except ValueError:
        with pytest.raises(JsonError):
            json_tree.read(text)
    else:
        assert json_tree.read(text).value() == expected


# What is there, the path, what is put there, what comes of it.
LAYOUTS = {
    "an empty object": ("{}", "{\n  'b': 1\n}"),
    "lines of their own": ("{\n    'a': 1\n}\n", "{\n    'a': 1,\n    'b': 1\n}\n"),
    "tabs": ("{\n\t'a': 1\n}", "{\n\t'a': 1,\n\t'b': 1\n}"),
    "CRLF": ("{\r\n  'a': 1\r\n}\r\n", "{\r\n  'a': 1,\r\n  'b': 1\r\n}\r\n"),
    "one line": ("{'a': 1}", "{'a': 1, 'b': 1}"),
    "one narrow line": ("{'a':1}", "{'a':1,'b':1}"),
    "a comment behind the last": ("{\n  'a': 1 // one\n}", "{\n  'a': 1, // one\n  'b': 1\n}"),
    "a trailing comma": ("{\n  'a': 1,\n}", "{\n  'a': 1,\n  'b': 1,\n}"),
    "a comment alone": ("{\n  // none yet\n}", "{\n  // none yet\n  'b': 1\n}"),
    "a byte order mark": ("\ufeff{}", "\ufeff{\n  'b': 1\n}"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_is_added_is_laid_out_as_its_neighbours_are(name: str) -> None:
    before, after = (text.replace("'", '"') for text in LAYOUTS[name])
    assert json_edit.put(json_tree.read(before, comments=True), ("b",), 1) == after


REMOVED = {
    "on a line of its own": ("{\n  'a': 1,\n  'b': 2\n}", "{\n  'b': 2\n}"),
    "behind a comment that takes the rest of its line": ("{ // c\n 'a': 1, 'b': 2}", "{ // c\n  'b': 2}"),
    "behind such a comment, alone": ("{ // c\n 'a': 1}", "{ // c\n }"),
    "with a comment before its comma": ("{'a': 1 /* c */, 'b': 2}", "{ /* c */ 'b': 2}"),
    "the only one": ("{\n  'a': 1\n}", "{}"),
}


@pytest.mark.parametrize("name", REMOVED)
def test_what_is_removed_leaves_no_gap(name: str) -> None:
    before, after = (text.replace("'", '"') for text in REMOVED[name])
    tree = json_tree.read(before, comments=True)
    edited = json_edit.remove(tree, ("a",))
    assert edited == after
    assert json_tree.read(edited, comments=True).value() == {
        name: one for name, one in tree.value().items() if name != "a"
    }


def test_a_nested_value_has_the_indentation_of_the_text() -> None:
    text = '{\n\t"a": {}\n}\n'
    edited = json_edit.put(json_tree.read(text), ("a", "b"), {"c": ["d"]})
    assert edited == '{\n\t"a": {\n\t\t"b": {\n\t\t\t"c": [\n\t\t\t\t"d"\n\t\t\t]\n\t\t}\n\t}\n}\n'


WRONG = {
    "": (1, 1, "a value is missing"),
    '{\n  // c\n  "a": 1}': (2, 3, "a comment, and JSON has none"),
    '{\n "a": 1,\n}': (2, 8, "a comma stands before }"),
    '{"a": 1 "b": 2}': (1, 9, "a comma or } is missing"),
    '{"a": [1}': (1, 9, "a comma or ] is missing"),
    '{"a" 1}': (1, 6, "a colon is missing"),
    "{a: 1}": (1, 2, "a key in double quotes is missing"),
    '{"a": 01}': (1, 7, "this is no JSON value"),
    '{"a": NaN}': (1, 7, "this is no JSON value"),
    "{} {}": (1, 4, "something follows the end of the value"),
    "[" * 5000: (1, 202, "it is nested too deeply"),
}


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text[:20])
def test_what_is_no_json_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(JsonError) as raised:
        json_tree.read(text)
    assert (raised.value.line, raised.value.column, raised.value.what) == WRONG[text]


def test_a_comment_that_does_not_end_is_refused() -> None:
    with pytest.raises(JsonError, match="does not end"):
        json_tree.read("{} /* ", comments=True)


@pytest.mark.parametrize(
    ("text", "what", "line"),
    [
        ('{"a": {},\n "a": {}}', "the key a stands there twice", 2),
        ('{\n"a": {"b": 1,\n"b": 2}}', "the key a.b stands there twice", 3),
        ('{\n"a": []}', "a is no object", 2),
        ("[]", "what stands at the top is no object", 1),
    ],
)
def test_a_path_that_is_not_plain_is_refused(text: str, what: str, line: int) -> None:
    for edit in (lambda tree: json_edit.put(tree, ("a", "b"), 1), lambda tree: json_edit.remove(tree, ("a", "b"))):
        with pytest.raises(JsonError) as raised:
            edit(json_tree.read(text))
        assert (raised.value.what, raised.value.line) == (what, line)


def test_a_number_of_more_digits_than_python_reads_is_refused_with_its_place() -> None:
    document = json_tree.read('{\n "a": ' + "1" * 5000 + "}")
    with pytest.raises(JsonError, match="a number of too many digits") as raised:
        document.value()
    assert (raised.value.line, raised.value.column) == (2, 7)


PIECES = st.sampled_from(["a", '"b": 1,\n', "\n", '"', " ", "{", '"c", "d"\n', "é"])


@settings(max_examples=200)
@given(texts=st.lists(st.lists(PIECES, max_size=12).map("".join), min_size=1, max_size=5))
def test_a_text_comes_back_from_a_later_one_and_what_parts_them(texts: list[str]) -> None:
    text, *stages = texts
    last = texts[-1]
    found = splices.of_stages(text, stages)
    assert splices.reverted(last, found) == text
    assert splices.reverted(text, splices.backwards(found)) == last
    for one in found:
        assert text[one.start : one.start + len(one.old)] == one.old
    assert bool(splices.between(text, last)) == (text != last)


@settings(max_examples=60)
@given(document=documents(), path=PATHS, new=VALUES)
def test_of_a_text_to_which_something_was_added_nothing_parts_it_but_that(
    document: tuple[str, dict[str, Any], bool], path: tuple[str, ...], new: Any
) -> None:
    text, value, comments = document
    if is_in_the_way(value, path) or deepest(value, path) == len(path):
        return
    edited = json_edit.put(json_tree.read(text, comments=comments), path, new)
    assert all(not one.old.strip() for one in splices.between(text, edited))
