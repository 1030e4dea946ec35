"""The queue inside an ASGI application: what its requests queue, its worker runs, and its end loses nothing."""

from __future__ import annotations

import logging
import os
import threading
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from queue_core import Background, Context, Queue, QueueError
from queue_core.errors import StoreBusy
from queue_core.sqlite.flock import locked
from tests.helpers import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from tests.worker.conftest import Rig

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def background(rig: Rig) -> Background:
    return Background(lambda: Queue.open(rig.env, group_commit=True), patience=5.0)


async def until(found: Callable[[], object], what: str) -> None:
    """The test's own event loop must not stand still meanwhile: the worker lives on it."""
    await anyio.to_thread.run_sync(lambda: wait_until(found, what))


async def test_what_is_queued_is_run_by_the_applications_own_worker(rig: Rig, background: Background) -> None:
    @background.handler("score")
    def score(context: Context, text: str) -> int:
        return len(text)

    async with background.lifespan():
        receipt = await anyio.to_thread.run_sync(background.enqueue("score", {"text": "four"}).result)
        await until(lambda: rig.state(receipt.id) == "succeeded", "it has run")
    assert rig.queue.result(receipt.id) == 4
    assert rig.queue.live_workers() == {}
    assert rig.keepers() == []


async def test_it_is_the_lifespan_of_a_starlette_application(rig: Rig, background: Background) -> None:
    ran = threading.Event()

    @background.handler("note")
    async def note(context: Context) -> None:
        ran.set()

    async def turn(request: Request) -> JSONResponse:
        del request
        background.enqueue("note")
        return JSONResponse({})

    app = Starlette(routes=[Route("/", turn, methods=["POST"])], lifespan=background.lifespan)
    async with app.router.lifespan_context(app):
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b"", "app": app}
        await app(scope, receive, send)
        assert sent[0]["status"] == 200
        await until(ran.is_set, "the job has run")


async def test_switched_off_it_opens_stores_and_runs_nothing(rig: Rig) -> None:
    def never() -> Queue:
        raise AssertionError("the queue was opened")

    background = Background(never, enabled=False)

    @background.handler("x")
    def x(context: Context) -> int:
        return 1

    async with background.lifespan():
        answer = background.enqueue("x")
        with pytest.raises(CancelledError):
            answer.result(0)
        assert background.worker is None
    assert x(None) == 1  # pyright: ignore[reportArgumentType]
    assert rig.queue.store.waiting() == 0


async def test_a_job_that_cannot_be_queued_is_logged_and_keeps_no_other_out(
    rig: Rig, background: Background, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "runq.background"):
        answers = [
            background.enqueue("good"),
            background.enqueue("no such name"),  # refused by the queue
            background.enqueue("good", {"x": object()}),  # refused before it gets there
            background.enqueue("good", retries=-1),
            background.enqueue("good"),
        ]
        errors = [await anyio.to_thread.run_sync(answer.exception) for answer in answers]
    assert [type(error) for error in errors[1:4]] != [type(None)] * 3
    assert errors[0] is errors[4] is None
    assert all(isinstance(error, QueueError) for error in errors[1:4])
    assert len(caplog.records) == 3
    assert rig.queue.store.waiting() == 2


async def test_an_answer_that_nobody_waits_for_any_more_keeps_nothing_out(rig: Rig, background: Background) -> None:
    answers = [background.enqueue("later") for _ in range(50)]
    for answer in answers:
        answer.cancel()
    last = await anyio.to_thread.run_sync(background.enqueue("later").result, 20)
    assert last.id > 0
    assert rig.queue.store.waiting() == 51


