"""Jobs from a file: one JSON object, or JSON lines, all or none."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from queue_core.alike import Alike, job_like, own
from queue_core.errors import InvalidJob, UsageError
from queue_core.fastjson import in_words, loads, value_at
from queue_core.shapes import is_object
from queue_core.submission import new_job

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from queue_core.alike import Stretch
    from queue_core.model import NewJob


def read_jobs(source: str) -> Sequence[NewJob]:
    """The jobs that a file (or `-`, standard input) holds; InvalidJob names the line that is wrong."""
    text = _text(source)
    whole = _one_object(text)
    if whole is not None:
        return [new_job(whole)]
    jobs = Alike(job_like, _stretches(text))
    if not jobs.stretches:
        where = "standard input" if source == "-" else source
        raise InvalidJob(f'{where} holds no jobs; write one JSON object a line, such as {{"argv": ["true"]}}')
    _refuse_circles(text, jobs)
    return jobs


def _stretches(text: str) -> list[Stretch[NewJob]]:
    """Jobs in their order, as many together as differ in their argv only: of a hundred thousand, mostly all."""
    found: list[Stretch[NewJob]] = []
    shared: dict[str, Any] | None = None
    owns: list[Any] = []
    for number, fields in _objects(text):
        argv: Any = fields.pop("argv", None)
        if fields == shared and _same_kinds(fields, shared) and _is_argv(argv):
            owns.append(tuple(argv))
            continue
        others = dict(fields)
        if argv is not None:
            fields["argv"] = argv
        job = _job(number, fields)
        shared, owns = others if argv is not None else None, [own(job)]
        if "kwargs" in others:  # they become part of the argv
            shared = None
        found.append((job, owns))
    return found


def _same_kinds(fields: dict[str, Any], shared: object) -> bool:
    """Whether what is equal is the same: to Python 1, 1.0 and true are equal, but no job takes each for the other."""
    return not fields or all(map(_is_text, fields.values())) or repr(fields) == repr(shared)


def _is_text(value: Any) -> bool:
    return type(value) is str


def _is_argv(value: Any) -> bool:
    if type(value) is not list:
        return False
    try:
        "".join(value)  # pyright: ignore[reportUnknownArgumentType]
    except TypeError:
        return False
    return True


def _objects(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The object of each line, with the line's number."""
    place, number, size = 0, 0, len(text)
    while place < size:
        number += 1
        stop = text.find("\n", place)
        if stop < 0:
            stop = size
        fields, end = value_at(text, place)
        if end == stop and type(fields) is dict:  # nothing but an object, from the line's beginning to its end
            yield number, fields
        elif (line := text[place:stop]).strip():
            yield number, _line(number, line)
        place = stop + 1


def _refuse_circles(text: str, jobs: Alike[NewJob]) -> None:
    """Jobs wait for earlier lines only; a line that names a later one, or itself, would make a circle possible."""
    if all(job.ref is None for job, _ in jobs.stretches):
        return
    numbers = [number for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    places = {job.ref: number for number, job in zip(numbers, jobs, strict=True) if job.ref is not None}
    known: set[str | None] = set()
    for number, job in zip(numbers, jobs, strict=True):
        for needed in (*job.after, *job.after_any, *job.after_failure):
            if isinstance(needed, str) and needed not in known and needed in places:
                which = "its own `ref`" if job.ref == needed else f"the `ref` of the later line {places[needed]}"
                raise InvalidJob(
                    f"line {number}: `after` names {needed!r}, which is {which}; jobs can only wait for earlier lines,"
                    " so that no circle can arise: put it behind that line. Nothing of the file was stored"
                )
        known.add(job.ref)


def _text(source: str) -> str:
    try:
        if source == "-":
            return sys.stdin.buffer.read().decode("utf-8")
        with open(source, encoding="utf-8") as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise InvalidJob(
            f"{source} is not UTF-8 text ({error.reason} at byte {error.start}); nothing was stored"
        ) from None
    except OSError as error:
        raise UsageError(f"{source} could not be read ({error.strerror})") from None
    except ValueError:
        raise UsageError(f"{source!a} is no path of a file; give one without NUL bytes") from None


def _one_object(text: str) -> dict[str, Any] | None:
    """A file that is one object over several lines; None if it is JSON lines (or broken: the lines tell)."""
    begun = text.lstrip()
    end = begun.find("\n")
    if end < 0 or _is_json(begun[:end]) or not begun[end:].strip():
        return None
    try:
        found: Any = loads(text)
    except ValueError:
        return None
    return found if is_object(found) else None


def _is_json(line: str) -> bool:
    """Whether a line is a value by itself; what is seen not to be is not even tried."""
    try:
        return line.rstrip().endswith("}") and loads(line) is not None
    except ValueError:
        return False


def _line(number: int, line: str) -> dict[str, Any]:
    try:
        fields: Any = loads(line)
    except ValueError as error:
        raise InvalidJob(
            f"line {number} is not valid JSON ({in_words(error)}); nothing of the file was stored"
        ) from None
    if not is_object(fields):
        raise InvalidJob(f"line {number} is JSON, but no object; nothing of the file was stored")
    return fields


def _job(number: int, fields: dict[str, Any]) -> NewJob:
    try:
        return new_job(fields)
    except InvalidJob as error:
        raise InvalidJob(f"line {number}: {error}; nothing of the file was stored") from None
