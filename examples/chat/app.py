"""A chat application whose turns are answered at once; how significant they were is found out afterwards.

    uvicorn app:app --app-dir examples/chat

A turn stores a memory on the request path and leaves a job in the queue, without waiting for it. The job asks a
classifier, which is slow and sometimes fails, and pins the memory if it is worth it.
"""

from __future__ import annotations

import logging
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import classifier
from memories import Memories
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from queue_core import Background, Context, GiveUp, Origin

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

logging.basicConfig(level=logging.INFO)

AUTOMATIC = Origin(caller="hook")  # nobody asked for it: such pins come and go

SIGNIFICANT = 3  # the score from which a memory is pinned

memories = Memories(os.environ.get("CHAT_DATABASE", "chat.db"))
background = Background(enabled=os.environ.get("CHAT_BACKGROUND") != "off")


# after the turn


def score_later(memory: int) -> None:
    """Have a memory scored some time: returns at once, never raises. It is on its way once at a time (`unique`)."""
    background.enqueue("score", {"memory": memory}, queue="memories", unique=f"score-{memory}", timeout=60)


@background.handler("score")
async def score(context: Context, memory: int) -> int:
    """Score one memory. A coroutine, since it mostly waits for others; what blocks goes to a thread."""
    text = await run_in_threadpool(memories.text, memory)
    if text is None:
        raise GiveUp(f"memory {memory} has been forgotten")
    significance = await classifier.significance(text)  # what fails is logged, tried again, and kept as a dead letter
    await run_in_threadpool(keep, context, memory, significance)
    return significance


def keep(context: Context, memory: int, significance: int) -> None:
    """Write the score; pin what is significant, and its job with it, so that pruning spares that too.

    All of it may be done twice: if the process is killed after it, the job is run again.
    """
    memories.set_score(memory, significance)
    if significance >= SIGNIFICANT:
        memories.pin_automatically(memory)
        context.queue.pin([context.job], pinned=True, by=AUTOMATIC)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[None]:
    """The worker, and jobs for what was left unscored: by a kill before they were stored, or while it was off."""
    async with background.lifespan(app):
        for memory in await run_in_threadpool(memories.unscored):
            score_later(memory)
        yield


# the chat


async def turn(request: Request) -> JSONResponse:
    """POST /turn {"owner": ..., "text": ...}: something was said."""
    try:
        said = await request.json()
        owner, text = str(said["owner"]), str(said["text"])
    except (ValueError, KeyError, TypeError):
        return JSONResponse({"error": 'send {"owner": "whose memory", "text": "what was said"}'}, 400)
    memory = await run_in_threadpool(memories.add, owner, text)
    score_later(memory)
    return JSONResponse({"memory": memory, "reply": f"I will remember that, {owner}."})


def recall(request: Request) -> JSONResponse:
    """GET /memories/{owner}: all of them, oldest first."""
    return JSONResponse(memories.of(request.path_params["owner"]))


def pin(request: Request) -> JSONResponse:
    """POST /pins/{memory}: a person wants it kept, whatever is pinned after it."""
    memory: int = request.path_params["memory"]
    if not memories.pin(memory):
        return JSONResponse({"error": f"there is no memory {memory}"}, 404)
    return JSONResponse({"memory": memory, "pinned": "person"})


app = Starlette(
    routes=[
        Route("/turn", turn, methods=["POST"]),
        Route("/memories/{owner}", recall),
        Route("/pins/{memory:int}", pin, methods=["POST"]),
    ],
    lifespan=lifespan,
)
