"""What holds for a model with weights in this machine's memory."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import blazen
from blazen import hardware
from blazen.errors import BlazenError, LoadError, ModelNotFoundError, ValidationError
from blazen.protocols.local import Local
from blazen.testing.running import on_loop
from blazen.testing.suite import Suite
from blazen.types.progress import Progress

BROKEN_FILES = ("a missing file", "an empty file", "a directory", "text", "noise", "a cut header")
THREAD_GRACE_SECONDS = 5.0
"""How long a thread may take to end after it has done its work."""

_LIFECYCLE = ("load", "unload", "is_loaded", "memory_bytes", "device", "__aenter__", "__aexit__")


class LocalSuite(Suite):
    """The lifecycle. Each protocol's suite has it; for a model without one it is skipped."""

    memory_floor = 20 << 20
    """What a load takes below this, in bytes, is not told from noise."""
    holds_bytes = 0
    """How much memory a loaded model holds at the least. Say it, so that weights which an unload
    keeps are noticed; 0 compares only what a second load takes with what its unload gives back."""

    @pytest.fixture
    def broken_model(self) -> Callable[[Path], Any] | None:
        """Give a function that makes a model of the weights at a path; ``None`` skips."""
        return None

    @pytest.fixture
    def local_model(self, model: Any) -> Any:
        """Give the model, where it has a lifecycle."""
        if not any(hasattr(model, name) for name in _LIFECYCLE if not name.startswith("_")):
            pytest.skip("the model has no lifecycle: it does not run on this machine")
        return model

    def memory_now(self) -> int:
        """Measure what models hold; override it for weights in a GPU's memory."""
        hardware.release_memory()
        return _resident()

    def test_the_lifecycle_is_whole(self, local_model: Any) -> None:
        """It has all of the lifecycle, and says where it runs."""
        missing = [name for name in _LIFECYCLE if not hasattr(local_model, name)]
        assert not missing, f"the lifecycle lacks {missing}"
        assert isinstance(local_model, Local)
        blazen.Device.parse(local_model.device)

    @on_loop
    async def test_load_and_unload_are_idempotent(self, local_model: Any) -> None:
        """Twice is as good as once, and a request after unload loads again."""
        question = self.questions(1)[0]
        await local_model.unload()
        await local_model.unload()
        assert not local_model.is_loaded
        await local_model.load()
        await local_model.load()
        assert local_model.is_loaded
        assert local_model.memory_bytes is None or local_model.memory_bytes >= 0
        expected = await self.ask(local_model, question)
        await local_model.unload()
        assert not local_model.is_loaded
        self.check_same(await self.ask(local_model, question), expected)
        assert local_model.is_loaded

    @on_loop
    async def test_a_model_can_be_entered(self, local_model: Any) -> None:
        """``async with`` loads it, and unloads it even where an error leaves the block."""
        async with local_model as entered:
            assert entered is local_model
            assert local_model.is_loaded
            await self.ask(local_model, self.questions(1)[0])
        assert not local_model.is_loaded
        with pytest.raises(KeyError):
            async with local_model:
                raise KeyError("left by an error")
        assert not local_model.is_loaded

    @on_loop
    async def test_loads_unloads_and_requests_at_once(self, local_model: Any) -> None:
        """Whatever order they fall into, all come to their end and every answer is right."""
        question = self.questions(1)[0]
        expected = await self.ask(local_model, question)
        calls: list[Any] = []
        for _ in range(4):
            calls += [local_model.load(), self.ask(local_model, question), local_model.unload()]
        results = await asyncio.gather(*calls, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        for answer in results[1::3]:
            self.check_same(answer, expected)
        self.check_same(await self.ask(local_model, question), expected)
        await local_model.unload()
        assert not local_model.is_loaded

    @on_loop
    async def test_a_load_can_be_cancelled(self, local_model: Any) -> None:
        """A cancelled load leaves the model as it was, or loaded; either way it answers."""
        await local_model.unload()
        task = asyncio.create_task(local_model.load())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await self.ask(local_model, self.questions(1)[0])

    @on_loop
    async def test_unload_lets_requests_end(self, local_model: Any) -> None:
        """A request in flight is answered, although the model is unloaded meanwhile."""
        question = self.questions(1)[0]
        expected = await self.ask(local_model, question)
        task = asyncio.create_task(self.ask(local_model, question))
        await asyncio.sleep(0)
        await local_model.unload()
        self.check_same(await task, expected)

    @on_loop
    async def test_progress_of_a_load_only_grows(self, local_model: Any) -> None:
        """A load reports to the loop that asked for it, and never goes back."""
        await local_model.unload()
        reports: list[Progress] = []
        threads = set()

        def note(progress: Progress) -> None:
            reports.append(progress)
            threads.add(threading.get_ident())

        await local_model.load(on_progress=note)
        await asyncio.sleep(0)
        furthest: dict[tuple[str, str], int] = {}
        for report in reports:
            assert isinstance(report, Progress)
            part = (report.stage, report.detail)
            assert report.done >= furthest.get(part, 0), f"progress went back: {reports}"
            assert report.total is None or report.done <= report.total, f"beyond its end: {report}"
            furthest[part] = report.done
        assert threads <= {threading.get_ident()}, "progress is reported on another thread"

    @on_loop
    async def test_unload_gives_memory_back(self, local_model: Any) -> None:
        """Most of what a load took is free after the unload."""
        question = self.questions(1)[0]
        # The first load brings the engine's library too, and that stays: the second one counts.
        await self.ask(local_model, question)
        await local_model.unload()
        # Models that were dropped close on threads of their own, and would be taken for this one.
        hardware.release_memory()
        _still_alive(_threads("blazen:"))
        for _ in range(3):  # other engines of this process may give memory back meanwhile
            before = self.memory_now()
            await local_model.load()
            await self.ask(local_model, question)
            loaded = self.memory_now()
            await local_model.unload()
            after = self.memory_now()
            assert not local_model.is_loaded
            took, gave = loaded - before, loaded - after
            is_anew = not self.holds_bytes or took * 2 >= self.holds_bytes
            if is_anew:
                break
        assert is_anew, (
            f"the second load took {took >> 20} MB for a model of {self.holds_bytes >> 20} MB: "
            "the unload before it gave nothing back"
        )
        assert took < self.memory_floor or gave * 2 >= took, (
            f"a load took {took >> 20} MB and its unload gave {gave >> 20} MB back"
        )

    @on_loop
    async def test_no_thread_survives_unload(self, local_model: Any) -> None:
        """The threads that a load brings end with the unload."""
        question = self.questions(1)[0]
        await local_model.unload()
        ours = _threads("blazen:")
        await self.ask(local_model, question)
        await local_model.unload()
        # An engine may start threads once for the whole process: so all are counted from here on.
        before = _threads("")
        await self.ask(local_model, question)
        await local_model.unload()
        left = (_threads("blazen:") - ours) | (_threads("") - before)
        alive = _still_alive(left)
        assert not alive, f"these threads outlive the unload: {alive}"

    @pytest.mark.parametrize("what", BROKEN_FILES)
    @on_loop
    async def test_broken_weights_are_refused(
        self, broken_model: Callable[[Path], Any] | None, tmp_path: Path, what: str
    ) -> None:
        """A file that holds no model is refused with the right error, and leaves nothing behind."""
        if broken_model is None:
            pytest.skip("there is no fixture 'broken_model' to make a model of a path")
        path = _broken_file(tmp_path, what)
        errors: tuple[type[BaseException], ...] = (LoadError, ModelNotFoundError, ValidationError)
        if what == "a missing file":
            errors = (ModelNotFoundError,)
        threads = _threads("blazen:")
        try:
            model = broken_model(path)
        except errors:
            return
        for request in (model.load, lambda: self.ask(model, self.questions(1)[0]), model.load):
            with pytest.raises(BlazenError) as refusal_at_load:
                await request()
            assert isinstance(refusal_at_load.value, errors), f"it was {refusal_at_load.value!r}"
            assert not model.is_loaded
        assert path.name in str(refusal_at_load.value), (
            f"the error does not name the file: {refusal_at_load.value}"
        )
        await model.unload()
        alive = _still_alive(_threads("blazen:") - threads)
        assert not alive, f"these threads outlive the failed load: {alive}"


def _resident() -> int:
    """Give this process's resident memory, but for its program and libraries.

    Their pages come and go as the system likes: it takes back those of tests that ran before.
    """
    if sys.platform != "linux":
        return hardware.rss_bytes()
    program = os.path.realpath(sys.executable)
    return sum(
        place.rss
        for place in psutil.Process().memory_maps()
        if place.path != program and ".so" not in Path(place.path).suffixes
    )


def _threads(prefix: str) -> set[threading.Thread]:
    """List the threads, but for those of the loops themselves and of blocking callers."""
    others = ("asyncio_", "blazen:blocking")
    return {
        thread
        for thread in threading.enumerate()
        if thread.name.startswith(prefix) and not thread.name.startswith(others)
    }


def _still_alive(threads: set[threading.Thread]) -> list[str]:
    """Name those that do not end, although they have time to."""
    end = time.monotonic() + THREAD_GRACE_SECONDS
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return sorted(thread.name for thread in threads if thread.is_alive())


def _broken_file(folder: Path, what: str) -> Path:
    path = folder / ("missing.gguf" if what == "a missing file" else "weights.gguf")
    if what == "a directory":
        path.mkdir()
    elif what == "an empty file":
        path.write_bytes(b"")
    elif what == "text":
        path.write_text("These are no weights.\n" * 100, encoding="utf-8")
    elif what == "noise":
        path.write_bytes(bytes((place * 167 + 13) % 251 for place in range(4096)))
    elif what == "a cut header":
        path.write_bytes(b"GGUF\x03\x00\x00\x00\xff\xff")
    return path
