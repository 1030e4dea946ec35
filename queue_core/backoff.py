"""When a failed job is run again: pure functions of the failure's number."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from queue_core.model import Retry

PRESETS: dict[str, dict[str, object]] = {
    "default": {"retries": 3, "backoff": "exponential", "base": 10.0, "cap": 3600.0},
    "fast": {"retries": 5, "backoff": "exponential", "base": 1.0, "cap": 30.0},
    "slow": {"retries": 5, "backoff": "exponential", "base": 60.0, "cap": 6 * 3600.0},
    "none": {"retries": 0, "backoff": "immediate", "base": 0.0, "cap": 0.0},
}


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
