"""Fetching models, where the server allows that, and the changes that it makes for no client."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from blazen import bridge
from blazen.bridge import EngineThread, Job
from blazen.catalog import Catalog
from blazen.errors import BlazenError
from blazen.server.apis.ollama.asked import PullBody
from blazen.server.apis.ollama.shapes import FAILURES, Failure, Status, streamed
from blazen.server.failures import Refusal, Shape
from blazen.server.service import service_of
from blazen.server.streaming import ndjson
from blazen.server.work import while_connected
from blazen.types.progress import OnProgress, Progress
from blazen.weights.gguf_files import locate_gguf

router = APIRouter()

_HUB = re.compile(r"(?:hf\.co/|huggingface\.co/)?([\w.-]+/[\w.-]+)(?::([\w.-]+))?", re.ASCII)
_NOT_HERE = {
    "delete": "delete models: remove the file, or use 'blazen rm' on the server's machine",
    "copy": "copy models: give a model another name in blazen.toml",
    "create": "create models: name a file and its options in blazen.toml",
    "push": "push models",
    "blobs": "take uploads of models: put the file into a folder that blazen.toml names",
}
_NEVER: dict[int | str, dict[str, Any]] = {
    **FAILURES,
    403: {"model": Failure, "description": "Always: this is not a server's to do."},
}


@router.post(
    "/api/pull",
    response_model=Status,
    response_model_exclude_none=True,
    responses=streamed(Status),
)
async def pull(request: Request, body: PullBody) -> Response:
    """Fetch a model from the hub, with its progress in lines of JSON."""
    service = service_of(request)
    if not service.settings.pull:
        raise Refusal(
            403,
            "this server does not download models for its clients: start it with 'blazen serve "
            "--pull', or use 'blazen pull' on its machine",
        )
    if body.insecure:
        raise Refusal(400, "insecure is not supported: models are fetched over HTTPS alone")
    repo, tag = _target(body.model or body.name or "")
    lines = _fetched(service.open.catalog, repo, tag)
    if body.stream is not False:
        return ndjson(request, lines, Shape.Ollama)
    return JSONResponse(await while_connected(request, _last(lines)))


def _target(name: str) -> tuple[str, str | None]:
    """Read the name of a repository of the hub; nothing else is fetched for a client."""
    read = _HUB.fullmatch(name)
    if read is None or ".." in name:
        raise Refusal(
            400,
            f"{name!r:.80} can't be fetched: name a repository of the hub, as ORG/NAME or "
            "hf.co/ORG/NAME:Q4_K_M",
        )
    tag = read[2]
    return f"hf:{read[1]}", None if tag in (None, "latest") else tag


async def _last(lines: AsyncIterator[dict[str, Any]]) -> dict[str, Any]:
    last: dict[str, Any] = {}
    async for line in lines:
        last = line
    return last


async def _fetched(catalog: Catalog, repo: str, tag: str | None) -> AsyncIterator[dict[str, Any]]:
    """Fetch, and tell of it; a client that goes stops it, and what arrived is kept for the next."""
    reports: asyncio.Queue[Progress | None] = asyncio.Queue()
    work = asyncio.ensure_future(_fetch(repo, tag, reports.put_nowait))
    work.add_done_callback(lambda _: reports.put_nowait(None))
    try:
        yield {"status": "pulling manifest"}
        while (report := await reports.get()) is not None:
            line: dict[str, Any] = {"status": f"pulling {report.detail or repo}"}
            if report.unit == "bytes" and report.total:
                line |= {"total": report.total, "completed": report.done}
            yield line
        path = await work
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError, BlazenError):
            await work
    await asyncio.to_thread(catalog.find, str(path))  # it is listed from now on
    yield {"status": "success"}


async def _fetch(repo: str, tag: str | None, on_progress: OnProgress) -> Path:
    report = bridge.on_loop(on_progress)

    def locate(job: Job) -> Path:
        return locate_gguf(
            repo, quantization=tag, on_progress=report, cancelled=lambda: job.cancelled
        )

    thread: EngineThread[None] = EngineThread(f"pull {repo}", close=lambda nothing: None)
    job = Job(locate)
    thread.submit(job)
    try:
        path: Path = await bridge.outcome(job)
    finally:
        thread.stop()
    return path


@router.delete("/api/delete", response_model=Failure, status_code=403, responses=_NEVER)
async def delete() -> Response:
    """Refuse: a client may not delete models."""
    raise _never("delete")


@router.post("/api/copy", response_model=Failure, status_code=403, responses=_NEVER)
async def copy() -> Response:
    """Refuse: a client may not copy models."""
    raise _never("copy")


@router.post("/api/create", response_model=Failure, status_code=403, responses=_NEVER)
async def create() -> Response:
    """Refuse: a client may not create models."""
    raise _never("create")


@router.post("/api/push", response_model=Failure, status_code=403, responses=_NEVER)
async def push() -> Response:
    """Refuse: a client may not push models."""
    raise _never("push")


@router.post("/api/blobs/{digest}", response_model=Failure, status_code=403, responses=_NEVER)
async def blobs(digest: str) -> Response:
    """Refuse: a client may not upload models."""
    raise _never("blobs")


def _never(what: str) -> Refusal:
    return Refusal(403, f"this server does not {_NOT_HERE[what]}")
