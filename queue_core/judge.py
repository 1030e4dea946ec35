"""Policy at work: the user's rules applied to a job, when it is added and again when it is to run."""

from __future__ import annotations

import os

from queue_core import repository, rules
from queue_core.policy import Decision, Request, decide
from queue_core.value import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from queue_core.home import Home
    from queue_core.jobs import Job
    from queue_core.model import Admission, Step
    from queue_core.settings import Settings


class Judge:
    """The rules as they stand in the user's file now."""

    def __init__(self, home: Home, settings: Settings) -> None:
        self._rules, self._broken = rules.load_or_ask(home.rules_file)
        self._agents = settings.agents if self._broken is None else "ask"  # what it denies is not known
        self._roots = settings.roots

    def admission(self, admission: Admission) -> Decision:
        """May this new job of an agent's run? Each step of a chain of its own has to be allowed as well.

        Those of the settings' rules are judged when they are to run, or approved together with the job.
        """
        job = admission.job
        request = Request(
            caller=admission.origin.caller,
            argv=job.argv,
            program=admission.program,
            cwd=os.path.realpath(admission.cwd),
            env={name: admission.env.get(name, "") for name in (*job.env, *job.pass_env)},
            stdin=job.stdin is not None or job.stdin_path is not None,
            stdin_path=_real(job.stdin_path),
        )
        project = admission.origin.project
        decision = self._decide(request, project)
        for step in admission.on_dead if job.on_dead else ():
            if decision.verdict != "allowed":
                break
            program = os.path.realpath(step.executable)
            handed_over = replace(request, argv=step.argv, program=program, stdin=False, stdin_path=None)
            decision = _of_step(step, self._decide(handed_over, project))
        return decision

    def job(self, it: Job, *, project: str | None = None) -> str | None:
        """Why an agent's job that is stored may not run after all, or None; asked again when it is claimed.

        `project` is where an agent works that wants somebody's job to run again.
        """
        if it.rejected_at is not None:
            return "a person has rejected it"
        if it.handler is not None:
            return None if self._agents == "allow" else "no rule covers handlers"
        if os.path.realpath(it.executable) != it.program:
            return f"{it.executable} is no longer {it.program}"
        request = Request(
            caller="agent",
            argv=it.argv,
            program=it.program,
            cwd=os.path.realpath(it.cwd),
            env={name: it.env.get(name, "") for name in it.own_env},
            stdin=it.has_input or it.stdin_path is not None,
            stdin_path=_real(it.stdin_path),
        )
        decision = self._decide(request, project or it.project)
        for step in it.on_dead if it.caller != "agent" else ():  # an agent's are judged when they are to run
            if decision.verdict != "allowed":
                break
            program = os.path.realpath(step.executable)
            handed_over = replace(request, argv=step.argv, program=program, stdin=False, stdin_path=None)
            decision = _of_step(step, self._decide(handed_over, project or it.project))
        return None if decision.verdict == "allowed" else decision.reason

    def _decide(self, request: Request, project: str | None) -> Decision:
        roots = [os.path.realpath(os.path.expanduser(root)) for root in (*self._roots, *([project] if project else []))]
        runs = repository.runs_programs(request.program, request.argv, request.cwd)
        if runs is not None:
            request = replace(request, repository_runs=runs)
        decision = decide(request, self._rules, roots=roots, agents=self._agents, resolve=rules.resolve)
        if decision.verdict == "ask" and self._broken:
            return Decision(verdict="ask", reason=f"the rules cannot be read: {self._broken}")
        return decision


def _of_step(step: Step, decision: Decision) -> Decision:
    """A decision on what may take over from a job, in words that name it."""
    if decision.verdict == "allowed":
        return decision
    return replace(decision, reason=f"what takes over if it fails, `{' '.join(step.argv)}`: {decision.reason}")


def _real(path: str | None) -> str | None:
    return os.path.realpath(path) if path is not None else None
