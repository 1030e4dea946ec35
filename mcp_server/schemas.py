"""Tools as this server publishes them: small schemas, errors that a model can act on, results said once.

The hook is a subclass of the SDK's `Tool`, given to `MCPServer(tools=[...])`: public API alone. `Tool` asks
its `fn_metadata` to validate the arguments, to call the function and to convert the result, and it is where
the kinds of failure can still be told apart (by class and `__cause__`). A middleware sees only the wire:
there an error is already a text behind "Error executing tool X".
"""

import difflib
import functools
import inspect
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, cast

import anyio.to_thread
import pydantic_core
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata
from mcp_types import CallToolResult, InputRequiredResult, TextContent, ToolAnnotations
from pydantic import Field, ValidationError

__all__ = ["as_result", "make_tool", "slim_schema"]

Schema = dict[str, Any]

SHOWN_VALUE_CHARS: Final = 60
SCHEMAS_BY_NAME: Final = frozenset({"properties", "patternProperties", "$defs"})
LISTS_OF_SCHEMAS: Final = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
PLURALS: Final = {"string": "strings", "integer": "integers", "number": "numbers", "object": "objects"}


def make_tool(
    fn: Callable[..., Any],
    *,
    annotations: ToolAnnotations,
    output_schema: Schema,
    title: str | None = None,
    name: str | None = None,
    description: str | None = None,
    meta: dict[str, Any] | None = None,
    expected_errors: tuple[type[Exception], ...] = (),
    wording: Callable[[str], str] = str,
) -> Tool:
    """A tool for `MCPServer(tools=[...])` from a function that returns a JSON-ready dict without nulls.

    The model is told the message of a `ToolError`, and of the `expected_errors` (classes whose messages are
    written for the caller), as `wording` puts it. Anything else becomes one generic sentence, with the
    traceback in the log.
    """
    made = Tool.from_function(
        fn,
        name=name,
        title=title,
        description=description or inspect.getdoc(fn),
        annotations=annotations,
        meta=meta,
        structured_output=False,  # or the SDK derives a schema of its own from the return type
    )
    parameters = slim_schema(made.parameters)
    return _PlainSpokenTool(
        **{field: getattr(made, field) for field in Tool.model_fields if field not in _REPLACED_FIELDS},
        parameters=parameters,
        fn_metadata=_CallMetadata(
            arg_model=made.fn_metadata.arg_model,
            output_schema=slim_schema(output_schema),
            parameters=parameters,
        ),
        expected_errors=expected_errors,
        wording=wording,
    )


# The SDK names its resolvers there, which means nothing to a model.
_UNREADABLE: Final = "The client's answer to the question put to its user was none of those offered; nothing was done."

_REPLACED_FIELDS: Final = frozenset({"parameters", "fn_metadata"})


class _BadArgumentsError(Exception):
    """The caller's mistakes, one sentence each; its cause is pydantic's error, if there was one."""


