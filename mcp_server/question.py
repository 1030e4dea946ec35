"""The question that a user is asked about a command: all that would run, in words that their client shows in full.

Two forms. The short one is a single line: clients that cut a question (see `CUTTING`) show that much of it. Several
things stand on that line, so whatever an agent has chosen is one quoted text, of characters that no other can be taken
for. The long form has a line for each thing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from mcp_server.text import quoted
from queue_core import views
from queue_core.model import Admission

# Clients by the names they give, which show the beginning of a long question alone. claude-code: 2.1.330 on a terminal
# wraps a line by words, 6 columns narrower than the terminal, and shows 4 rows; of more than 4 it shows 3, and says how
# many are left out. Of a text of many lines it shows as many, each cut at the terminal's width.
CUTTING = frozenset({"claude-code"})
ROW, ROWS = 74, 4  # what such a client shows on a terminal of 80 columns
LONGEST_LINE = 280  # columns; that is how much fits, with some to spare
LONGEST_QUESTION = 4000  # characters; what is longer nobody reads in a dialog, so it is held

# ASCII, and letters of scripts that are read from left to right, in which nothing looks like a quotation mark.
_PLAIN = re.compile(
    "[ -~\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u017f\u1ea0-\u1ef9"  # Latin
    "\u0386\u0388-\u03ce\u0400-\u0481\u048a-\u04ff"  # Greek, Cyrillic
    "\u3041-\u3096\u30a1-\u30fa\u30fc\u4e00-\u9fff\uac00-\ud7a3]*"  # kana, Han, Hangul
)
_WIDE = "\u1100"  # from here on a character may take two columns
_MISTAKEN = re.compile("(?<= ) |(?<=['`])['`]")  # spaces are lost where a row ends; two apostrophes look like a quote

Quoting = Callable[[str], str]


def question_about(admission: Admission, folder: str, *, always: bool, client: str) -> str | None:
    """What the user of a client of this name is asked; None if they could not see all of it.

    `folder` is the real path of where it would run; `always` tells whether they are offered a rule.
    """
    short = _short(admission, folder)
    if _fits(short):
        return short
    long = _long(admission, folder, always=always)
    return None if client in CUTTING or len(long) > LONGEST_QUESTION else long


def _fits(line: str) -> bool:
    """Whether the line is seen in full where it is wrapped by words, and as what it is."""
    if _columns(line) > LONGEST_LINE or not _PLAIN.fullmatch(line):
        return False
    rows, used = 1, 0
    for word in line.split(" "):
        if used and used + 1 + _columns(word) > ROW:
            rows, used = rows + 1, 0
        used += _columns(word) + bool(used)
        while used > ROW:  # a word that is longer than a row is broken
            rows, used = rows + 1, used - ROW
    return rows <= ROWS


def _columns(text: str) -> int:
    return sum(1 + (one >= _WIDE) for one in text)


def _short(admission: Admission, folder: str) -> str:
    job = admission.job
    details = [] if job.argv[0] == admission.program else [f"it is {_word(admission.program)}"]
    if job.env:
        details += [f"with {_listed(_pairs(job.env), _word)} set"]
    if job.stdin is not None:
        details += [f"with the input {_word(_input(job.stdin))}"]
    details += _terms(admission, _word)
    for step in admission.on_dead:
        which = "" if step.argv[0] == step.executable else f", which is {_word(step.executable)}"
        details += [f"if that fails for good, {_words(step.argv)} runs{which}"]
    told = "; ".join(details)
    told = f" {told[0].upper()}{told[1:]}." if told else ""
    why = f"An agent asks, outside of its sandbox and permissions: {_word(admission.held or '')}."
    return f"Run {_words(job.argv)} in {_word(folder)}?{told} {why}"


def _word(text: str) -> str:
    """One quoted text on a line with others."""
    return _MISTAKEN.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted(text))


def _words(argv: Iterable[str]) -> str:
    return " ".join(map(_word, argv))


def _long(admission: Admission, folder: str, *, always: bool) -> str:
    """Every line that the agent chose is one quoted text, which cannot begin another line."""
    job = admission.job
    lines = [
        "An agent asks runq to run a command, outside of the agent's own sandbox and permissions.",
        f"Asked because: {quoted(admission.held or '')[1:-1]}",
        "",
        *_command(job.argv, admission.program),
        f"in the folder: {quoted(folder)}",
    ]
    if job.env:
        lines += ["with the environment changed:", *(f"  {quoted(pair)}" for pair in _pairs(job.env))]
    if job.stdin is not None:
        lines += [f"with the input: {quoted(_input(job.stdin))}"]
    if terms := _terms(admission, quoted):
        lines += [f"terms: {'; '.join(terms)}"]
    for step in admission.on_dead:
        lines += ["", "If that fails for good, next:", *_command(step.argv, step.executable)]
    lines += ["", "once: let it run this time."]
    if always:
        lines += ["always: let it run, and write a rule for exactly this program, arguments, folder and environment."]
    return "\n".join([*lines, "no: refuse it."])


def _command(argv: tuple[str, ...], program: str) -> list[str]:
    words = [f"  {quoted(word)}" for word in argv]
    return ["the command, an argument a line:", *words, f"which is the program: {quoted(program)}"]


def _pairs(env: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in env.items()]


def _input(given: bytes) -> str:
    """All of it; of one that no question has room for, enough to make the question too long."""
    return given[: 4 * LONGEST_QUESTION].decode(errors="replace")  # a character has 4 bytes at most


def _terms(admission: Admission, quote: Quoting) -> list[str]:
    """When, how often and beside what it would run, as far as that is not the usual."""
    job, attempts = admission.job, admission.retry.retries + 1
    at = views.rfc3339(job.at)
    needs = {"success": job.after, "end": job.after_any, "failure": job.after_failure}
    terms = [
        f"not before {at}" if at else "",
        f"not before {job.delay:.10g} s from now" if job.delay else "",
        *(f"after the {end} of job {', '.join(map(str, ids))}" for end, ids in needs.items() if ids),
        f"up to {attempts} attempts" if attempts > 1 else "",
        f"at most {job.timeout:.10g} s an attempt" if job.timeout is not None else "",
        f"queue {quote(job.queue)}" if job.queue != "default" else "",
        f"priority {job.priority}" if job.priority != "normal" else "",
        "alone in its queue" if job.sequential else "",
        f"locks {_listed((_lock(*lock) for lock in job.locks), quote)}" if job.locks else "",
        f"unique key {quote(job.unique)}" if job.unique is not None else "",
    ]
    return [term for term in terms if term]


def _listed(texts: Iterable[str], quote: Quoting) -> str:
    return ", ".join(map(quote, texts))


def _lock(name: str, capacity: int | None) -> str:
    return name if capacity is None else f"{name}={capacity}"
