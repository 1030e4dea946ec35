"""What is told of a wait: the value grows each time, and the message is one line that says how it stands."""

from itertools import pairwise
from typing import Any

import anyio
import pytest

from mcp_server import progress
from mcp_server.progress import Running, message, next_value
from tests.mcp.places import Place


def test_the_value_grows_whatever_happens_and_is_whole_where_more_have_ended() -> None:
    told = [next_value(-1.0, 0)]
    for done in [0] * 50 + [1, 1, 0, 0, 3] + [3] * 50 + [4]:  # a dead letter that is retried has not ended any more
        told.append(next_value(told[-1], done))
    assert all(one < other for one, other in pairwise(told))
    assert told[0] == 0 and told[50] < 1 and told[51] == 1 and told[54] < 2 and told[55] == 3 and told[-2] < 4
    assert told[-1] == 4


@pytest.mark.parametrize(
    ("states", "running", "said"),
    [
        ({7: "available"}, [], "job 7 is available"),
        ({7: "running"}, [], "job 7 running"),
        ({7: "running"}, [Running(7, 12.9, None)], "job 7 running for 12 s"),
        ({7: "running"}, [Running(7, 12.0, "40 % done")], "job 7 running for 12 s: 40 % done"),
        ({7: "running"}, [Running(7, -3.0, "a\tb\u202e \x1b[31m")], "job 7 running for 0 s: a b\\u202e \\u001b[31m"),
        ({7: "running"}, [Running(7, 600.0, "x" * 200)], f"job 7 running for 10 min: {'x' * 99}…"),
        ({7: "dead"}, [], "job 7 has ended: dead"),
        ({1: "succeeded", 2: "running", 3: "running"}, [], "1 of 3 ended; 2 running"),
        (
            {1: "held", 2: "running", 3: "running"},
            [Running(2, 5.0, "half"), Running(3, 5.0, None)],
            "0 of 3 ended; 1 held, 2 running (job 2: half)",
        ),
        ({1: "succeeded", 2: "dead"}, [], "2 of 2 ended"),
        ({}, [], "nothing has ended yet"),
    ],
)
def test_a_message_says_how_it_stands(states: dict[int, str], running: list[Running], said: str) -> None:
    assert message(list(states), states, running) == said


@pytest.mark.anyio
@pytest.mark.parametrize("since", [False, True])
async def test_a_wait_without_news_says_now_and_then_that_it_is_still_at_it(
    place: Place, monkeypatch: pytest.MonkeyPatch, since: bool
) -> None:
    monkeypatch.setattr(progress, "STILL", 0.0)
    waiting = place.add("true", delay=3600.0)
    told: list[tuple[float, float | None, str | None]] = []

    async def hear(*news: Any) -> None:
        told.append(news)
        if len(told) == 3:
            await anyio.to_thread.run_sync(place.queue.cancel, [waiting])

    async with place.client() as client:
        with anyio.fail_after(30):
            arguments = {"since": "0"} if since else {"job_ids": [waiting]}
            reply = await client.call_tool("wait", arguments, progress_callback=hear)
    assert reply.structured_content and reply.structured_content["done"]
    values = [value for value, _, _ in told]
    assert values == sorted(set(values)) and len(values) >= 3
    assert told[1][1:] == ((None, "nothing has ended yet") if since else (1, f"job {waiting} is scheduled"))
