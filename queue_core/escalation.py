"""Escalation: which commands take over from a job that has failed, one after the other. Pure.

A job names them itself (`on_dead`), or the settings' rules do (`[escalate.PROGRAM]` in config.toml); they are
settled when it is queued and stored with it. Neither kind may go in a circle: a chain has an end.
"""

from __future__ import annotations

import os

from queue_core.errors import InvalidJob, SettingsError
from queue_core.fastjson import dumps
from queue_core.model import LIVE, Step
from queue_core.programs import check_argv
from queue_core.shapes import is_object, is_texts
from queue_core.template import fill_by
from queue_core.value import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from queue_core.model import NewJob

ARGS = "{args}"
ID = "\0"  # stands for the job's id until it has one: no argument can hold it
# Dead letters that a bulk leaves out, by the states of those that took over from them: to run one again beside its
# successor would do the work twice, and of a chain that died to its end, only that end is run again.
TAKEN_OVER: dict[str, tuple[str, ...]] = {"retry": (*LIVE, "succeeded", "dead"), "discard": (*LIVE, "succeeded")}


class Rule(Frozen):
    """What takes over from jobs of one program or handler: a template, and after how many failures."""

    run: tuple[str, ...]
    after: int | None = None  # None: when the retries are used up

    def __str__(self) -> str:
        return " ".join(self.run) + ("" if self.after is None else f" (after {self.after})")


def own_steps(job: NewJob, find: Callable[[str], str]) -> tuple[Step, ...]:
    """The steps that a job names itself; InvalidJob for a command that is not there, or that comes back.

    `find` gives the path of a program, or raises InvalidJob.
    """
    earlier = [job.argv]
    for argv in job.on_dead or ():
        if not argv or not argv[0]:
            raise InvalidJob('a step of on_dead is a command such as ["notify", "failed"], and not empty')
        check_argv(argv)
        if argv in earlier:
            raise InvalidJob(
                f"`{' '.join(argv)}` comes twice in the job's chain, which would be a circle; remove one from on_dead"
            )
        earlier.append(argv)
    return tuple(Step(argv=argv, executable=find(argv[0]), after=job.escalate_after) for argv in earlier[1:])


def steps_by_rules(
    job: NewJob, names: Sequence[str], rules: Mapping[str, Rule], find: Callable[[str], str]
) -> tuple[Step, ...]:
    """The steps that the settings' rules mean for a job; `names` are those of its program, or its handler's.

    A rule never costs a job: where a step's program is not there, or a value would become an option, the chain ends.
    """
    steps: list[Step] = []
    followed: set[str] = set()
    programs = {_place(path) for path in names[:1] if path.startswith("/")}
    while (name := _rule_for(rules, names)) is not None and name not in followed:
        followed.add(name)
        try:
            argv = _filled(rules[name].run, job)
            check_argv([word.replace(ID, "0" * 19) for word in argv])
            step = Step(argv=argv, executable=find(argv[0]), after=rules[name].after)
        except InvalidJob:
            break
        if _place(step.executable) in programs:
            break  # a circle that only shows here, where names have become paths
        programs.add(_place(step.executable))
        steps.append(step)
        names = names_of(step.executable)
    return tuple(steps)


def names_of(executable: str) -> tuple[str, ...]:
    """How a rule may call this program: by its path, the path it links to, or its bare name."""
    return executable, _place(executable), os.path.realpath(executable), os.path.basename(executable)


def _rule_for(rules: Mapping[str, Rule], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in rules), None)


def _filled(template: Sequence[str], job: NewJob) -> tuple[str, ...]:
    """A rule's command for this job: `{args}` becomes all of its arguments, everything else fills text."""
    texts = {"id": ID, "name": job.name or "", **{f"meta.{key}": text for key, text in job.meta.items()}}
    argv: list[str] = []
    for given, filled in zip(template, fill_by(template, lambda name: texts.get(name, "")), strict=True):
        argv += _arguments(job) if given == ARGS else [filled]
    return tuple(argv)


def _arguments(job: NewJob) -> list[str]:
    """A command's arguments as they are; those of a handler as one, in JSON."""
    return list(job.argv[1:]) if job.handler is None else [dumps(dict(job.arguments))]


def checked_rules(value: Any, where: str) -> dict[str, Rule]:
    """The rules of config.toml, from tables by program; SettingsError names what is wrong, or the circle."""
    if not is_object(value) or not all(is_object(table) for table in value.values()):
        raise SettingsError(f"{where}: escalate is a table of programs, such as [escalate.aider] with a `run`")
    rules = {_key(name, where): _checked_rule(name, table, where) for name, table in value.items()}
    for name in rules:
        _refuse_circle(name, rules, where)
    return rules


def _key(name: str, where: str) -> str:
    """A rule's program or handler as jobs are matched with it: a path by the folder that it really lies in."""
    if not name or "\0" in name:
        raise SettingsError(f"{where}: escalate.{name!a} names no program; write its name or path, or a handler's name")
    return _place(name) if name.startswith("/") else name


def _place(path: str) -> str:
    """A path without links in its folders: /bin/ls is /usr/bin/ls where /bin is a link. The last part may be one."""
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name)


def _checked_rule(name: str, table: Mapping[str, Any], where: str) -> Rule:
    unknown = [key for key in table if key not in ("run", "after")]
    if unknown:
        raise SettingsError(f"{where}: escalate.{name} knows `run` and `after`, not `{unknown[0]}`")
    run, after = table.get("run"), table.get("after")
    if not is_texts(run) or not run or not run[0]:
        example = '["codex", "exec", "{args}"]'
        raise SettingsError(f"{where}: escalate.{name}.run is a list of texts such as {example}, not {run!r}")
    if after is not None and (isinstance(after, bool) or not isinstance(after, int) or not 0 < after < 2**31):
        raise SettingsError(f"{where}: escalate.{name}.after is a number of failures, at least 1, not {after!r}")
    try:
        check_argv(run)
        fill_by(run, _checked_placeholder)
    except InvalidJob as error:
        raise SettingsError(f"{where}: escalate.{name}.run: {error}") from None
    if any(ARGS in text and text != ARGS for text in run):
        raise SettingsError(f"{where}: escalate.{name}.run: {ARGS} stands for several arguments, so it stands alone")
    return Rule(run=tuple(run), after=after)


def _checked_placeholder(name: str) -> str:
    if name not in ("args", "id", "name") and not name.startswith("meta."):
        raise InvalidJob(f"{{{name}}} is none of {ARGS}, {{id}}, {{name}} and {{meta.KEY}}; write {{{{ for a brace")
    return ""


def _refuse_circle(first: str, rules: Mapping[str, Rule], where: str) -> None:
    way = [first]
    while (name := _rule_for(rules, names_of(rules[way[-1]].run[0]))) is not None:
        if name in way:
            circle = " -> ".join([*way[way.index(name) :], name])
            raise SettingsError(f"{where}: escalation goes in a circle: {circle}; remove one of them from config.toml")
        way.append(name)
