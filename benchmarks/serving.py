"""``blazen serve`` as the benchmarks use it: in a process of its own, asked over plain sockets."""

from __future__ import annotations

import asyncio
import http.client
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import psutil

from benchmarks.raw_engines import Moments

_EMPTY = b'"content":""'
_PIECE = b'"content":"'


class Serving(AbstractContextManager["Serving"]):
    """A server of the models of a configuration; it is asked as `Apart` is."""

    def __init__(self, configuration: str, *flags: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="blazen-benchmark-")
        config = Path(self._folder.name) / "blazen.toml"
        config.write_text(configuration, "utf-8")
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "blazen.cli", "serve", "--json"),
                *("--host", "127.0.0.1", "--port", "0", "--config", str(config), *flags),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        address = urlsplit(self._told()["url"])
        self.host, self.port = address.hostname or "", address.port or 0

    def ask(self, method: str, *args: Any) -> Any:
        """Call a method and give what it gives."""
        return getattr(self, method)(*args)

    def answer(self, prompt: str, tokens: int) -> Moments:
        """Stream one answer; give the moments at which its tokens came."""
        body = {"model": "chat", "messages": [{"role": "user", "content": prompt}]}
        asked = {**body, "max_tokens": tokens, "temperature": 0, "stream": True}
        connection = http.client.HTTPConnection(self.host, self.port)
        connection.request("POST", "/v1/chat/completions", json.dumps(asked), _HEADERS)
        response = connection.getresponse()
        if response.status != 200:
            raise RuntimeError(response.read())
        moments = [
            time.perf_counter() for line in response if _PIECE in line and _EMPTY not in line
        ]
        connection.close()
        return moments

    def streams(self, prompts: Sequence[str], tokens: int) -> int:
        """Stream answers to the prompts at once; give the number of tokens."""
        with ThreadPoolExecutor(len(prompts)) as pool:
            return sum(map(len, pool.map(self.answer, prompts, [tokens] * len(prompts))))

    def first(self, prompt: str) -> float:
        """Give the seconds from the request to the first token."""
        began = time.perf_counter()
        return self.answer(prompt, 1)[0] - began

    def rss(self) -> int:
        """Say how much memory the server has."""
        return int(psutil.Process(self._process.pid).memory_info().rss)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait(60)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._folder.cleanup()

    def _told(self) -> Any:
        """Read the JSON that the server writes once it listens."""
        assert self._process.stdout is not None
        text = ""
        while line := self._process.stdout.readline():
            text += line
            try:
                return json.loads(text)
            except ValueError:
                continue
        raise RuntimeError(f"the server did not start: {text}")


_HEADERS = {"Content-Type": "application/json"}


class Line:
    """One connection that is kept, for many requests one after another."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, server: Serving) -> Line:
        """Connect."""
        return cls(*await asyncio.open_connection(server.host, server.port))

    async def ask(self, method: str, path: str, body: Any = None) -> bytes:
        """Send a request; give the head of its answer."""
        data = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\n\r\n"
        )
        self._writer.write(head.encode() + data)
        return await self._reader.readuntil(b"\r\n\r\n")

    async def rest(self, head: bytes) -> bytes:
        """Read the body of an answer that says how long it is."""
        lines = head.lower().split(b"\r\n")
        [length] = [line.split(b":")[1] for line in lines if line.startswith(b"content-length:")]
        return await self._reader.readexactly(int(length))

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        await self._writer.wait_closed()