class _CallMetadata(FuncMetadata):
    """How one tool's arguments come in and its result goes out."""

    parameters: Schema

    def validate_arguments(self, arguments_to_validate: dict[str, Any]) -> dict[str, Any]:
        given = self._without_idle_nulls(arguments_to_validate)
        known = {name: value for name, value in given.items() if name in self._properties}
        problems = [_unknown_argument(name, self._properties) for name in given if name not in known]
        cause: ValidationError | None = None
        try:
            validated = super().validate_arguments(known)
        except ValidationError as error:
            validated, cause = {}, error
            problems += _problems(error, self.parameters)
        if problems:
            raise _BadArgumentsError(" ".join(problems)) from cause
        return validated

    @property
    def _properties(self) -> dict[str, Schema]:
        return self.parameters.get("properties", {})

    def _without_idle_nulls(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Some models fill in every argument; null for one that may be left out means that it is."""
        optional = self._properties.keys() - set(self.parameters.get("required", ()))
        return {name: value for name, value in arguments.items() if value is not None or name not in optional}

    def pre_parse_json(self, data: dict[str, Any]) -> dict[str, Any]:
        """Some clients send lists and objects as JSON in a string: read it, where no string is wanted.

        The SDK's own reads it for `str | None` too, so that a job's stdin could not be `{"a": 1}`.
        """
        return {name: _parsed(value, self._properties.get(name, {})) for name, value in data.items()}

    async def call_fn(
        self,
        fn: Callable[..., Any | Awaitable[Any]],
        fn_is_async: bool,
        arguments: dict[str, Any],
        arguments_to_pass_directly: dict[str, Any] | None = None,
    ) -> Any:
        if fn_is_async:
            return await super().call_fn(fn, fn_is_async, arguments, arguments_to_pass_directly)
        call = functools.partial(fn, **arguments, **(arguments_to_pass_directly or {}))
        # Abandoned, unlike in the SDK: the end of the server does not wait for a thread that waits for a job.
        return await anyio.to_thread.run_sync(call, abandon_on_cancel=True)

    def convert_result(self, result: Any) -> CallToolResult | InputRequiredResult:
        """The result as structured content, and as compact text for clients that read only that."""
        if isinstance(result, CallToolResult | InputRequiredResult):
            return result
        return as_result(result)


class _PlainSpokenTool(Tool):
    """A tool whose errors say what to do next, without the SDK's prefix."""

    expected_errors: tuple[type[Exception], ...] = ()
    wording: Callable[[str], str] = Field(default=str, exclude=True)

    async def run(self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False) -> Any:
        try:
            return await super().run(arguments, context, convert_result)
        except UnexpectedToolError as error:
            cause = error.__cause__
            if isinstance(cause, _BadArgumentsError):
                # From pydantic's own error, for which the SDK logs the arguments' names without their values.
                raise ToolError(str(cause)) from cause.__cause__
            if isinstance(cause, self.expected_errors):
                raise ToolError(_sentence(self.wording(str(cause)))) from cause
            # The SDK logs this class with the traceback of its cause.
            raise UnexpectedToolError(f"`{self.name}` failed inside runq; `runq logs` shows why.") from cause
        except ToolError as error:
            # "Error executing tool X: " stands before a deliberate message; the bare message is the cause's.
            said = str(error.__cause__ or error)
            raise ToolError(_UNREADABLE if said.startswith("Resolver ") else said) from error.__cause__


def _sentence(text: str) -> str:
    """Errors begin in lower case behind a command's name; a model gets them alone."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


# -- schemas ---------------------------------------------------------------------------------------------


def slim_schema(schema: Schema) -> Schema:
    """The same JSON schema in fewer words: no titles, no null where something else is possible, no defaults
    that say nothing. Pydantic keeps validating against the full one.
    """
    slim = {keyword: _slim_value(keyword, value) for keyword, value in schema.items()}
    return _without_null({keyword: value for keyword, value in slim.items() if not _is_idle(keyword, value)})


def _slim_value(keyword: str, value: Any) -> Any:
    if keyword in SCHEMAS_BY_NAME:
        return {name: slim_schema(schema) for name, schema in cast(dict[str, Schema], value).items()}
    if keyword in LISTS_OF_SCHEMAS:
        return [slim_schema(schema) for schema in cast(list[Schema], value)]
    if keyword in ("items", "additionalProperties") and isinstance(value, dict):
        return slim_schema(cast(Schema, value))
    return value


def _is_idle(keyword: str, value: Any) -> bool:
    match keyword:
        case "title":
            return True
        case "default":
            return value is None or value is False
        case "items":
            return value == {}
        case "additionalProperties":
            return value is True or value == {}
        case _:
            return False


def _without_null(schema: Schema) -> Schema:
    branches: list[Schema] = schema.get("anyOf", [])
    kept = [branch for branch in branches if branch != {"type": "null"}]
    if len(kept) == len(branches):
        return schema
    rest = {keyword: value for keyword, value in schema.items() if keyword != "anyOf"}
    return {**kept[0], **rest} if len(kept) == 1 else {"anyOf": kept, **rest}


def _branches(schema: Schema) -> list[Schema]:
    return schema.get("anyOf", [schema])


# -- arguments -------------------------------------------------------------------------------------------


def _parsed(value: Any, schema: Schema) -> Any:
    kinds = {branch.get("type") for branch in _branches(schema)}
    if not isinstance(value, str) or not kinds <= {"array", "object"}:
        return value
    try:
        parsed: object = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return cast(object, parsed) if isinstance(parsed, list | dict) else value


def _unknown_argument(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"There is no argument `{name}`; did you mean `{near[0]}`?"
    return f"There is no argument `{name}`; there are {', '.join(known) or 'none'}."


def _problems(error: ValidationError, parameters: Schema) -> list[str]:
    """One sentence for each place that is wrong; pydantic reports one for each branch of a union."""
    sentences: dict[str, str] = {}
    for detail in error.errors(include_url=False):
        path, schema, value = _place(parameters, detail["loc"], detail["input"])
        sentences.setdefault(path, _problem(path, schema, value, detail["type"], detail["msg"]))
    return list(sentences.values())


def _problem(path: str, schema: Schema, value: Any, kind: str, message: str) -> str:
    if kind == "missing":
        return f"The argument `{path}` is missing: give {_wanted(schema)}."
    if kind in ("value_error", "assertion_error"):  # a validator of the tool's own: its message says it all
        _, _, said = message.partition(", ")
        return f"The argument `{path}` is wrong: {said.rstrip('.')}."
    return f"The argument `{path}` must be {_wanted(schema)}, not {_shown(value)}."


def _place(schema: Schema, loc: Sequence[int | str], value: Any) -> tuple[str, Schema, Any]:
    """Follow pydantic's location as far as the schema goes: beyond it are names of branches of a union."""
    path = ""
    for step in loc:
        inner = _step_into(schema, step)
        if inner is None:
            break
        schema = inner
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return path, schema, value


def _step_into(schema: Schema, step: int | str) -> Schema | None:
    if isinstance(step, int):
        return schema.get("items")
    properties: dict[str, Schema] = schema.get("properties", {})
    if step in properties:
        return properties[step]
    values = schema.get("additionalProperties")
    return cast(Schema, values) if isinstance(values, dict) else None


def _wanted(schema: Schema) -> str:
    if "enum" in schema:
        return "one of " + ", ".join(str(choice) for choice in schema["enum"])
    if "const" in schema:
        return json.dumps(schema["const"])
    if "anyOf" in schema:
        return " or ".join(_wanted(branch) for branch in schema["anyOf"])
    describe = _KINDS.get(schema.get("type", ""))
    return describe(schema) if describe else "another value"


_KINDS: Final[dict[str, Callable[[Schema], str]]] = {
    "string": lambda schema: "a string" + _size(schema, "Length", "character") + _pattern(schema),
    "integer": lambda schema: "an integer" + _range(schema),
    "number": lambda schema: "a number" + _range(schema),
    "boolean": lambda schema: "true or false",
    "array": lambda schema: f"a list of {_plural(schema.get('items', {}))}" + _size(schema, "Items", "item"),
    "object": lambda schema: "an object",
}


def _plural(schema: Schema) -> str:
    names = (PLURALS.get(branch.get("type", ""), "values") for branch in _branches(schema))
    return " or ".join(dict.fromkeys(names))


def _range(schema: Schema) -> str:
    bounds = {
        "from": schema.get("minimum"),
        "above": schema.get("exclusiveMinimum"),
        "to": schema.get("maximum"),
        "below": schema.get("exclusiveMaximum"),
    }
    return "".join(f" {word} {bound}" for word, bound in bounds.items() if bound is not None)


def _size(schema: Schema, keyword: str, unit: str) -> str:
    low, high = schema.get(f"min{keyword}"), schema.get(f"max{keyword}")
    words = [f"at least {low}"] if low is not None else []
    words += [f"at most {high}"] if high is not None else []
    if not words:
        return ""
    return f" ({' and '.join(words)} {unit}{'' if words[-1].endswith(' 1') else 's'})"


def _pattern(schema: Schema) -> str:
    return f" that matches {schema['pattern']}" if "pattern" in schema else ""


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN_VALUE_CHARS else text[: SHOWN_VALUE_CHARS - 1] + "…"


# -- results ---------------------------------------------------------------------------------------------


def as_result(reply: dict[str, Any], *, is_error: bool = False) -> CallToolResult:
    """What a tool's reply is on the wire: said as structured content and as text."""
    text, structured = _encoded(reply)
    content = [TextContent(type="text", text=text)]
    return CallToolResult(content=list(content), structured_content=structured, is_error=is_error)


def _encoded(result: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The result as compact JSON, and as what that JSON says."""
    try:
        return pydantic_core.to_json(result, inf_nan_mode="null").decode(), result
    except ValueError:
        # A lone surrogate: text from a file name or an output that is no UTF-8, which JSON can't carry.
        text = json.dumps(result, ensure_ascii=False, separators=(",", ":")).encode(errors="replace").decode()
        return text, json.loads(text)
