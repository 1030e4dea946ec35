"""A hook's template: placeholders fill one argument each, and nothing of the payload becomes more than that."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queue_core.errors import InvalidJob
from queue_core.template import fill

PAYLOAD: dict[str, Any] = {
    "session_id": "s1",
    "tool_input": {"file_path": "/a b", "count": 5, "ok": True, "none": None, "list": ["x", 1]},
    "empty": "",
}


@pytest.mark.parametrize(
    ("template", "argv"),
    [
        (["note", "{session_id}"], ("note", "s1")),
        (["note", "{tool_input.file_path}"], ("note", "/a b")),
        (["note", "id={session_id}:{tool_input.count}"], ("note", "id=s1:5")),
        (["note", "{tool_input.ok}{tool_input.none}"], ("note", "truenull")),
        (["note", "{tool_input.list}"], ("note", '["x",1]')),
        (["note", "{empty}"], ("note", "")),
        (["note", "{{session_id}}"], ("note", "{session_id}")),
        (["note", "{", "}", "{}", "{a b}", "{session_id"], ("note", "{", "}", "{}", "{a b}", "{session_id")),
        (["awk", "{print $1}"], ("awk", "{print $1}")),
        ([], ()),
    ],
)
def test_placeholders_are_filled_and_other_braces_stand_for_themselves(
    template: list[str], argv: tuple[str, ...]
) -> None:
    assert fill(template, PAYLOAD) == argv


@pytest.mark.parametrize("name", ["missing", "tool_input.missing", "session_id.x", "tool_input.list.0", ".", "a..b"])
def test_a_name_that_the_payload_does_not_have_is_told(name: str) -> None:
    with pytest.raises(InvalidJob, match="has no "):
        fill(["note", "{" + name + "}"], PAYLOAD)


class TestInjection:
    @pytest.mark.parametrize("value", ["-rf", "--output=x", "-", "--"])
    def test_a_value_cannot_become_an_option(self, value: str) -> None:
        with pytest.raises(InvalidJob, match="would be read as an option"):
            fill(["rm", "{v}"], {"v": value})

    def test_nor_can_one_behind_an_empty_one(self) -> None:
        with pytest.raises(InvalidJob, match="option"):
            fill(["rm", "{a}{b}"], {"a": "", "b": "-rf"})

    def test_nor_does_it_help_that_two_dashes_come_after_it(self) -> None:
        with pytest.raises(InvalidJob, match="option"):
            fill(["rm", "{v}", "--", "x"], {"v": "-rf"})

    def test_a_value_of_two_dashes_opens_the_way_for_nobody(self) -> None:
        with pytest.raises(InvalidJob, match="option"):
            fill(["rm", "{a}", "{b}"], {"a": "--", "b": "-rf"})

    @pytest.mark.parametrize(
        "template", [["rm", "--", "{v}"], ["rm", "file-{v}"], ["rm", "--name={v}"], ["rm", "./{v}"]]
    )
    def test_unless_the_template_put_something_before_it(self, template: list[str]) -> None:
        assert fill(template, {"v": "-rf"})[-1].endswith("-rf")

    def test_a_value_is_not_looked_through_for_placeholders(self) -> None:
        assert fill(["note", "{a}"], {"a": "{b}", "b": "x"}) == ("note", "{b}")

    @given(
        st.dictionaries(st.sampled_from("abc"), st.text()), st.lists(st.sampled_from(["x", "{a}", "{b}y", "{c}{a}"]))
    )
    def test_whatever_the_payload_holds_there_are_as_many_arguments_as_in_the_template(
        self, payload: dict[str, str], template: list[str]
    ) -> None:
        try:
            argv = fill(["program", *template], payload)
        except InvalidJob:
            return
        assert len(argv) == len(template) + 1
        assert argv[0] == "program"
        assert not any(word.startswith("-") for word in argv)


@pytest.mark.parametrize("program", ["{tool_input.command}", "./{name}", "{name}.sh"])
def test_the_payload_does_not_choose_the_program(program: str) -> None:
    with pytest.raises(InvalidJob, match="begins with a program"):
        fill([program, "x"], {"name": "run", "tool_input": {"command": "sh"}})
