"""Functions of a program that run jobs, instead of commands: in a real program, with the real CLI beside it."""

from __future__ import annotations

import json
import os
import signal
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers import TIME_OUTS, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.worker.conftest import Process, Rig

HEAD = """
import sys, time, os, anyio
from queue_core import Context, GiveUp, enqueue, get_queue, handler, process_queue, start_worker, stop_worker, wait
"""
STAY = """
from queue_core.worker.loop import Worker
from queue_core.worker.options import Options
anyio.run(Worker(get_queue(), Options(commands={commands})).run)
"""


class Program:
    """A Python program with handlers, in the rig's home."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig

    def run(self, text: str, *, code: int = 0) -> str:
        """Run it to its end; what it printed."""
        process = self.start(text)
        returned, out, err = process.left()
        assert returned == code, (out, err)
        return out

    def start(self, text: str) -> Process:
        path = self.rig.folder / "program.py"
        path.write_text(HEAD + textwrap.dedent(text))
        return self.rig.start_program(sys.executable, str(path))

    def stay(self, text: str, *, commands: bool = False) -> Process:
        """Start it with a worker that stays; wait until that claims."""
        before = set(self.rig.queue.live_workers())
        process = self.start(textwrap.dedent(text) + STAY.format(commands=commands))
        wait_until(
            lambda: set(self.rig.queue.live_workers()) - before or process.popen.poll() is not None,
            "the program's worker is up",
            20,
        )
        assert process.popen.poll() is None, process.left()
        return process


@pytest.fixture
def program(rig: Rig) -> Program:
    return Program(rig)


def add(rig: Rig, handler: str, *options: str, **arguments: Any) -> int:
    return rig.add("--handler", handler, "--arguments", json.dumps(arguments), *options)


class TestRunning:
    def test_a_plain_function_runs_in_a_thread_and_its_result_is_kept(self, rig: Rig, program: Program) -> None:
        job = add(rig, "double", n=21)
        program.run(
            """
            import threading
            @handler("double")
            def double(context: Context, n: int) -> dict:
                return {"double": 2 * n, "main": threading.current_thread() is threading.main_thread()}
            process_queue()
            """
        )
        status = rig.status(job)
        assert (status["state"], status["handler"], status["argv"]) == ("succeeded", "double", [])
        assert status["result"] == {"double": 42, "main": False}
        assert rig.outcomes(job) == [("exited", 0)]

    def test_a_coroutine_runs_on_the_event_loop_beside_others(self, rig: Rig, program: Program) -> None:
        jobs = [add(rig, "meet") for _ in range(3)]
        program.run(
            """
            here = []
            @handler("meet")
            async def meet(context):
                here.append(context.job)
                with anyio.fail_after(20):
                    while len(here) < 3:  # each waits for the others: they run at once, on one thread
                        await anyio.sleep(0.001)
                return len(here)
            process_queue()
            """
        )
        assert [rig.status(job)["result"] for job in jobs] == [3, 3, 3]

    def test_a_program_may_queue_and_wait_and_read_the_result(self, program: Program) -> None:
        out = program.run(
            """
            @handler("add")
            def add(context, a, b=1):
                return a + b
            job = enqueue(handler="add", arguments={"a": 2}).id
            assert start_worker()
            states = wait(job, timeout=20)
            print(states[job], get_queue().result(job))
            assert stop_worker()
            """
        )
        assert out == "succeeded 3\n"

    def test_a_queues_limit_holds_for_functions_and_the_oldest_goes_first(self, rig: Rig, program: Program) -> None:
        jobs = [add(rig, "alone", "--queue", "speech") for _ in range(4)]
        out = program.run(
            """
            from queue_core import Queue
            queue = Queue.open(queues={"speech": 1})
            inside = []
            @queue.handler("alone")
            def alone(context):
                inside.append(context.job)
                assert len(inside) == 1
                print(context.job, flush=True)
                inside.remove(context.job)
            from queue_core.worker.loop import Worker
            from queue_core.worker.options import Options
            anyio.run(Worker(queue, Options(until_empty=True, commands=False)).run)
            """
        )
        assert [int(line) for line in out.split()] == jobs
        assert {rig.state(job) for job in jobs} == {"succeeded"}

    def test_progress_and_lines_of_output_are_seen_while_it_runs(self, rig: Rig, program: Program) -> None:
        job = add(rig, "slow")
        gate = rig.gate()
        program.stay(
            f"""
            @handler("slow")
            def slow(context):
                context.log("began")
                context.progress("half of it")
                while not os.path.exists({str(gate.path)!r}):
                    context.sleep(0.02)
            """
        )
        wait_until(lambda: rig.status(job)["progress"] == "half of it", "progress is shown")
        assert rig.output(job) == "began\n"
        assert rig.status()["worker"]["state"] == "busy"
        gate.open()
        rig.reaches(job, "succeeded")


def test_progress_told_many_thousand_times_stays_small(rig: Rig, program: Program) -> None:
    job = add(rig, "chatty")
    program.run(
        """
        @handler("chatty")
        def chatty(context):
            for number in range(20_000):
                context.progress(f"{number} of many")
        process_queue()
        """
    )
    assert rig.state(job) == "succeeded"
    assert (rig.run_dir(job) / "progress").stat().st_size <= 64 * 1024
    assert (rig.run_dir(job) / "progress").read_text().endswith("\n19999 of many\n")


class TestFailing:
    def test_it_is_retried_and_then_a_dead_letter_with_the_traceback_as_output(
        self, rig: Rig, program: Program
    ) -> None:
        job = add(rig, "boom", "--retries", "1", "--backoff", "immediate")
        program.run(
            """
            @handler("boom")
            def boom(context):
                raise ValueError("no\\nsuch thing")
            process_queue()
            process_queue()
            """
        )
        assert rig.outcomes(job) == [("exited", 1), ("exited", 1)]
        assert rig.status(job)["error"] == "ValueError: no such thing"
        output = rig.output(job)
        assert output.startswith("Traceback") and "in boom" in output and "worker/handlers.py" not in output
        assert rig.state(job) == "dead"

    def test_exit_codes_that_no_retry_cures_are_for_commands(self, rig: Rig, program: Program) -> None:
        job = add(rig, "boom", "--retries", "1", "--backoff-base", "600")
        (rig.home / "config.toml").write_text("permanent_exit_codes = [1]\n")
        (rig.home / "config.toml").chmod(0o600)
        program.run('@handler("boom")\ndef boom(context):\n    raise ValueError\nprocess_queue()\n')
        assert rig.state(job) == "scheduled"

    def test_giving_up_spares_the_retries(self, rig: Rig, program: Program) -> None:
        job = add(rig, "never", "--retries", "5")
        _, _, logged = program.start(
            """
            @handler("never")
            async def never(context):
                raise GiveUp("the file is no recording")
            process_queue()
            """
        ).left()
        assert (rig.state(job), rig.status(job)["error"]) == ("dead", "the file is no recording")
        assert logged == f"job {job}: the handler never gave up: the file is no recording\n"

    def test_arguments_that_do_not_fit_make_it_dead_at_once(self, rig: Rig, program: Program) -> None:
        job = add(rig, "one", path="a", colour="red")
        program.run(
            """
            @handler("one")
            def one(context, path):
                raise AssertionError
            process_queue()
            """
        )
        assert (rig.state(job), rig.outcomes(job)) == ("dead", [("spawn_failed", None)])
        assert "do not fit the handler one" in rig.status(job)["error"]
        assert "colour" in rig.status(job)["error"]

    def test_exit_is_a_failure_and_ends_nothing_but_the_job(self, rig: Rig, program: Program) -> None:
        leaves, stays = add(rig, "leave", "--retries", "0"), add(rig, "stay")
        program.run(
            """
            @handler("leave")
            async def leave(context):
                sys.exit("enough")
            @handler("stay")
            def stay(context):
                return 1
            process_queue()
            """
        )
        assert (rig.state(leaves), rig.state(stays)) == ("dead", "succeeded")

    @pytest.mark.parametrize(
        "body",
        [
            "async def raises(context):\n    t = asyncio.ensure_future(asyncio.sleep(9))\n    t.cancel()\n    await t",
            "def raises(context):\n    raise asyncio.CancelledError",
            "def raises(context):\n    raise KeyboardInterrupt",
            "async def raises(context):\n    raise KeyboardInterrupt",
            "class Odd(BaseException):\n    pass\nasync def raises(context):\n    raise Odd",
            "def raises(context):\n    raise ValueError('bad name \\udcff' * 9000)",
            "def raises(context):\n    raise GiveUp('bad name \\udcff' * 9000)",
        ],
        ids=[
            "coroutine-cancelled",
            "function-cancelled",
            "function-interrupted",
            "coroutine-interrupted",
            "coroutine-odd",
            "no-unicode",
            "no-unicode-given-up",
        ],
    )
    def test_whatever_it_raises_is_its_own_failure(self, rig: Rig, program: Program, body: str) -> None:
        raises, goes_on = add(rig, "raises", "--retries", "0"), add(rig, "goes-on")
        program.run(
            f"""
