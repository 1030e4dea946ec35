"""What both fuzzers share: a seed that can be told and set, and texts, numbers and shapes that break programs."""

from __future__ import annotations

import json
import os
import random
from typing import Any

SEED = int(os.environ.get("RUNQ_FUZZ_SEED", "20261122"))
ROUNDS = int(os.environ.get("RUNQ_FUZZ_ROUNDS", "1"))
"""How much longer than usual to search; each round has a seed of its own, counted up from SEED."""
TRACES = ("Traceback", 'File "', "site-packages", "queue_core/", "mcp_server/", "sqlite3.", "pydantic")
"""What no answer may hold."""
CANARY = "canary"
"""Whatever is run through a shell, or writes where it must not, makes a file with this in its name."""


def rng(round_number: int, salt: str) -> random.Random:
    """The chance of one round: the same on every run with that seed."""
    return random.Random(f"{SEED + round_number} {salt}")


NASTY = (
    "",
    " ",
    "-",
    "--",
    "-rf",
    "--upload-pack=touch canary",
    "$(touch canary)",
    "`touch canary`",
    "; touch canary",
    "| touch canary",
    "&& touch canary #",
    "x\ntouch canary\n",
    "> canary",
    "{session_id}",
    "{0.__class__}",
    "{",
    "}}",
    "%s%n%x",
    "${HOME}",
    "~root",
    "*",
    "../../canary",
    "/etc/passwd",
    "/proc/self/environ",
    "/dev/zero",
    "file:///etc/passwd",
    "queue://jobs/../status",
    "queue://jobs/%2e%2e/output",
    "queue://jobs/1/output/../../2",
    "' OR 1=1 --",
    '"; DROP TABLE jobs; --',
    "\0",
    "a\0b",
    "\r\n",
    "\x1b[2J\x1b]0;owned\x07",
    "\u202egnp.exe\u2066",
    "\u200b\ufeff",
    "\ufffe\uffff",
    "\U0010ffff",
    "\ud800",
    "\udcff",
    "\ud83d\ude00",
    "e\u0301" * 40,
    "٣",
    "²",
    "1e9",
    "0x10",
    "NaN",
    "null",
    "true",
    "2026-11-22",
    "2026-02-30T25:61:61Z",
    "9999-12-31T23:59:59+14:00",
    "0001-01-01T00:00:00-14:00",
    "[]",
    '["sh", "-c", "touch canary"]',
    '{"a": 1}',
    "__proto__",
    "__class__",
    "self",
    "ctx",
    "x" * 5_000,
    "ü" * 70_000,
    "9" * 5_000,
    "[" * 500,
)
NUMBERS = (
    *(0, -0.0, 1, -1, 2, 0.1, 1e-300, 1e300, 1e999, -1e999, float("nan")),
    *(2**31 - 1, 2**31, 2**53, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 10**30, 10**400),
)
HOSTILE = (
    ["sh", "-c", "touch canary"],
    ["touch", "canary"],
    ["/usr/bin/touch", "../canary"],
    ["true", "; touch canary"],
    ["true\0touch"],
    ["env", "touch", "canary"],
    ["./true"],
    ["../../bin/touch", "canary"],
    ["bash", "-c", "touch canary"],
    ["python3", "-c", "open('canary', 'w')"],
    ["find", ".", "-fprint", "canary"],
    ["tee", "canary"],
    ["TRUE"],
    [" true"],
    ["true "],
)


def nasty_value(chance: random.Random, depth: int = 0) -> Any:
    """Any JSON value, most of them bad."""
    kind = chance.randrange(12 if depth < 3 else 8)
    if kind < 4:
        return chance.choice(NASTY)
    if kind < 6:
        return chance.choice(NUMBERS)
    if kind < 8:
        return chance.choice((None, True, False))
    if kind == 8:
        return list(chance.choice(HOSTILE))
    if kind == 9:
        return deep(chance.choice((5, 50, 190, 210, 600)))
    if kind == 10:
        return [nasty_value(chance, depth + 1) for _ in range(chance.randrange(5))]
    return {text(chance): nasty_value(chance, depth + 1) for _ in range(chance.randrange(5))}


def text(chance: random.Random) -> str:
    return chance.choice(NASTY)


def deep(levels: int) -> Any:
    value: Any = "bottom"
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


def dumped(value: Any, chance: random.Random) -> bytes:
    """As JSON that may hold what JSON must not: NaN, lone surrogates, raw bytes, the same key twice."""
    raw = json.dumps(value, ensure_ascii=chance.random() < 0.7).encode("utf-8", "surrogatepass")
    if raw.startswith(b'{"') and chance.random() < 0.03:
        key = raw[: raw.index(b":")]
        raw = raw[:-1] + b", " + key[1:] + b": " + json.dumps(nasty_value(chance)).encode() + b"}"
    return raw


def broken(raw: bytes, chance: random.Random) -> bytes:
    """The same bytes, damaged."""
    at = chance.randrange(len(raw) + 1)
    match chance.randrange(6):
        case 0:
            return raw[:at]
        case 1:
            return raw[at:]
        case 2:
            return raw[:at] + chance.randbytes(chance.randrange(1, 9)) + raw[at:]
        case 3:
            return raw[:at] + b"\0" + raw[at + 1 :]
        case 4:
            return raw + raw
        case _:
            return raw[:at] + chance.choice((b"[", b"{", b'"', b"\\", b"\xff", b",", b"}")) + raw[at + 1 :]
