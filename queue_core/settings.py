"""Settings: defaults < config.toml < environment < flags, validated once, from one table.

Every setting but the policy's can be set by `RUNQ_` and its name in capitals; what an agent may do
comes from the user's own file alone, so that nothing that sets an environment can widen it.
"""

from __future__ import annotations

import os

from queue_core.value import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Literal

    from queue_core.captures import Capture
    from queue_core.escalation import Rule
    from queue_core.home import Home
    from queue_core.model import Backoff
    from queue_core.quotas import QueueLimits, Quotas

MIB = 1024 * 1024
# Variables that begin like settings, and are none.
NOT_SETTINGS = frozenset(
    {
        "RUNQ_HOME",
        "RUNQ_DATABASE_URL",
        "RUNQ_JOB_ID",
        "RUNQ_CLAIM",
        "RUNQ_CLAIM_TOKEN",
        "RUNQ_PROGRESS",
        "RUNQ_ESCALATED_FROM",
    }
)


class Settings(Frozen):
    """What a user can choose. Times in seconds, sizes in bytes unless the name says otherwise."""

    capacity: int = 1000
    project_capacity: int | None = None
    session_capacity: int | None = None
    parallelism: int = 4
    max_running: int = 8
    starts_per_minute: int | None = None
    timeout: float | None = None
    grace: float = 10.0
    retries: int = 3
    backoff: Backoff = "exponential"
    backoff_base: float = 10.0
    backoff_cap: float = 3600.0
    jitter: float = 0.0
    permanent_exit_codes: tuple[int, ...] = ()
    output_cap_mb: float = 64.0
    idle: float = 60.0
    after_session: Literal["finish", "drain", "stop"] = "finish"
    linger: float = 10.0
    keep_days: float = 14.0
    keep_count: int = 10_000
    pin_cap: int = 8
    backup_at: str = "03:00"
    backup_keep: int = 14
    snapshot_every: int = 1000
    snapshot_keep: int = 5
    pass_env: tuple[str, ...] = ()
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    min_free_mb: float = 64.0
    agents: Literal["ask", "allow"] = "ask"
    roots: tuple[str, ...] = ()
    agent_timeout: float = 86_400.0
    isolation: Literal["none", "project"] = "none"
    output_secrets: Literal["mask", "keep"] = "mask"
    audit_days: float = 90.0
    queues: Mapping[str, QueueLimits] = {}
    escalate: Mapping[str, Rule] = {}
    retry: Mapping[str, Mapping[str, Any]] = {}  # presets by name: fields of `model.Retry`
    capture: tuple[Capture, ...] = ()
    explicit: frozenset[str] = frozenset()  # the names that a file or the environment sets

    @property
    def output_cap(self) -> int:
        """Bytes of output kept of one attempt."""
        return int(self.output_cap_mb * MIB)

    @property
    def quotas(self) -> Quotas | None:
        """What one project and one session may have waiting, if that is limited at all."""
        if self.project_capacity is None and self.session_capacity is None:
            return None
        from queue_core.quotas import Quotas

        return Quotas(project=self.project_capacity, session=self.session_capacity)

    @property
    def limits_starts(self) -> bool:
        """Whether jobs may have to wait because others have just been started."""
        return self.starts_per_minute is not None or any(queue.starts_per_minute for queue in self.queues.values())


def load(home: Home, environ: Mapping[str, str], **flags: object) -> Settings:
    """The settings in force; SettingsError names the setting and where the wrong value stands."""
    given = {name: value for name, value in flags.items() if value is not None}
    named = [name for name in environ if name.startswith("RUNQ_") and name not in NOT_SETTINGS]
    if not given and not named and not os.path.exists(home.settings_file):
        return Settings()
    from queue_core import setting_table  # only when there is something to check

    chosen: dict[str, Any] = {
        **setting_table.from_file(home.settings_file),
        **setting_table.from_environment(environ),
        **setting_table.from_flags(given),
    }
    return Settings(**chosen, explicit=frozenset(chosen))
