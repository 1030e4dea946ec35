"""Policy at work: the user's rules applied to a job, when it is added and again when it is to run."""

from __future__ import annotations

import os

from queue_core import policy, rules
from queue_core.policy import Decision, Reach, Request
from queue_core.repository.inspection import runs_programs
from queue_core.value import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from queue_core.home import Home
    from queue_core.jobs import Job
    from queue_core.model import Admission, Step
    from queue_core.policy import Rule
    from queue_core.settings import Settings


# Below the user's home: where keys, tokens and what was typed and browsed lie. A session that is started in the home
# itself makes all of it the project, and a rule as harmless as `cat <relpath>` would hand them out.
SECRET_PLACES = tuple(
    """
    .ssh .gnupg .aws .azure .config/gcloud .kube .docker .netrc .git-credentials .npmrc .pypirc .password-store
    .local/share/keyrings .claude .claude.json .codex .gemini .config/gh .config/glab-cli .config/git/credentials
    .config/op .config/sops .config/rclone .config/hub .mozilla .thunderbird .config/google-chrome .config/chromium
    .config/BraveSoftware .config/microsoft-edge .bash_history .zsh_history .python_history .psql_history
    .mysql_history .node_repl_history .lesshst .local/share/fish .pgpass .my.cnf .vault-token .terraform.d
    .cargo/credentials .cargo/credentials.toml .gem/credentials .m2/settings.xml .gradle/gradle.properties .pki
    Library/Keychains
    """.split()  # noqa: SIM905
)


class Judge:
    """The rules as they stand in the user's file now."""

    def __init__(self, home: Home, settings: Settings) -> None:
        self._rules, self._broken = rules.load_or_ask(home.rules_file)
        self._agents = settings.agents if self._broken is None else "ask"  # what it denies is not known
        self._roots = settings.roots
        self._home = home
        self._shut: tuple[str, ...] | None = None

    def admission(self, admission: Admission) -> Decision:
        """May this new job of an agent's run? Each step of a chain of its own has to be allowed as well.

        Those of the settings' rules are judged when they are to run, or approved together with the job.
        """
        job, request = admission.job, _request_of(admission)
        return self._decide_chain(request, admission.on_dead if job.on_dead else (), admission.origin.project)

    def at_claim(self, it: Job) -> str | None:
        """Why an agent's job may not run now, or None.

        What a person has approved runs, if it is still that, and no rule of theirs denies it since.
        """
        if it.approved_at is None:
            return self.job(it)
        if it.handler is None and (rule := self._denying(it)):
            return f"a rule denies it since: {rule.reason or policy.FORBIDDEN}"
        if it.handler is None and os.path.realpath(it.cwd) != it.cwd:
            return f"{it.cwd} leads elsewhere than when it was approved"
        return None

    def why_not_approved(self, it: Job) -> str | None:
        """Why approving a job would be in vain, with the line of the rule that denies it; None if nothing does."""
        rule = self._denying(it) if it.handler is None else None
        if rule is None:
            return None
        line = next((one.line for one in rules.load_written(self._home.rules_file) if one.rule == rule), None)
        place = "rules.toml" + (f" line {line}" if line else "")
        return f"{place} denies job {it.id} ({rule.reason or policy.FORBIDDEN}): take that rule back first"

    def _denying(self, it: Job) -> Rule | None:
        """The rule that denies a stored job; what may take over from it is judged when that is to run."""
        reach = self._reach(it.project)
        return policy.denying(_request_of_stored(it), self._rules, reach, rules.resolve)

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
        steps = it.on_dead if it.caller != "agent" else ()  # an agent's are judged when they are to run
        decision = self._decide_chain(_request_of_stored(it), steps, project or it.project)
        return None if decision.verdict == "allowed" else decision.reason

    def why_not(self, rule: Rule, admission: Admission) -> str | None:
        """Why one rule does not cover a new job, in words; None if it does."""
        reach = self._reach(admission.origin.project)
        request = _with_repository(_request_of(admission), reach)
        return policy.why_not(rule, request, reach, rules.resolve) or policy.not_covered(rule, request, reach)

    def repository_runs(self, admission: Admission) -> str | None:
        """What the repository around a new job's folder may run besides it, or None."""
        reach = self._reach(admission.origin.project)
        return _with_repository(_request_of(admission), reach).repository_runs

    @property
    def _closed(self) -> tuple[str, ...]:
        """What is closed to agents even inside a root: the rules, the database, and where a user's secrets lie."""
        if self._shut is None:
            user = os.path.expanduser("~")
            folders = (self._home.config, self._home.data, *(os.path.join(user, one) for one in SECRET_PLACES))
            self._shut = tuple(dict.fromkeys(map(os.path.realpath, folders)))
        return self._shut

    def _reach(self, project: str | None) -> Reach:
        """How far an agent of this project may reach: real paths, so that no link leads out of them."""
        roots = (*self._roots, *([project] if project else []))
        return Reach(roots=tuple(os.path.realpath(os.path.expanduser(root)) for root in roots), closed=self._closed)

    def _decide_chain(self, request: Request, steps: Sequence[Step], project: str | None) -> Decision:
        """What becomes of a command together with what may take over from it: the first that is not allowed."""
        decision = self._decide(request, project)
        for step in steps:
            if decision.verdict != "allowed":
                break
            program = os.path.realpath(step.executable)
            handed_over = replace(request, argv=step.argv, program=program, stdin=False, stdin_path=None)
            decision = _of_step(step, self._decide(handed_over, project))
        return decision

    def _decide(self, request: Request, project: str | None) -> Decision:
        reach = self._reach(project)
        decision = policy.decide(
            _with_repository(request, reach),
            self._rules,
            roots=reach.roots,
            agents=self._agents,
            resolve=rules.resolve,
            closed=self._closed,
        )
        if decision.verdict == "ask" and self._broken:
            return Decision(verdict="ask", reason=f"the rules cannot be read: {self._broken}")
        return decision


def _request_of(admission: Admission) -> Request:
    """What a new job asks for."""
    job = admission.job
    return Request(
        caller=admission.origin.caller,
        argv=job.argv,
        program=admission.program,
        cwd=os.path.realpath(admission.cwd),
        env={name: admission.env.get(name, "") for name in (*job.env, *job.pass_env)},
        stdin=job.stdin is not None or job.stdin_path is not None,
        stdin_path=_real(job.stdin_path),
    )


def _request_of_stored(it: Job) -> Request:
    """What a stored job asks for."""
    return Request(
        caller="agent",
        argv=it.argv,
        program=it.program,
        cwd=os.path.realpath(it.cwd),
        env={name: it.env.get(name, "") for name in it.own_env},
        stdin=it.has_input or it.stdin_path is not None,
        stdin_path=_real(it.stdin_path),
    )


def _with_repository(request: Request, reach: Reach) -> Request:
    """With what the repository around its folder would run."""
    runs = runs_programs(request.program, request.argv, request.cwd, holds=reach.holds)
    return request if runs is None else replace(request, repository_runs=runs)


def _of_step(step: Step, decision: Decision) -> Decision:
    """A decision on what may take over from a job, in words that name it."""
    if decision.verdict == "allowed":
        return decision
    return replace(decision, reason=f"what takes over if it fails, `{' '.join(step.argv)}`: {decision.reason}")


def _real(path: str | None) -> str | None:
    return os.path.realpath(path) if path is not None else None
