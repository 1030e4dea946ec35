"""What a model gets to see of a tool: its schemas, its results, and above all its errors."""

import json
import logging
from typing import Annotated, Any, Literal

import pytest
from mcp.client import Client
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, TextContent, Tool, ToolAnnotations
from pydantic import AfterValidator, Field

from mcp_server.schemas import make_tool, slim_schema

READS = ToolAnnotations(read_only_hint=True)
OUTPUT = {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}


class JobNotFoundError(Exception):
    pass


def tomorrow_or_later(value: str) -> str:
    if value == "yesterday":
        raise ValueError("`at` lies in the past; give a time to come")
    return value


async def enqueue(
    argv: Annotated[list[str], Field(description="Program and arguments.", min_length=1)],
    queue: Annotated[str, Field(pattern="^[a-z]+$")] = "default",
    priority: Literal["critical", "high", "normal", "low"] = "normal",
    limit: Annotated[int, Field(ge=1, le=100)] = 20,
    at: Annotated[str, AfterValidator(tomorrow_or_later)] | None = None,
    stdin: Annotated[str | None, Field(description="Its input.")] = None,
    wait: int | str | None = None,
    env: dict[str, str] | None = None,
    kwargs: dict[str, Any] | None = None,
    title: str | None = None,
) -> dict[str, Any]:
    """Queue a command.

    It is durable.
    """
    return {"id": 7, "stdin": stdin, "argv": argv, "limit": limit, "kwargs": kwargs}


def fail(how: Literal["tool", "expected", "crash", "protocol"], ctx: Context[Any, Any]) -> dict[str, Any]:
    """Fail."""
    errors = {
        "tool": ToolError("Use `status` first."),
        "expected": JobNotFoundError("There is no job 7."),
        "crash": RuntimeError("the secret"),
        "protocol": MCPError(code=-32602, message="not even wrong"),
    }
    raise errors[how]


def name_of_a_file() -> dict[str, Any]:
    """Text that is no text."""
    return {"id": 1, "name": "ü\udcff"}


@pytest.fixture
def server() -> MCPServer[Any]:
    tools = [
        make_tool(fn, annotations=READS, output_schema=OUTPUT, title=title, expected_errors=(JobNotFoundError,))
        for fn, title in ((enqueue, "Queue a command"), (fail, None), (name_of_a_file, None))
    ]
    return MCPServer("test", tools=tools)


async def listed(server: MCPServer[Any], name: str) -> Tool:
    return next(tool for tool in await server.list_tools() if tool.name == name)


async def called(server: MCPServer[Any], name: str, mode: Any = "auto", **arguments: Any) -> CallToolResult:
    async with Client(server, mode=mode) as client:
        return await client.call_tool(name, arguments)


def text_of(result: CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


# -- schemas ---------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_an_input_schema_has_no_titles_no_nulls_and_keeps_an_argument_named_title(
    server: MCPServer[Any],
) -> None:
    tool = await listed(server, "enqueue")
    assert tool.input_schema == {
        "type": "object",
        "required": ["argv"],
        "properties": {
            "argv": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Program and arguments.",
                "minItems": 1,
            },
            "queue": {"type": "string", "default": "default", "pattern": "^[a-z]+$"},
            "priority": {
                "type": "string",
                "enum": ["critical", "high", "normal", "low"],
                "default": "normal",
            },
            "limit": {"type": "integer", "default": 20, "minimum": 1, "maximum": 100},
            "at": {"type": "string"},
            "stdin": {"type": "string", "description": "Its input."},
            "wait": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
            "env": {"type": "object", "additionalProperties": {"type": "string"}},
            "kwargs": {"type": "object"},
            "title": {"type": "string"},
        },
    }


@pytest.mark.anyio
async def test_a_tool_is_listed_with_its_own_words_and_hints(server: MCPServer[Any]) -> None:
    tool = await listed(server, "enqueue")
    assert (tool.title, tool.description) == ("Queue a command", "Queue a command.\n\nIt is durable.")
    assert tool.annotations == READS
    assert tool.output_schema == OUTPUT


def test_slimming_reaches_inner_schemas_and_leaves_values_alone() -> None:
    enum = {"enum": [{"title": "a value"}, None], "default": {"title": "kept"}}
    schema = {
        "title": "Gone",
        "$defs": {"title": {"title": "Gone", "type": "object", "properties": {"x": {"title": "X", **enum}}}},
        "anyOf": [{"$ref": "#/$defs/title"}, {"type": "null"}],
        "description": "kept",
        "items": {},
        "additionalProperties": True,
        "default": None,
    }
    assert slim_schema(schema) == {
        "$defs": {"title": {"type": "object", "properties": {"x": enum}}},
        "$ref": "#/$defs/title",
        "description": "kept",
    }


# -- arguments -------------------------------------------------------------------------------------------

