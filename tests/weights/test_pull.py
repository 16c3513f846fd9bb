"""Fetching ahead, from asyncio."""

from __future__ import annotations

import asyncio
import hashlib
import threading

import pytest

import blazen
from blazen.errors import ModelNotFoundError
from blazen.weights import pull as pulling
from tests.weights.servers import Files, serving

DATA = bytes(range(256)) * 4096
HASH = hashlib.sha256(DATA).hexdigest()


async def test_a_local_model_is_given_as_it_is(tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    assert await blazen.pull(tmp_path, file="model.gguf") == tmp_path / "model.gguf"
    with pytest.raises(ModelNotFoundError):
        await blazen.pull(tmp_path / "none.gguf")


async def test_a_url_is_fetched_once_and_tells_its_progress(tmp_path, monkeypatch):
    for name in ("BLAZEN_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    told = []

    def listen(progress):
        told.append((progress.done, threading.current_thread() is threading.main_thread()))

    with serving(Files({"/m.gguf": DATA})) as server:
        url = f"{server.url}/m.gguf"
        for _ in range(2):
            path = await blazen.pull(url, cache_dir=tmp_path, sha256=HASH, on_progress=listen)
            assert path.read_bytes() == DATA
        assert len(server.gets()) == 1
    await asyncio.sleep(0)
    assert told[-1] == (len(DATA), True)


async def test_cancelling_stops_the_thread_that_fetches(tmp_path, monkeypatch):
    started, seen = threading.Event(), []

    def slow(target, *, cancelled, **settings):
        started.set()
        while not cancelled():
            threading.Event().wait(0.001)
        seen.append("stopped")

    monkeypatch.setattr(pulling, "locate", slow)
    task = asyncio.create_task(blazen.pull("org/name"))
    await asyncio.to_thread(started.wait, 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["stopped"]
