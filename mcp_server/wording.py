"""The queue's sentences speak of the command line, as people know it; an agent is told of the tools it has.

One place for it, so that `queue_core` need not know who reads. What only a person may do or see
(`runq approve --show`, `runq resume`, `runq logs`) stays as it is: the agent passes it on.
"""

from __future__ import annotations

import re

PERSONS = frozenset(
    {"approve", "reject", "allow", "resume", "logs", "doctor", "backup", "rules", "schedule", "work", "hook"}
)
_HINTS = (
    (r"`runq list --state held`, look", "`list_jobs` shows them; ask the user to look"),
    (r"`runq list --state (\w+)`", r"`list_jobs` with state \1"),
    (r"`runq list`", "`list_jobs`"),
    (r"`runq status (\d+)`", r"`status` with job_id \1"),
    (r"`runq output (\d+)`", r"`output` with job_id \1"),
    (r"`runq dead list`", "`dead_letter_list`"),
    (r"`runq dead retry(?: --all)?`", "`dead_letter_retry`"),
    (r"\(a session's server boots one, or run `runq work`\)", "(this server boots one in a moment)"),
    (r"put it behind `--`: runq add -- PROGRAM \[ARG\.\.\.\]", "give argv or command"),
    (r"give another --cwd", "give another cwd"),
    (r"check the path and --cwd", "check the path and cwd"),
    (r"pass the text by --stdin or a file", "pass the text by stdin or a file"),
    (r"pass --stdin FILE", "have the command read a file"),
)
_TOLD = re.compile("|".join(pattern for pattern, _ in _HINTS))


def for_agents(sentence: str) -> str:
    """The sentence with its next step in terms of the tools."""
    return _TOLD.sub(_by_tool, sentence)


def _by_tool(found: re.Match[str]) -> str:
    for pattern, hint in _HINTS:
        if re.fullmatch(pattern, found[0]):
            return re.sub(pattern, hint, found[0])
    return found[0]  # pragma: no cover - one of them has just matched