ARGUMENT_ERRORS = [
    ({}, "The argument `argv` is missing: give a list of strings (at least 1 item)."),
    (
        {"argv": "git status"},
        'The argument `argv` must be a list of strings (at least 1 item), not "git status".',
    ),
    ({"argv": ["a", 1]}, "The argument `argv[1]` must be a string, not 1."),
    ({"argv": []}, "The argument `argv` must be a list of strings (at least 1 item), not []."),
    (
        {"argv": ["a"], "priority": "urgent"},
        'The argument `priority` must be one of critical, high, normal, low, not "urgent".',
    ),
    ({"argv": ["a"], "limit": 1000}, "The argument `limit` must be an integer from 1 to 100, not 1000."),
    (
        {"argv": ["a"], "queue": "A B"},
        'The argument `queue` must be a string that matches ^[a-z]+$, not "A B".',
    ),
    ({"argv": ["a"], "wait": [1]}, "The argument `wait` must be an integer or a string, not [1]."),
    ({"argv": ["a"], "env": {"A": 1}}, "The argument `env.A` must be a string, not 1."),
    (
        {"argv": ["a"], "at": "yesterday"},
        "The argument `at` is wrong: `at` lies in the past; give a time to come.",
    ),
    ({"argv": ["a"], "stdin": {"a": "x" * 99}}, 'must be a string, not {"a": "' + "x" * 52 + "…."),
    ({"argv": ["a"], "prio": "low"}, "There is no argument `prio`; did you mean `priority`?"),
    (
        {"argv": ["a"], "zzz": None, "yyy": 1},
        "There is no argument `zzz`; there are argv, queue, priority, limit, at, stdin, wait, env, kwargs, "
        "title. There is no argument `yyy`;",
    ),
    (
        {"limt": 1, "priority": 3},
        "There is no argument `limt`; did you mean `limit`? "
        "The argument `argv` is missing: give a list of strings (at least 1 item). "
        "The argument `priority` must be one of critical, high, normal, low, not 3.",
    ),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("arguments", "sentence"), ARGUMENT_ERRORS)
async def test_wrong_arguments_are_a_tool_error_that_says_what_to_give(
    server: MCPServer[Any], arguments: dict[str, Any], sentence: str
) -> None:
    result = await called(server, "enqueue", **arguments)
    assert result.is_error
    assert sentence in text_of(result)
    assert result.structured_content is None


@pytest.mark.anyio
async def test_values_of_wrong_arguments_stay_out_of_the_log(
    server: MCPServer[Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    result = await called(server, "enqueue", argv=["a"], env={"TOKEN": 12345678})
    assert "12345678" in text_of(result)
    said_by_server = [r.getMessage() for r in caplog.records if r.name.startswith("mcp.server")]
    assert said_by_server and not any("12345678" in message for message in said_by_server)


@pytest.mark.anyio
async def test_null_for_what_may_be_left_out_means_that_it_is(server: MCPServer[Any]) -> None:
    result = await called(server, "enqueue", argv=["a"], limit=None, stdin=None)
    assert result.structured_content and result.structured_content["limit"] == 20


@pytest.mark.anyio
async def test_json_in_a_string_is_read_only_where_no_string_is_wanted(server: MCPServer[Any]) -> None:
    result = await called(server, "enqueue", argv='["a", "b"]', stdin='{"a": 1}', kwargs='{"x": [1]}')
    assert result.structured_content and not result.is_error
    assert result.structured_content["argv"] == ["a", "b"]
    assert result.structured_content["stdin"] == '{"a": 1}'
    assert result.structured_content["kwargs"] == {"x": [1]}


# -- results and errors ----------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_result_is_structured_and_compact_text(server: MCPServer[Any], mode: Any) -> None:
    result = await called(server, "enqueue", mode, argv=["ü"])
    expected = {"id": 7, "stdin": None, "argv": ["ü"], "limit": 20, "kwargs": None}
    assert result.structured_content == expected
    assert text_of(result) == '{"id":7,"stdin":null,"argv":["ü"],"limit":20,"kwargs":null}'


@pytest.mark.anyio
async def test_text_that_no_json_can_carry_is_replaced(server: MCPServer[Any]) -> None:
    result = await called(server, "name_of_a_file")
    assert result.structured_content == json.loads(text_of(result)) == {"id": 1, "name": "ü?"}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("tool", "Use `status` first."),
        ("expected", "There is no job 7."),
        ("crash", "`fail` failed inside runq; `runq logs` shows why."),
    ],
)
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_an_error_reaches_the_model_in_its_own_words_and_a_crash_in_ours(
    server: MCPServer[Any], mode: Any, how: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    result = await called(server, "fail", mode, how=how)
    assert result.is_error
    assert text_of(result) == text
    assert ("the secret" in caplog.text) == (how == "crash")  # with its traceback
    assert ("Traceback" in caplog.text) == (how == "crash")


@pytest.mark.anyio
async def test_a_protocol_error_stays_one(server: MCPServer[Any]) -> None:
    async with Client(server) as client:
        with pytest.raises(MCPError, match="not even wrong"):
            await client.call_tool("fail", {"how": "protocol"})