import asyncio
{body}
handler("raises")(raises)
@handler("goes-on")
def goes_on(context):
    return 1
process_queue()
"""
        )
        assert rig.outcomes(raises) == [("exited", 1)]
        assert (rig.state(raises), rig.state(goes_on)) == ("dead", "succeeded")

    @pytest.mark.parametrize("result", ["float('nan')", "{(1, 2): 3}", "endless", "object()", "never_awaited()"])
    def test_a_result_that_is_nothing_for_json_ends_it_for_good(self, rig: Rig, program: Program, result: str) -> None:
        job = add(rig, "odd")
        program.run(
            f"""
            async def never_awaited():
                raise AssertionError
            endless = []
            endless.append(endless)
            @handler("odd")
            def odd(context):
                open(context.folder + "/x", "w").close()
                return {result}
            process_queue()
            """
        )
        status = rig.status(job)
        assert (status["state"], status["attempt"], status["result"]) == ("dead", 1, None)
        assert "nothing for JSON" in status["error"]
        assert not (rig.run_dir(job) / "scratch").exists()

    def test_a_result_that_json_does_not_know_is_kept_as_text(self, rig: Rig, program: Program) -> None:
        job = add(rig, "path")
        program.run(
            """
            from pathlib import Path
            @handler("path")
            def path(context):
                return {"at": Path("/x")}
            process_queue()
            """
        )
        assert rig.status(job)["result"] == {"at": "/x"}

    def test_a_result_of_many_megabytes_is_refused_with_what_to_do(self, rig: Rig, program: Program) -> None:
        job = add(rig, "much")
        program.run(
            """
            @handler("much")
            def much(context):
                return "x" * (2 << 20)
            process_queue()
            """
        )
        assert rig.state(job) == "dead"
        assert "return a file's path" in rig.status(job)["error"]


WORKS_UNTIL_STOPPED = """
@handler("plain", LIMIT)
def plain(context):
    open(context.folder + "/draft", "w").write("x")
    context.progress("at it")
    while True:
        context.sleep(5)
