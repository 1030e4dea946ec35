"""What the SDK's own refusals over HTTP say, in one sentence with what to do next.

It answers a malformed request with every guess of its validator, line by line, and a lost session in two words.
"""

from __future__ import annotations

import json
from typing import Any

from mcp_types import PARSE_ERROR

from mcp_server.frames import Refused, understood
from queue_core.shapes import is_object

STATUSES = (400, 404)
"""Of the refusals that are looked at; all others are few and short."""
_SENTENCES = {
    "Bad Request: Missing session ID": "this request belongs to no session: send `initialize` first, and with each"
    " request after it the Mcp-Session-Id of its answer",
    "Session not found": "this session has ended, or never was: send `initialize` without an Mcp-Session-Id to begin"
    " another",
}


def reworded(asked: bytes, answer: bytes) -> dict[str, Any] | None:
    """What is better said to this request's body than this answer; None: it is good as it is."""
    try:
        said = json.loads(answer)
    except ValueError:
        return None
    error = said.get("error") if is_object(said) else None
    if not is_object(error):
        return None
    if error.get("message") in _SENTENCES:
        return {**said, "error": {**error, "message": _SENTENCES[error["message"]]}}
    refused = understood(asked) if error.get("code") != PARSE_ERROR else None
    if not isinstance(refused, Refused):
        return None
    request_id = refused.answers[0].id if len(refused.answers) == 1 else None  # one of a batch would be a wrong one
    told = {"code": refused.error.code, "message": refused.error.message}
    return {"jsonrpc": "2.0", "id": request_id, "error": told}
