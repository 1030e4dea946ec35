"""When a failed job is run again: pure functions of the failure's number."""

from __future__ import annotations

from queue_core.errors import InvalidJob, SettingsError
from queue_core.model import BACKOFFS
from queue_core.shapes import is_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from queue_core.model import Retry

_MOST = {"retries": 1e11, "base": 1e11, "cap": 1e11, "jitter": 1.0}  # seconds, but for the first and the last
PRESETS: dict[str, dict[str, Any]] = {
    "default": {"retries": 3, "backoff": "exponential", "base": 10.0, "cap": 3600.0},
    "fast": {"retries": 5, "backoff": "exponential", "base": 1.0, "cap": 30.0},
    "slow": {"retries": 5, "backoff": "exponential", "base": 60.0, "cap": 6 * 3600.0},
    "none": {"retries": 0, "backoff": "immediate", "base": 0.0, "cap": 0.0},
}


def preset_named(name: str, own: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """The fields of `Retry` that a preset sets: one of the settings' own, or a built-in one. InvalidJob for neither."""
    found = own.get(name, PRESETS.get(name))
    if found is None:
        known = ", ".join(sorted({*PRESETS, *own}))
        raise InvalidJob(f"there is no retry preset {name!r}, only {known}; [retry.NAME] in config.toml adds one")
    return found


def checked_presets(value: Any, where: str) -> dict[str, dict[str, Any]]:
    """The presets of config.toml, from tables by name; SettingsError names what makes no sense."""
    if not is_object(value) or not all(is_object(table) for table in value.values()):
        raise SettingsError(f"{where}: retry is a table of presets, such as [retry.patient] with `retries = 9`")
    return {
        preset: {key: _checked_field(f"retry.{preset}", key, field, where) for key, field in table.items()}
        for preset, table in value.items()
    }


def _checked_field(preset: str, key: str, value: Any, where: str) -> Any:
    if key == "backoff":
        if value not in BACKOFFS:
            raise SettingsError(f"{where}: {preset}.backoff is one of {', '.join(BACKOFFS)}, not {value!r}")
        return value
    if key not in _MOST:
        raise SettingsError(f"{where}: {preset} knows retries, backoff, base, cap and jitter, not `{key}`")
    kind = "a whole number" if key == "retries" else "a number"
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not (whole or (key != "retries" and isinstance(value, float))) or not 0 <= value <= _MOST[key]:
        raise SettingsError(f"{where}: {preset}.{key} is {kind} from 0 to {_MOST[key]:g}, not {value!r}")
    return value if key == "retries" else float(value)


def delay(retry: Retry, failures: int, chance: float = 0.0) -> float:
    """Seconds to wait after the `failures`-th failure (1 for the first).

    exponential: base × 1, 2, 4, …; linear: base × 1, 2, 3, …; fibonacci: base × 1, 1, 2, 3, 5, …;
    immediate: 0. Never above `retry.cap`; `chance` in 0..1 picks how much of the jitter is taken off.
    """
    full = min(retry.base * _factor(retry.backoff, failures), retry.cap)
    return full * (1.0 - retry.jitter * chance)


def _factor(backoff: str, failures: int) -> float:
    if backoff == "exponential":
        return 2.0 ** min(failures - 1, 64)
    if backoff == "linear":
        return float(failures)
    if backoff == "fibonacci":
        return float(_fibonacci(min(failures, 90)))
    return 0.0


def _fibonacci(n: int) -> int:
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a
