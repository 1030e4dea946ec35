"""The transcription example, as whoever hands it recordings sees it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers import wait_until
from tests.worker.conftest import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.examples.conftest import Server, Site

HELLO, THERE = ".... . .-.. .-.. ---", "- .... . .-. ."


@pytest.fixture
def site(site_of: Callable[[str, str], Site]) -> Site:
    site = site_of("transcription", "service:app")
    site.rig.env["TRANSCRIPTION_PACE"] = "0"
    return site


class Speaker:
    """A recording that is being made while it is transcribed (a FIFO): the test decides how fast that goes."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def say(self, sound: str) -> None:
        os.write(self._descriptor, sound.encode() + b"\n")

    def end(self) -> None:
        """Nothing more comes. Only when it is being transcribed: a FIFO without a writer cannot be opened."""
        os.close(self._descriptor)


def recording(site: Site, name: str, *lines: str) -> str:
    path = site.rig.folder / name
    path.write_text("".join(line + "\n" for line in lines))
    return str(path)


def speaker(site: Site) -> Speaker:
    return Speaker(site.rig.folder / "speaker")


def add(server: Server, path: object) -> int:
    status, answer = server.ask("POST", "/jobs", {"path": str(path)})
    assert (status, answer["state"]) == (202, "available")
    return answer["id"]


def poll(server: Server, job: int, state: str, **also: Any) -> dict[str, Any]:
    """Ask until the job looks like that."""

    def looks() -> dict[str, Any] | None:
        seen = server.get(f"/jobs/{job}")
        return seen if {"state": state, **also}.items() <= seen.items() else None

    found = wait_until(looks, f"job {job} is {state} {also}", PATIENCE)
    assert found is not None
    return found


def turns(server: Server) -> list[str]:
    """What the handler itself has noted: who began and who ended, in that order."""
    lines = (line for line in server.log().splitlines() if line.startswith("INFO:transcription:job "))
    return [line.removeprefix("INFO:transcription:job ") for line in lines]


def test_a_recording_is_transcribed_and_its_poller_sees_how_it_goes(site: Site) -> None:
    server, speech = site.start(), speaker(site)
    first, second = add(server, speech.path), add(server, recording(site, "second", THERE))
    speech.say(f"{HELLO} / {THERE}")
    seen = poll(server, first, "running", progress="line 1")
    assert (seen["result"], seen["error"], seen["attempt"]) == (None, None, 1)
    assert server.get(f"/jobs/{second}")["state"] == "available"
    assert server.get("/now") == [seen]  # also: the service answers while a function blocks its thread
    speech.say(HELLO)
    poll(server, first, "running", progress="line 2")
    speech.end()
    assert poll(server, first, "succeeded")["result"] == {"text": "hello there\nhello\n", "words": 3}
    assert poll(server, second, "succeeded")["result"] == {"text": "there\n", "words": 1}
    assert server.get("/now") == []


def test_recordings_are_transcribed_one_at_a_time_and_the_oldest_first(site: Site) -> None:
    server, speech = site.start(), speaker(site)
    jobs = [add(server, speech.path)]
    poll(server, jobs[0], "running")
    jobs += [add(server, recording(site, f"{number}", HELLO, THERE)) for number in range(5)]
    speech.say(HELLO)
    poll(server, jobs[0], "running", progress="line 1")
    speech.end()
    for job in jobs:
        poll(server, job, "succeeded")
    assert turns(server) == [f"{job} {what}" for job in jobs for what in ("begins", "ends")]


@pytest.mark.parametrize(
    ("lines", "reason"), [(None, "No such file"), ([HELLO, "hello"], "'hello' is no Morse code"), (["é"], "ascii")]
)
def test_what_is_no_recording_is_dead_at_once_with_the_reason_and_the_next_one_goes_on(
    site: Site, lines: list[str] | None, reason: str
) -> None:
    server = site.start()
    bad = add(server, "/no/such/recording" if lines is None else recording(site, "bad", *lines))
    good = add(server, recording(site, "good", HELLO))
    assert poll(server, good, "succeeded")["result"]["text"] == "hello\n"
    seen = server.get(f"/jobs/{bad}")
    assert (seen["state"], seen["attempt"]) == ("dead", 1)
    assert reason in seen["error"]