async def test_an_application_that_needs_all_its_threads_does_not_stop_the_worker(
    rig: Rig, background: Background
) -> None:
    go_on = threading.Event()

    @background.handler("x")
    def x(context: Context) -> None:
        go_on.set()

    async with background.lifespan(), anyio.create_task_group() as requests:
        await until(rig.queue.live_workers, "the worker is up")
        waiting = anyio.to_thread.current_default_thread_limiter().total_tokens
        for _ in range(int(waiting)):
            requests.start_soon(anyio.to_thread.run_sync, go_on.wait, 60)
        background.enqueue("x")
    assert go_on.is_set()
    assert rig.outcomes(1) == [("exited", 0)]


async def test_a_handler_that_fails_is_in_the_applications_log(
    rig: Rig, background: Background, caplog: pytest.LogCaptureFixture
) -> None:
    @background.handler("boom")
    def boom(context: Context) -> None:
        raise ValueError("of all things")

    async with background.lifespan():
        receipt = await anyio.to_thread.run_sync(background.enqueue("boom", retries=0).result)
        await until(lambda: rig.state(receipt.id) == "dead", "it has failed")
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.getMessage() == f"job {receipt.id}: the handler boom has failed"
    assert "of all things" in str(record.exc_info)


async def test_what_a_busy_store_does_not_take_is_spooled_and_queued_later(rig: Rig) -> None:
    background = Background(lambda: Queue.open(rig.env, patience=0.1))
    _ = background.queue
    with locked(rig.queue.home.write_lock, 5.0):
        answers = [background.enqueue("later", {"number": number}) for number in range(30)]
        errors = [await anyio.to_thread.run_sync(answer.exception) for answer in answers]
        assert {type(error) for error in errors} == {StoreBusy}
    assert rig.queue.ingest_spool() == 30
    assert rig.queue.store.waiting() == 30


