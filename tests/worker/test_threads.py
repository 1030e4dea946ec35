"""The worker's own thread: calls in their order, their answers and errors to whoever asked."""

from __future__ import annotations

import threading

import anyio
import anyio.lowlevel
import pytest

from queue_core.worker.threads import OwnThread


def test_calls_are_done_one_after_the_other_off_the_loop_and_answered_to_whoever_asked() -> None:
    done: list[tuple[int, str]] = []
    answers: dict[int, int] = {}

    async def ask(thread: OwnThread, number: int) -> None:
        def call() -> int:
            done.append((number, threading.current_thread().name))
            return number * 10

        answers[number] = await thread.do(call)

    async def main() -> None:
        thread = OwnThread("mine")
        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(ask, thread, number)
        thread.close()

    anyio.run(main)
    assert done == [(number, "mine") for number in range(5)]
    assert answers == {number: number * 10 for number in range(5)}


def test_an_error_is_the_askers_and_the_thread_goes_on() -> None:
    def fail() -> None:
        raise KeyError("mine")

    async def main() -> None:
        thread = OwnThread("mine")
        with pytest.raises(KeyError, match="mine"):
            await thread.do(fail)
        assert await thread.do(lambda: 1) == 1
        thread.close()

    anyio.run(main)


def test_who_is_cancelled_gets_the_answer_first() -> None:
    """What has been begun in the store is known before the worker is torn down."""
    may_go = threading.Event()
    answers: list[int] = []

    async def ask(thread: OwnThread) -> None:
        answers.append(await thread.do(lambda: may_go.wait(10) and 1))

    async def main() -> None:
        thread = OwnThread("mine")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, thread)
            await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
            may_go.set()
        thread.close()

    anyio.run(main)
    assert answers == [1]


def test_a_stray_stop_iteration_is_an_error_like_any_other() -> None:
    async def main() -> None:
        thread = OwnThread("mine")
        with anyio.fail_after(20), pytest.raises(RuntimeError, match="StopIteration"):
            await thread.do(lambda: next(iter(())))
        thread.close()

    anyio.run(main)


def test_where_no_thread_can_be_had_the_next_call_asks_for_one_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        thread = OwnThread("mine")
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RuntimeError, match="new thread"):
                await thread.do(lambda: 1)
        with anyio.fail_after(20):
            assert await thread.do(lambda: 1) == 1
        thread.close()

    anyio.run(main)