def test_a_waiting_and_a_running_job_can_be_cancelled(site: Site) -> None:
    server, speech = site.start(), speaker(site)
    running, waiting = add(server, speech.path), add(server, recording(site, "waits", HELLO))
    speech.say(HELLO)
    poll(server, running, "running", progress="line 1")
    assert server.ask("DELETE", f"/jobs/{waiting}")[1]["state"] == "cancelled"
    assert server.ask("DELETE", f"/jobs/{running}")[0] == 202

    def has_looked() -> bool:  # which it does after each line; the first may come before its worker has heard of it
        speech.say(HELLO)
        return server.get(f"/jobs/{running}")["state"] == "cancelled"

    wait_until(has_looked, "the function has ended", PATIENCE)
    after = add(server, recording(site, "after", THERE))
    poll(server, after, "succeeded")
    assert turns(server) == [f"{job} {what}" for job in (running, after) for what in ("begins", "ends")]


def test_a_kill_loses_no_job_and_leaves_no_temporary_files(site: Site) -> None:
    site.rig.env["RUNQ_BACKOFF"] = "immediate"
    server, speech = site.start(), speaker(site)
    job, waiting = add(server, speech.path), add(server, recording(site, "waits", THERE))
    speech.say(THERE)
    poll(server, job, "running", progress="line 1")
    draft = site.rig.run_dir(job) / "scratch" / "draft"
    assert draft.exists()
    server.kill()
    assert draft.exists(), "nothing could have removed it yet"

    server = site.start()
    poll(server, job, "running", attempt=2)
    assert not draft.parent.exists()
    speech.say(HELLO)
    poll(server, job, "running", progress="line 1")
    speech.end()
    assert poll(server, job, "succeeded")["result"] == {"text": "hello\n", "words": 1}
    poll(server, waiting, "succeeded", attempt=1)
    assert site.rig.outcomes(job) == [("lost", None), ("exited", 0)]
    assert not list((site.rig.home / "runs").glob("*/*/scratch"))


def test_a_server_that_is_to_stop_lets_the_current_one_end_and_keeps_the_next(site: Site) -> None:
    server, speech = site.start(), speaker(site)
    job, waiting = add(server, speech.path), add(server, recording(site, "waits", THERE))
    speech.say(HELLO)
    poll(server, job, "running", progress="line 1")
    server.terminate()
    workers = site.rig.queue.store.workers
    wait_until(lambda: not any(one.claiming for one in workers()), "its worker begins nothing more", PATIENCE)
    assert site.rig.state(job) == "running"
    speech.say(THERE)
    speech.end()
    server.left()
    assert site.rig.queue.result(job) == {"text": "hello\nthere\n", "words": 2}
    assert site.rig.state(waiting) == "available"
    assert site.rig.queue.live_workers() == {}
    poll(site.start(), waiting, "succeeded", attempt=1)


@pytest.mark.parametrize("body", ["", "{", "[1]", "7", "{}", '{"path": 7}'])
def test_a_request_that_makes_no_sense_is_told_so_and_queues_nothing(site: Site, body: str) -> None:
    server = site.start()
    status, answer = server.ask("POST", "/jobs", body)
    assert (status, list(answer)) == (400, ["error"])
    assert site.rig.queue.store.waiting() == 0


def test_a_job_that_there_is_not_is_not_found(site: Site) -> None:
    server = site.start()
    for method in ("GET", "DELETE"):
        status, answer = server.ask(method, "/jobs/99")
        assert (status, answer["error"][:18]) == (404, "there is no job 99")