@handler("co", LIMIT)
async def co(context):
    open(context.folder + "/draft", "w").write("x")
    context.progress("at it")
    await anyio.sleep_forever()
""".replace(", LIMIT", "{limit}")


def works_until_stopped(limit: str = "") -> str:
    return WORKS_UNTIL_STOPPED.replace("{limit}", limit)


def at_it(rig: Rig, job: int) -> None:
    wait_until(lambda: rig.status(job)["progress"] == "at it", f"job {job} is at it")


@pytest.mark.parametrize("kind", ["plain", "co"])
class TestStopping:
    def test_a_cancel_ends_it(self, rig: Rig, program: Program, kind: str) -> None:
        program.stay(works_until_stopped())
        job = add(rig, kind)
        at_it(rig, job)
        assert (rig.run_dir(job) / "scratch" / "draft").exists()
        rig.runq("cancel", str(job))
        rig.reaches(job, "cancelled")
        assert rig.outcomes(job) == [("cancelled", None)]
        assert not (rig.run_dir(job) / "scratch").exists()

    def test_a_time_out_of_the_job_ends_it(self, rig: Rig, program: Program, kind: str) -> None:
        program.stay(works_until_stopped())
        job = add(rig, kind, "--timeout", "0.3", "--retries", "0")
        rig.reaches(job, "dead")
        assert rig.outcomes(job) == [("timed_out", None)]

    def test_a_time_out_of_the_handler_ends_it(self, rig: Rig, program: Program, kind: str) -> None:
        program.stay(works_until_stopped(", timeout=0.3"))
        job = add(rig, kind, "--retries", "0")
        rig.reaches(job, "dead")
        assert rig.outcomes(job) == [("timed_out", None)]

    def test_without_a_sign_of_life_it_is_ended(self, rig: Rig, program: Program, kind: str) -> None:
        program.stay(works_until_stopped(", heartbeat=0.3"))
        job = add(rig, kind, "--retries", "0")
        rig.reaches(job, "dead")
        assert rig.outcomes(job) == [("timed_out", None)]

    def test_a_worker_told_to_stop_at_once_puts_it_back_uncounted(self, rig: Rig, program: Program, kind: str) -> None:
        process = program.stay(works_until_stopped())
        job = add(rig, kind)
        at_it(rig, job)
        rig.runq("work", "--stop", "--now")
        process.left()
        assert (rig.state(job), rig.job(job).attempt) == ("available", 0)
        assert rig.outcomes(job) == [("interrupted", None)]
        assert not (rig.run_dir(job) / "scratch").exists()

    def test_killing_the_program_loses_the_attempt_and_leaves_no_files(
        self, rig: Rig, program: Program, kind: str
    ) -> None:
        process = program.stay(works_until_stopped())
        job = add(rig, kind, "--backoff", "immediate")
        at_it(rig, job)
        process.signal(signal.SIGKILL)
        process.popen.wait()
        wait_until(lambda: rig.status(job)["state"] != "running", "somebody has looked")
        assert rig.outcomes(job) == [("lost", None)]
        assert not (rig.run_dir(job) / "scratch").exists()
        program.stay(works_until_stopped())
        at_it(rig, job)
        assert rig.job(job).attempt == 2


@pytest.mark.parametrize(
    "body",
    [
        "def tidy(context):\n    begin(context)\n    while not context.stopped:\n        time.sleep(0.01)",
        "async def tidy(context):\n    begin(context)\n    try:\n        await anyio.sleep_forever()\n"
        "    except anyio.get_cancelled_exc_class():\n        pass",
    ],
    ids=["plain", "co"],
)
@pytest.mark.parametrize("how", ["cancelled", "timed_out", "interrupted"])
def test_one_that_has_seen_that_it_is_to_stop_and_returns_has_stopped(
    rig: Rig, program: Program, body: str, how: str
) -> None:
    begin = "def begin(context):\n    open(f'begun {context.job}', 'x').close()"
    process = program.stay(f"{begin}\n@handler('tidy')\n{body}\n")
    if how == "timed_out":
        job = timed_out_at_it(rig, "tidy")
    else:
        job = add(rig, "tidy", "--retries", "0")
        rig.wrote(f"begun {job}")
    if how == "cancelled":
        rig.runq("cancel", str(job))
    elif how == "interrupted":
        rig.runq("work", "--stop", "--now")
        process.left()
    rig.reaches(job, {"cancelled": "cancelled", "timed_out": "dead", "interrupted": "available"}[how])
    assert rig.outcomes(job) == [(how, None)]


def timed_out_at_it(rig: Rig, handler: str) -> int:
    """A job whose time was over after its function had begun, of which that leaves a file."""
    for seconds in TIME_OUTS:
        job = add(rig, handler, "--retries", "0", "--timeout", str(seconds))
        rig.reaches(job, "dead")
        if (rig.folder / f"begun {job}").exists():
            return job
    raise AssertionError(f"it has not begun in {TIME_OUTS[-1]} s")


def test_heartbeats_keep_it_alive_beyond_what_it_may_be_silent(rig: Rig, program: Program) -> None:
    job = add(rig, "long", "--retries", "0")
    program.run(
        """
        LONG = 2.0  # seconds that a busy machine does not stand still for
        @handler("long", heartbeat=LONG)
        def long(context):
            begun = time.monotonic()
            while time.monotonic() < begun + 1.2 * LONG:
                context.sleep(0.05)
                context.heartbeat()
        process_queue()
        """
    )
    assert rig.outcomes(job) == [("exited", 0)]


def test_a_function_that_does_not_look_is_waited_for_and_what_it_has_done_counts(rig: Rig, program: Program) -> None:
    gate = rig.gate()
    program.stay(
        f"""
        @handler("deaf", timeout=0.2)
        def deaf(context):
            while not os.path.exists({str(gate.path)!r}):
                time.sleep(0.01)
            return "done " + str(context.stopped)
        """
    )
    job = add(rig, "deaf")
    marked = rig.queue.home.run(job, 1)
    rig.reaches(job, "running")
    other = add(rig, "deaf")  # a second one proves that the worker is not held up by the first
    rig.reaches(other, "running")
    assert not os.path.exists(marked + "/output")
    gate.open()
    rig.reaches(job, "succeeded")
    assert rig.outcomes(job) == [("exited", 0)]


class TestWhoRunsWhat:
    def test_an_unknown_handler_waits_health_says_so_and_nothing_else_waits_for_it(self, rig: Rig) -> None:
        waits = add(rig, "nobody", "--priority", "critical", "--sequential")
        runs = rig.sh("true")
        rig.drain()
        assert (rig.state(waits), rig.state(runs)) == ("available", "succeeded")
        assert rig.status(waits)["waiting_for"].startswith("a worker that has the handler nobody")
        health = json.loads(rig.runq("health", "--json").stdout)
        assert any("nobody" in problem for problem in health["problems"])
        assert not rig.queue.has_backlog()

    def test_a_program_that_runs_no_commands_leaves_them_to_others(self, rig: Rig, program: Program) -> None:
        program.stay('@handler("mine")\ndef mine(context): pass\n')
        command, mine = rig.sh("true"), add(rig, "mine")
        rig.reaches(mine, "succeeded")
        assert rig.state(command) == "available"
        assert rig.queue.has_backlog(), "a server has to boot a worker for it"
        assert not rig.queue.live_workers(claiming=True)
        assert rig.keepers() == []

    def test_a_barrier_holds_between_commands_and_functions(self, rig: Rig, program: Program) -> None:
        gate = rig.gate()
        rig.runq("pause")
        barrier = add(rig, "barrier", "--sequential")
        command = rig.sh("echo command >> order")
        program.stay(
            f"""
            @handler("barrier")
            def barrier(context):
                while not os.path.exists({str(gate.path)!r}):
                    context.sleep(0.02)
                open("order", "a").write("barrier\\n")
            """
        )
        rig.worker()
        rig.runq("resume")
        rig.reaches(barrier, "running")
        assert rig.state(command) == "available"
        gate.open()
        rig.reaches(command, "succeeded")
        assert rig.lines("order") == ["barrier", "command"]

    def test_jobs_go_on_when_a_program_with_their_handler_comes(self, rig: Rig, program: Program) -> None:
        job = add(rig, "late", "--lock", "gpu")
        rig.worker()
        command = rig.sh("true", "--lock", "gpu")
        rig.reaches(command, "succeeded")
        assert rig.state(job) == "available"
        program.stay('@handler("late")\ndef late(context): pass\n')
        rig.reaches(job, "succeeded")


class TestAsking:
    def test_an_agents_job_for_a_handler_is_held(self, rig: Rig) -> None:
        job = add(rig, "any")
        assert rig.state(job) == "available"
        rig.runq("add", "--handler", "any", env={"CLAUDECODE": "1"})
        (held,) = json.loads(rig.runq("list", "--state", "held", "--json").stdout)["jobs"]
        assert (held["handler"], held["caller"]) == ("any", "agent")

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--handler", "x", "--arguments", "{"], "--arguments takes a JSON object"),
            (["--handler", "x", "--arguments", "[1]"], "arguments is an object"),
            (["--handler", "x", "--", "echo"], "takes no argv"),
            (["--handler", "no such", "--arguments", "{}"], "a handler's name has"),
            (["--handler", "x", "--env", "A=1"], "takes no env"),
            (["--arguments", '{"a": 1}', "--", "echo"], "go with --handler"),
            ([], "there is no command to run"),
        ],
    )
    def test_bad_input_is_refused_with_a_sentence_and_stores_nothing(
        self, rig: Rig, words: list[str], said: str
    ) -> None:
        done = rig.runq("add", *words, code=2)
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        assert json.loads(rig.runq("list", "--json").stdout)["jobs"] == []

    def test_a_file_may_hold_jobs_for_handlers(self, rig: Rig) -> None:
        (job,) = rig.add_all([{"handler": "h", "arguments": {"deep": [1, {"x": None}]}, "name": "n"}])
        assert rig.status(job)["arguments"] == {"deep": [1, {"x": None}]}

    def test_arguments_that_json_cannot_carry_are_refused(self, program: Program) -> None:
        out = program.run(
            """
            from queue_core import QueueError
            endless = {}
            endless["self"] = endless
            for arguments in ({"x": object()}, {"x": float("nan")}, {1: 2}, endless):
                try:
                    enqueue(handler="x", arguments=arguments)
                except QueueError as error:
                    print(str(error)[:9])
            print(get_queue().store.waiting())
            """
        )
        assert out.split() == ["arguments"] * 4 + ["0"]

    def test_a_generator_is_no_handler(self, program: Program) -> None:
        out = program.run(
            """
            from queue_core import QueueError
            try:
                @handler("many")
                def many(context):
                    yield 1
            except QueueError as error:
                print(error)
            """
        )
        assert out.startswith("the handler many is a generator")

    def test_declaring_opens_nothing_and_outlives_a_reset(self, program: Program) -> None:
        out = program.run(
            """
            import queue_core.api as api
            @handler("again")
            def again(context):
                return "here"
            assert api._queue is None
            api.reset()
            job = enqueue(handler="again").id
            process_queue()
            print(get_queue().result(job))
            """
        )
        assert out == "here\n"

    def test_a_name_is_taken_once(self, program: Program) -> None:
        out = program.run(
            """
            from queue_core import QueueError
            for _ in range(2):
                try:
                    handler("same")(lambda context: None)
                except QueueError as error:
                    print(error)
            """
        )
        assert out == "there is a handler same already; give this one another name\n"


def test_what_is_shown_on_a_terminal_names_the_handler(rig: Rig, tmp_path: Path) -> None:
    job = add(rig, "transcribe", path="a b.wav")
    del tmp_path
    assert "transcribe" in rig.runq("list").stdout
    assert "transcribe" in rig.runq("status", str(job)).stdout


class TestTheStandingWorker:
    """`runq work --app`: handlers without a program of one's own around them."""

    APP = """
from queue_core import Background, Queue
queue = Queue.open()
background = Background()
nothing = Queue.open()
other = 7
@queue.handler("greet")
@background.handler("greet")
def greet(context, name):
    return "hello " + name
"""

    @pytest.mark.parametrize("where", ["app_jobs:queue", "app_jobs:background"])
    def test_it_runs_an_apps_handlers_and_commands(self, rig: Rig, where: str) -> None:
        (rig.folder / "app_jobs.py").write_text(self.APP)
        job, command = add(rig, "greet", name="you"), rig.sh("true")
        rig.runq("work", "--until-empty", "--app", where)
        assert rig.status(job)["result"] == "hello you"
        assert rig.state(command) == "succeeded"

    @pytest.mark.parametrize(
        ("where", "said"),
        [
            ("no_such_module:queue", "could not be loaded"),
            ("app_jobs:missing", "could not be loaded"),
            ("app_jobs:other", "is a int"),
            ("app_jobs:nothing", "declares no handlers"),
        ],
    )
    def test_an_app_that_cannot_be_used_is_named(self, rig: Rig, where: str, said: str) -> None:
        (rig.folder / "app_jobs.py").write_text(self.APP)
        done = rig.runq("work", "--until-empty", "--app", where, code=2)
        assert said in done.stderr
        assert "Traceback" not in done.stderr

    def test_a_program_that_is_not_there_is_told_where_it_was_looked_for(self, rig: Rig) -> None:
        refused = rig.runq("work", "--app", "no_such_module:queue", code=2).stderr
        assert f"from {rig.folder} or the packages of {sys.prefix}" in refused
        assert "run it in the program's folder" in refused
        (rig.folder / "app_jobs.py").write_text("import no_such_package")
        assert "run it in" not in rig.runq("work", "--app", "app_jobs:queue", code=2).stderr
