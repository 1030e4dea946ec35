"""Stands in for a model behind a network: slow, and now and then it hangs up.

`CLASSIFIER_GATE` names a file without which it does not answer, `CLASSIFIER_FAILS_EVERY` which of its calls fail
(3: every third): so a test, or you, can see what becomes of the jobs meanwhile.
"""

from __future__ import annotations

import asyncio
import itertools
import os

GATE = os.environ.get("CLASSIFIER_GATE")
FAILS_EVERY = int(os.environ.get("CLASSIFIER_FAILS_EVERY", "5"))
SECONDS = 0.5  # that it thinks, without a gate

_calls = itertools.count(1)


async def significance(text: str) -> int:
    """From 0 to 4: how many of the words are exclaimed. (It has a bug: without a word it crashes.)"""
    await _think()
    if FAILS_EVERY and next(_calls) % FAILS_EVERY == 0:
        raise ConnectionError("the classifier has hung up")
    words = text.split()
    return 4 * sum(word.endswith("!") for word in words) // len(words)


async def _think() -> None:
    if GATE is None:
        await asyncio.sleep(SECONDS)
        return
    while not os.path.exists(GATE):  # noqa: ASYNC110, ASYNC240 - a file cannot be awaited
        await asyncio.sleep(0.02)
