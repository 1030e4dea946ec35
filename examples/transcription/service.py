"""A transcription service: recordings are handed in over HTTP and transcribed one at a time, the oldest first.

    uvicorn service:app --app-dir examples/transcription

A recording is a file of Morse code here, so that the example needs no model: a space between letters, ` / `
between words. Everything else is as with a real one: it takes its time, blocks its thread, and may be cancelled.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from queue_core import Background, Context, GiveUp, Queue, QueueError
from queue_core.errors import UnknownJob
from queue_core.jobs import Filter

logging.basicConfig(level=logging.INFO)
log = logging.getLogger("transcription")

PACE = float(os.environ.get("TRANSCRIPTION_PACE", "0.5"))  # seconds that the "model" takes for a line
MORSE = (
    "a.- b-... c-.-. d-.. e. f..-. g--. h.... i.. j.--- k-.- l.-.. m-- n-. o--- p.--. q--.- r.-. s... t- u..- v...-"
    " w.-- x-..- y-.-- z--.."
)
ALPHABET = {letter[1:]: letter[0] for letter in MORSE.split()}

# One place in the queue `speech`: one recording at a time, whatever else this queue may hold.
background = Background(lambda: Queue.open(group_commit=True, queues={"speech": 1}), patience=60)


# the work


@background.handler("transcribe")
def transcribe(context: Context, path: str) -> dict[str, Any]:
    """What is said in a recording. A plain function: it has a thread of its own, and may block it."""
    log.info("job %d begins", context.job)
    try:
        with open(path, encoding="ascii") as recording, open(f"{context.folder}/draft", "w+") as draft:
            for number, sound in enumerate(recording, 1):
                draft.write(recognize(sound) + "\n")
                context.progress(f"line {number}")
                context.sleep(PACE)  # ends the function here if the job is cancelled
            draft.seek(0)
            text = draft.read()
    except (FileNotFoundError, ValueError) as error:  # no retry would make a recording of it
        raise GiveUp(f"{path} cannot be transcribed: {error}") from error
    finally:
        log.info("job %d ends", context.job)
    return {"text": text, "words": len(text.split())}


def recognize(sound: str) -> str:
    """One line of Morse code as a text; ValueError if it is none."""
    try:
        return " ".join("".join(ALPHABET[letter] for letter in word.split()) for word in sound.split("/"))
    except KeyError as unknown:
        raise ValueError(f"{unknown} is no Morse code") from None


# the service: plain functions that ask the queue run in Starlette's threads, so the event loop is never held up


async def add(request: Request) -> JSONResponse:
    """POST /jobs {"path": ...}: answered when the job is stored for good."""
    try:
        path = os.path.abspath((await request.json())["path"])  # noqa: ASYNC240 - it asks no disk
    except (ValueError, KeyError, TypeError):
        return JSONResponse({"error": 'send {"path": "a recording\'s path"}'}, 400)
    receipt = await asyncio.wrap_future(background.enqueue("transcribe", {"path": path}, queue="speech"))
    return JSONResponse({"id": receipt.id, "state": receipt.state}, 202)


def show(request: Request) -> JSONResponse:
    """GET /jobs/{id}: for whoever asks again and again."""
    return JSONResponse(shown(request.path_params["id"]))


def now(request: Request) -> JSONResponse:
    """GET /now: what is being transcribed at this moment."""
    del request
    running = background.queue.ids(Filter(queue="speech", states=("running",)))
    return JSONResponse([shown(job) for job in running])


def cancel(request: Request) -> JSONResponse:
    """DELETE /jobs/{id}: a waiting job is cancelled at once, a running one as soon as its function looks."""
    job: int = request.path_params["id"]
    background.queue.cancel([job])
    return JSONResponse(shown(job), 202)


def shown(job: int) -> dict[str, Any]:
    """A job as this service's users see it."""
    view = background.queue.job_view(job)
    return {"path": view["arguments"]["path"]} | {
        name: view[name] for name in ("id", "state", "attempt", "progress", "result", "error")
    }


def refuse(request: Request, error: Exception) -> JSONResponse:
    """The queue's errors are sentences that say what is wrong."""
    del request
    return JSONResponse({"error": str(error)}, 404 if isinstance(error, UnknownJob) else 503)


app = Starlette(
    routes=[
        Route("/jobs", add, methods=["POST"]),
        Route("/jobs/{id:int}", show, methods=["GET"]),
        Route("/jobs/{id:int}", cancel, methods=["DELETE"]),
        Route("/now", now),
    ],
    exception_handlers={QueueError: refuse},
    lifespan=background.lifespan,
)
