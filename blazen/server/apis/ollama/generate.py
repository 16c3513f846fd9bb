"""``/api/generate``: an answer to a prompt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from blazen.server.apis.ollama.asked import GenerateBody
from blazen.server.apis.ollama.context import packed, unpacked
from blazen.server.apis.ollama.loading import loaded_or_gone
from blazen.server.apis.ollama.names import id_of
from blazen.server.apis.ollama.settings import read_settings
from blazen.server.apis.ollama.shapes import GenerateAnswer, streamed
from blazen.server.apis.ollama.talking import Talk, likelihoods
from blazen.server.asking import prepared, remember
from blazen.server.failures import Shape
from blazen.server.headers import is_base_model
from blazen.server.images import read_base64_image
from blazen.server.refusals import RefusedError, refuse
from blazen.server.service import Service, service_of
from blazen.server.streaming import ndjson
from blazen.server.work import while_connected
from blazen.types.chat import ChatMessage, Part, Prompt, Role
from blazen.types.completion import CompletionOptions, ModelResponse

router = APIRouter()

_NO_PICTURES = "this route writes text; /v1/images/generations makes images"
_REASONS = {
    "suffix": "the engines here don't fill in the middle of a text",
    "template": "templates of Ollama's kind are not rendered here; send raw: true and the prompt "
    "as the model is to see it",
    "width": _NO_PICTURES,
    "height": _NO_PICTURES,
    "steps": _NO_PICTURES,
}


@router.post(
    "/api/generate",
    response_model=GenerateAnswer,
    response_model_exclude_none=True,
    responses=streamed(GenerateAnswer),
)
async def generate(request: Request, body: GenerateBody) -> Response:
    """Answer a prompt, in lines of JSON where ``stream`` is not false."""
    refuse(body, _REASONS)
    service = service_of(request)
    id = await id_of(service, body.model, "model")  # noqa: A001 - the manager's word
    if not body.prompt and not body.images:
        done = await while_connected(request, loaded_or_gone(service, id, body))
        done["response"] = ""
        return JSONResponse(done)
    listing = service.open.listing_of(id)
    options = await read_settings(body, listing)
    bare = bool(body.raw) or await asyncio.to_thread(is_base_model, listing)
    asked = await _read(service, body, bare=bare)
    if body.stream is not False:
        return ndjson(request, _lines(service, id, body, asked, options), Shape.Ollama)
    return JSONResponse(await while_connected(request, _whole(service, id, body, asked, options)))


@dataclass
class _Asked:
    """What a model is asked: a text to go on with, or a conversation."""

    prompt: str | None
    messages: list[ChatMessage]
    before: list[tuple[str, str]]
    """The turns that the context of the next request begins with."""

    def context(self, answer: ModelResponse) -> list[int]:
        return packed([*self.before, ("assistant", answer.content)])


async def _read(service: Service, body: GenerateBody, *, bare: bool) -> _Asked:
    before = unpacked(body.context) if body.context else []
    prompt = body.prompt or ""
    if bare:
        for name in ("images", "system", "context") if body.raw else ("images", "system"):
            if getattr(body, name):
                why = "raw: true" if body.raw else "a model without a chat template"
                raise RefusedError(f"{name} does not go with {why}: leave it out", param=name)
        text = "".join(text for _, text in before) + prompt
        return _Asked(text, [ChatMessage.user(text)], [*before, ("user", prompt)])
    turns = [turn for turn in before if not (body.system and turn[0] == "system")]
    if body.system:
        turns.insert(0, ("system", body.system))
    shown: list[Part] = [
        await read_base64_image(text, service.settings) for text in body.images or ()
    ]
    messages = [ChatMessage(Role(role), text) for role, text in turns]
    content: str | list[Part] = prompt
    if shown:
        content = [*shown, prompt] if prompt else shown
    messages.append(ChatMessage(Role.User, content))
    return _Asked(None, messages, [*turns, ("user", prompt)])


async def _talk(
    service: Service,
    id: str,  # noqa: A002
    body: GenerateBody,
    asked: _Asked,
    options: CompletionOptions,
) -> Talk:
    if asked.prompt is not None:
        return Talk(service, id, body.model, Prompt(asked.prompt), options, body.keep_alive)
    given = await prepared(service, id, asked.messages)
    return Talk(service, id, body.model, given, options, body.keep_alive)


async def _whole(
    service: Service,
    id: str,  # noqa: A002
    body: GenerateBody,
    asked: _Asked,
    options: CompletionOptions,
) -> dict[str, Any]:
    talk = await _talk(service, id, body, asked, options)
    answer = await talk.whole()
    await remember(service, "/api/generate", id, asked.messages, [answer])
    said: dict[str, Any] = {"response": answer.content}
    if answer.reasoning:
        said["thinking"] = answer.reasoning
    if body.logprobs:
        said["logprobs"] = likelihoods(answer.logprobs)
    return talk.end(**said, **_context(body, asked, answer))


async def _lines(
    service: Service,
    id: str,  # noqa: A002
    body: GenerateBody,
    asked: _Asked,
    options: CompletionOptions,
) -> AsyncIterator[dict[str, Any]]:
    talk = await _talk(service, id, body, asked, options)
    async for chunk in talk.pieces():
        said: dict[str, Any] = {"response": chunk.content or ""}
        if chunk.reasoning:
            said["thinking"] = chunk.reasoning
        if chunk.logprobs:
            said["logprobs"] = likelihoods(chunk.logprobs)
        if len(said) > 1 or said["response"]:
            yield talk.piece(**said)
    answer = talk.response
    await remember(service, "/api/generate", id, asked.messages, [answer])
    yield talk.end(response="", **_context(body, asked, answer))


def _context(body: GenerateBody, asked: _Asked, answer: ModelResponse) -> dict[str, Any]:
    return {} if body.raw else {"context": asked.context(answer)}