async def test_an_application_in_an_agents_shell_is_told_why_nothing_runs(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    background = Background(lambda: Queue.open({**rig.env, "CLAUDECODE": "1"}))
    for _ in range(3):
        receipt = await anyio.to_thread.run_sync(background.enqueue("x").result)
        assert receipt.state == "held"
    assert caplog.text.count("wait for approval") == 1


async def test_everything_handed_in_is_stored_before_the_application_has_ended(
    rig: Rig, background: Background
) -> None:
    async with background.lifespan():
        for number in range(2000):
            background.enqueue("later", {"number": number})
    assert rig.queue.store.waiting() == 2000


async def test_a_running_function_may_end_and_what_waits_stays_for_the_next_start(
    rig: Rig, background: Background
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    @background.handler("turn", timeout=60)
    def turn(context: Context) -> str:
        begun.set()
        go_on.wait(60)
        return "whole"

    ids: list[int] = []
    async with background.lifespan():
        ids.append((await anyio.to_thread.run_sync(background.enqueue("turn", sequential=True).result)).id)
        await until(begun.is_set, "it runs")
        ids.append((await anyio.to_thread.run_sync(background.enqueue("turn", sequential=True).result)).id)
        go_on.set()
    assert rig.queue.result(ids[0]) == "whole"
    assert rig.state(ids[1]) in ("available", "succeeded")


async def test_a_function_that_does_not_stop_does_not_keep_the_application_from_ending(rig: Rig) -> None:
    background = Background(lambda: Queue.open(rig.env, group_commit=True), patience=0.2)
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    @background.handler("deaf")
    def deaf(context: Context) -> None:
        begun.set()
        go_on.wait(60)
        ended.set()

    async with background.lifespan():
        receipt = await anyio.to_thread.run_sync(background.enqueue("deaf").result)
        await until(begun.is_set, "it runs")
    assert rig.state(receipt.id) == "running"
    rig.status(receipt.id)  # whoever looks finds its worker alive: nothing else may run it
    assert rig.state(receipt.id) == "running"
    go_on.set()
    await until(ended.is_set, "the function has returned")
    await until(lambda: rig.state(receipt.id) == "succeeded", "its own thread has settled how it ended")
    assert rig.outcomes(receipt.id) == [("exited", 0)]
    await until(lambda: rig.queue.live_workers() == {}, "the worker's proof of life is gone")


async def test_a_coroutine_that_does_not_end_in_time_is_put_back(rig: Rig) -> None:
    background = Background(lambda: Queue.open(rig.env, group_commit=True), patience=0.2)
    begun = threading.Event()

    @background.handler("forever")
    async def forever(context: Context) -> None:
        begun.set()
        await anyio.sleep_forever()

    async with background.lifespan():
        receipt = await anyio.to_thread.run_sync(background.enqueue("forever").result)
        await until(begun.is_set, "it runs")
    assert (rig.state(receipt.id), rig.outcomes(receipt.id)) == ("available", [("interrupted", None)])


async def test_a_worker_that_fails_is_no_matter_of_the_application(
    rig: Rig, background: Background, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("queue_core.background.AGAIN", 0.05)
    broken = [True]

    def open_queue() -> Queue:
        if broken.pop() if broken else False:
            raise QueueError("the disk has gone")
        return Queue.open(rig.env, group_commit=True)

    background = Background(open_queue)

    @background.handler("x")
    def x(context: Context) -> None:
        pass

    with caplog.at_level(logging.ERROR, "runq.background"):
        async with background.lifespan():
            await until(rig.queue.live_workers, "a worker is up all the same")
            receipt = await anyio.to_thread.run_sync(background.enqueue("x").result)
            await until(lambda: rig.state(receipt.id) == "succeeded", "it has run")
    assert "the disk has gone" in caplog.text


async def test_an_end_that_the_store_does_not_take_costs_no_other_job_its_own(
    rig: Rig, background: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(text: str) -> object:
        return object()  # nothing that a database knows

    monkeypatch.setattr("queue_core.worker.calls.clean", odd)
    go_on = threading.Event()

    @background.handler("odd")
    def bad(context: Context) -> None:
        go_on.wait(60)
        raise ValueError("no matter")

    @background.handler("good")
    def good(context: Context) -> str:
        go_on.wait(60)
        return "whole"

    async with background.lifespan():
        first = await anyio.to_thread.run_sync(background.enqueue("odd", retries=0).result)
        others = [await anyio.to_thread.run_sync(background.enqueue("good").result) for _ in range(2)]
        await until(lambda: rig.state(others[-1].id) == "running", "they run side by side")
        go_on.set()
        await until(lambda: rig.state(first.id) == "dead", "the bad one is recorded")
        for other in others:
            await until(lambda other=other: rig.state(other.id) == "succeeded", "the good ones are")
    assert "could not be kept" in (rig.job(first.id).reason or "")


async def test_what_is_declared_late_is_known_to_the_next_worker(rig: Rig, background: Background) -> None:
    receipt = await anyio.to_thread.run_sync(background.enqueue("late").result)

    @background.handler("late")
    def late(context: Context) -> None:
        pass

    async with background.lifespan():
        await until(lambda: rig.state(receipt.id) == "succeeded", "it has run")


async def test_without_another_thread_the_caller_stores_the_job_itself(
    rig: Rig, background: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    _ = background.queue
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        assert background.enqueue("x").result(0).id == 1
    assert background.enqueue("x").result(20).id == 2
    assert rig.queue.store.waiting() == 2


def test_a_fork_has_a_queue_of_its_own(rig: Rig, background: Background) -> None:
    background.enqueue("x").result(20)
    child = os.fork()
    if child == 0:
        os._exit(background.enqueue("x").result(20).id)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    assert background.enqueue("x").result(20).id == 3


async def test_a_queue_that_cannot_be_opened_does_not_promise_the_spool(rig: Rig) -> None:
    def busy() -> Queue:
        raise StoreBusy("the queue is busy")

    background = Background(busy)
    error = await anyio.to_thread.run_sync(background.enqueue("x").exception)
    assert type(error) is QueueError
    assert "could not be opened" in str(error)
