"""A server in a process of its own that speaks the providers' APIs as fast as it can.

How many pieces an answer has, and when they come, stands in the question: ``say 200 apart as 7``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

PAUSE_SECONDS = 0.001
"""Between two pieces that come apart: enough for a client to read each by itself."""
_ASKED = re.compile(rb"say (\d+) (apart|together) as (\d+)")
_HEAD = "HTTP/1.1 200 OK\r\nContent-Type: {}\r\n{}\r\n\r\n"

Events = list[bytes]


def asking(pieces: int, *, apart: bool, number: int = 0) -> str:
    """Write the question for an answer of so many pieces."""
    return f"say {pieces} {'apart' if apart else 'together'} as {number}"


def piece(number: int, place: int) -> str:
    """Give the text of one piece: none is like another."""
    return f"{number}.{place} "


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """Run the server; gives its address."""
    command = [sys.executable, "-m", "benchmarks.provider_server"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()  # which it takes as its end


def _openai(texts: list[str]) -> Events:
    def event(choices: list[Any], **more: Any) -> bytes:
        whole = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1}
        return _data({**whole, "model": "bench", "choices": choices, **more})

    def choice(delta: Any, finish_reason: str | None = None) -> Any:
        return {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}

    return [
        event([choice({"role": "assistant", "content": ""})]),
        *(event([choice({"content": text})]) for text in texts),
        event([choice({}, "stop")]),
        event([], usage=_openai_usage(texts)),
        b"data: [DONE]\n\n",
    ]


def _openai_usage(texts: list[str]) -> Any:
    count = len(texts)
    return {"prompt_tokens": 5, "completion_tokens": count, "total_tokens": 5 + count}


def _openai_whole(texts: list[str]) -> Any:
    message = {"role": "assistant", "content": "".join(texts), "refusal": None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "bench",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "usage": _openai_usage(texts),
    }


def _anthropic_whole(texts: list[str]) -> Any:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "bench",
        "content": [{"type": "text", "text": "".join(texts)}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 5, "output_tokens": len(texts)},
    }


def _anthropic(texts: list[str]) -> Events:
    start = {**_anthropic_whole([]), "content": [], "stop_reason": None}
    block = {"index": 0, "content_block": {"type": "text", "text": ""}}
    deltas = ({"index": 0, "delta": {"type": "text_delta", "text": text}} for text in texts)
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    return [
        _named("message_start", message=start),
        _named("content_block_start", **block),
        *(_named("content_block_delta", **delta) for delta in deltas),
        _named("content_block_stop", index=0),
        _named("message_delta", delta=end, usage={"output_tokens": len(texts)}),
        _named("message_stop"),
    ]


def _gemini_whole(texts: list[str], finish_reason: str | None = "STOP") -> Any:
    content = {"role": "model", "parts": [{"text": "".join(texts)}]}
    finished = {"finishReason": finish_reason} if finish_reason else {}
    count = len(texts)
    usage = {"promptTokenCount": 5, "candidatesTokenCount": count, "totalTokenCount": 5 + count}
    candidate = {"content": content, "index": 0, **finished}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "bench"}


def _gemini(texts: list[str]) -> Events:
    *first, last = texts
    return [
        *(_data(_gemini_whole([text], None), "\r\n\r\n") for text in first),
        _data(_gemini_whole([last]), "\r\n\r\n"),
    ]


def _data(body: Any, end: str = "\n\n") -> bytes:
    return f"data: {json.dumps(body, separators=(',', ':'))}{end}".encode()


def _named(kind: str, **body: Any) -> bytes:
    return f"event: {kind}\n".encode() + _data({"type": kind, **body})


# What a path ends with, how its stream is written and how its whole answer.
_APIS: dict[str, tuple[Callable[[list[str]], Events], Callable[[list[str]], Any]]] = {
    "/chat/completions": (_openai, _openai_whole),
    "/messages": (_anthropic, _anthropic_whole),
    "generateContent": (_gemini, _gemini_whole),
    "streamGenerateContent": (_gemini, _gemini_whole),
}


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            path = head.split(" ", 2)[1].partition("?")[0]
            length = re.search(r"(?i)content-length: (\d+)", head)
            body = await reader.readexactly(int(length[1]) if length else 0)
            streams, whole = next(both for end, both in _APIS.items() if path.endswith(end))
            asked = _ASKED.search(body)
            assert asked is not None
            texts = [piece(int(asked[3]), place) for place in range(int(asked[1]))]
            if "streamGenerateContent" in path or re.search(rb'"stream": ?true', body):
                await _stream(writer, streams(texts), apart=asked[2] == b"apart")
            else:
                data = json.dumps(whole(texts)).encode()
                told = f"Content-Length: {len(data)}"
                writer.write(_HEAD.format("application/json", told).encode() + data)
            await writer.drain()
    writer.close()


async def _stream(writer: asyncio.StreamWriter, events: Events, *, apart: bool) -> None:
    writer.write(_HEAD.format("text/event-stream", "Transfer-Encoding: chunked").encode())
    for event in events:
        writer.write(b"%x\r\n%b\r\n" % (len(event), event))
        if apart:
            await asyncio.sleep(PAUSE_SECONDS)
    writer.write(b"0\r\n\r\n")


async def _main() -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    os._exit(0)  # whoever is still connected is of no matter


if __name__ == "__main__":
    asyncio.run(_main())
