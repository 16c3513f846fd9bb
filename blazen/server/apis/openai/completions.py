"""``/v1/completions``: a model goes on from a text as it stands, without a template."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from itertools import groupby
from json.encoder import encode_basestring
from typing import Any

from fastapi import APIRouter, Request, Response

from blazen.server.apis.openai.answers import EVENTS
from blazen.server.apis.openai.chat import Extras, last_of
from blazen.server.apis.openai.completions_asked import CompletionAnswer, CompletionBody, Task
from blazen.server.apis.openai.telling import (
    Offsets,
    fingerprint,
    new_id,
    now,
    reason_of,
    timings_of,
    usage_dict,
    usage_of,
)
from blazen.server.asking import remember
from blazen.server.failures import Shape
from blazen.server.merging import collected, merged
from blazen.server.service import Service, service_of
from blazen.server.streaming import sse, to_json
from blazen.server.work import while_connected
from blazen.types.chat import ChatMessage
from blazen.types.completion import InferenceChunk, InferenceChunkStream, ModelResponse

router = APIRouter()


@router.post(
    "/completions", response_model=CompletionAnswer, responses=EVENTS, tags=["completions"]
)
async def create_completion(request: Request, body: CompletionBody) -> Response:
    """Go on from texts, in one piece or as server-sent events."""
    service = service_of(request)
    id = await service.open.name_of(body.model, "model")  # noqa: A001 - the manager's word
    return await answer_completion(request, service, id, body)


async def answer_completion(
    request: Request,
    service: Service,
    id: str,  # noqa: A002 - the manager's word
    body: CompletionBody,
    extras: Extras | None = None,
) -> Response:
    """Have a model go on."""
    options = body.options()
    tasks = [Task(prompt, one) for prompt in body.prompts() for one in options]
    work = _Completion(service, request.url.path, id, tasks, body, extras)
    if body.stream:
        return sse(request, work.events(), Shape.OpenAi, done=True)
    answer = await while_connected(request, work.whole())
    return Response(to_json(answer), media_type="application/json")


class _Completion:
    """One request, from its prompts to what is sent."""

    def __init__(
        self,
        service: Service,
        path: str,
        id: str,  # noqa: A002 - the manager's word
        tasks: Sequence[Task],
        body: CompletionBody,
        extras: Extras | None,
    ) -> None:
        self._service, self._path, self._id = service, path, id
        self._tasks, self._body, self._extras = tasks, body, extras
        self._echo = bool(body.echo)
        self._head = {
            "id": new_id("cmpl"),
            "object": "text_completion",
            "created": now(),
            "model": id,
            "system_fingerprint": fingerprint(),
        }

    async def whole(self) -> dict[str, Any]:
        """Give the whole answer."""
        answers = await collected(self._streams())
        await self._remember(answers)
        given = self._best(answers)
        return {
            **self._head,
            "choices": [self._choice(index, place, answers) for index, place in enumerate(given)],
            **self._told(answers, usage=True),
        }

    async def events(self) -> AsyncIterator[bytes]:
        """Give the events, written out: all that is ready at once."""
        streams = self._streams()
        opening = "data: " + to_json(self._head).decode()[:-1] + ',"choices":['
        usage = self._body.wants_usage
        closing = '],"usage":null}\n\n' if usage else "]}\n\n"
        offsets = [Offsets() for _ in streams]
        begun: set[int] = set()
        ended: dict[int, ModelResponse] = {}
        async for pieces in merged(streams):
            written: list[str] = []
            for index, chunk in pieces:
                before = ""
                if index not in begun:
                    begun.add(index)
                    before = self._tasks[index].echo(wanted=self._echo)
                if chunk is not None:
                    piece = _piece(index, before, chunk, offsets[index])
                    if piece:
                        written.append(f"{opening}{piece}{closing}")
                    continue
                ended[index] = streams[index].response
                if before:
                    written.append(f"{opening}{_written(index, before, 'null', 'null')}{closing}")
                piece = _written(index, "", "null", f'"{reason_of(ended[index])}"')
                if len(ended) < len(streams) or usage:
                    written.append(f"{opening}{piece}{closing}")
            if len(ended) == len(streams):
                answers = [ended[place] for place in range(len(streams))]
                told = to_json(self._told(answers, usage=usage)).decode()[1:]
                if usage:
                    piece = ""
                else:
                    last = last_of(pieces)
                    piece = _written(last, "", "null", f'"{reason_of(ended[last])}"')
                separator = "]}" if told == "}" else "]," + told
                written.append(f"{opening}{piece}{separator}\n\n")
                await self._remember(answers)
            yield "".join(written).encode("utf-8", "replace")

    def _streams(self) -> list[InferenceChunkStream]:
        manager = self._service.manager
        return [
            manager.complete_stream(self._id, task.prompt, task.options) for task in self._tasks
        ]

    def _best(self, answers: Sequence[ModelResponse]) -> list[int]:
        """Give which texts are given: for each prompt the likeliest, where more were written."""
        each = len(answers) // len(self._body.prompts())
        wanted = self._body.n or 1
        places = range(len(answers))
        if each == wanted:
            return list(places)
        return [
            place
            for _, group in groupby(places, key=lambda place: place // each)
            for place in sorted(group, key=lambda place: -_likelihood(answers[place]))[:wanted]
        ]

    def _choice(self, index: int, place: int, answers: Sequence[ModelResponse]) -> dict[str, Any]:
        answer = answers[place]
        likely = self._body.logprobs is not None
        return {
            "index": index,
            "text": self._tasks[place].echo(wanted=self._echo) + answer.content,
            "logprobs": Offsets().columns(answer.content, answer.logprobs) if likely else None,
            "finish_reason": reason_of(answer),
        }

    def _told(self, answers: Sequence[ModelResponse], *, usage: bool) -> dict[str, Any]:
        told: dict[str, Any] = {}
        if usage:
            told["usage"] = self._usage(answers)
        timings = timings_of(answers)
        if timings is not None:
            told["timings"] = timings
        if self._extras is not None:
            told |= self._extras(answers)
        return told

    def _usage(self, answers: Sequence[ModelResponse]) -> dict[str, Any] | None:
        each = len(answers) // len(self._body.prompts())
        used = [usage_of(answers[at : at + each]) for at in range(0, len(answers), each)]
        told = [one for one in used if one is not None]
        if not told:
            return None
        return usage_dict(
            sum(one["prompt_tokens"] for one in told),
            sum(one["completion_tokens"] for one in told),
            sum(one["prompt_tokens_details"]["cached_tokens"] for one in told),
            0,
        )

    async def _remember(self, answers: Sequence[ModelResponse]) -> None:
        for task, answer in zip(self._tasks, answers, strict=True):
            said = task.prompt.text
            prompt = said if isinstance(said, str) else str(said)
            messages = [ChatMessage.user(prompt)]
            await remember(self._service, self._path, self._id, messages, [answer])


def _likelihood(answer: ModelResponse) -> float:
    """Give how likely a text was, for each of its tokens."""
    tokens = answer.logprobs
    return sum(token.logprob for token in tokens) / len(tokens) if tokens else float("-inf")


def _piece(index: int, before: str, chunk: InferenceChunk, offsets: Offsets) -> str:
    text = chunk.content or ""
    likely = "null"
    if chunk.logprobs:
        likely = to_json(offsets.columns(text, chunk.logprobs)).decode()
    elif not text and not before:
        return ""
    return _written(index, before + text, likely, "null")


def _written(index: int, text: str, likely: str, reason: str) -> str:
    return (
        f'{{"index":{index},"text":{encode_basestring(text)},'
        f'"logprobs":{likely},"finish_reason":{reason}}}'
    )
