"""The protocol over stdin and stdout: its messages alone are on stdout, whatever engines print.

The SDK's own reader waits for a line in a thread that nothing can stop, so that a signal would not
end the program before the client's next message. Here both ends are threads that need not end.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from queue import SimpleQueue
from typing import Any, cast

import anyio
from mcp.server.stdio import stdio_server

from blazen.catalog import OpenCatalog
from blazen.mcp.ending import ended_by
from blazen.mcp.server import tool_server

CHUNK = 65536


async def serve_stdio(
    models: AbstractAsyncContextManager[OpenCatalog], *, folders: Sequence[Path] = ()
) -> None:
    """Serve the models of a catalogue to the program that started this one, until it has gone.

    It ends at the end of stdin, at Ctrl-C and at SIGTERM; each unloads every model.

    Args:
        models: Gives them: ``Catalog.read().start()``.
        folders: Below which files may be transcribed by their paths.
    """
    with _claimed() as (incoming, outgoing), ended_by(signal.SIGTERM):
        async with models as catalog:
            await serve_pipes(lambda: catalog, incoming, outgoing, folders=folders)


async def serve_pipes(
    open: Callable[[], OpenCatalog],  # noqa: A002 - the catalogue's own word
    incoming: int,
    outgoing: int,
    *,
    folders: Sequence[Path] = (),
) -> None:
    """Serve one client that writes to one file descriptor and reads from another, until it ends."""
    tools = tool_server(open, folders=folders)
    reader, writer = _Lines(incoming), _Writer(outgoing)
    try:
        async with stdio_server(
            # Of an asynchronous file the SDK takes the lines of the one, and writes to the other.
            cast("anyio.AsyncFile[str]", reader),
            cast("anyio.AsyncFile[str]", writer),
        ) as (read, write):
            await tools.run(read, write, tools.create_initialization_options())
    finally:
        writer.close()


@contextlib.contextmanager
def _claimed() -> Iterator[tuple[int, int]]:
    """Take stdin and stdout: what else is printed goes to stderr, and who reads finds the end."""
    sys.stdout.flush()
    incoming, outgoing = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.dup2(2, 1)
    os.close(nowhere)
    try:
        yield incoming, outgoing
    finally:
        sys.stdout.flush()
        _flush_engines()
        os.dup2(incoming, 0)
        os.dup2(outgoing, 1)
        # The copies stay open: a thread may still wait there, and must not meet another file.


def _flush_engines() -> None:
    """Have what engines in C printed go out now, and not to stdout when the program ends."""
    with contextlib.suppress(OSError, TypeError, AttributeError):  # Windows has no such name
        ctypes.CDLL(None).fflush(None)


class _Lines:
    """The lines that come from a file descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._come: asyncio.Queue[bytes | None] = asyncio.Queue()
        threading.Thread(
            target=self._read, args=(descriptor,), name="blazen-mcp-stdin", daemon=True
        ).start()

    async def __aiter__(self) -> AsyncIterator[str]:
        parts: list[bytes] = []  # of the line that has not ended yet: a sound may be long
        while (data := await self._come.get()) is not None:
            *ended, rest = data.split(b"\n")
            for end in ended:
                line = b"".join((*parts, end))
                parts.clear()
                if line.strip():
                    yield line.decode("utf-8", "replace")
            parts.append(rest)

    def _read(self, descriptor: int) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody reads on
            while True:
                try:
                    data = os.read(descriptor, CHUNK)
                except OSError:
                    data = b""
                self._loop.call_soon_threadsafe(self._come.put_nowait, data or None)
                if not data:
                    return


class _Writer:
    """Writes texts to a file descriptor, whole and in order, however slowly they are read."""

    def __init__(self, descriptor: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._wanted: SimpleQueue[tuple[bytes, asyncio.Future[None]] | None] = SimpleQueue()
        self._thread = threading.Thread(
            target=self._write, args=(descriptor,), name="blazen-mcp-stdout", daemon=True
        )
        self._thread.start()

    async def write(self, text: str) -> None:
        """Write, and wait until the client's pipe has taken it."""
        written: asyncio.Future[None] = self._loop.create_future()
        self._wanted.put((text.encode("utf-8"), written))
        await written

    async def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """End the thread when it has written what it was given."""
        self._wanted.put(None)

    def _write(self, descriptor: int) -> None:
        while (wanted := self._wanted.get()) is not None:
            data, written = wanted
            rest = memoryview(data)
            # Whoever has gone reads nothing; its end of stdin follows, and ends the program.
            with contextlib.suppress(OSError):
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(_settle, written)


def _settle(written: asyncio.Future[Any]) -> None:
    if not written.done():
        written.set_result(None)
