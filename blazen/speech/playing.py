"""Sounds through the speakers, one after another and without a gap."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from typing import Any

from blazen.errors import UnsupportedError
from blazen.extras import need
from blazen.types.audio import Audio

# A block is what can't be taken back once it is handed to the speakers.
_BLOCK_SECONDS = 0.05
_WAITING = 4
"""How many sounds wait to be played: who makes them is held back for the listener."""


class Player:
    """Plays what it is given in a thread of its own, so that nobody waits for the speakers."""

    def __init__(self) -> None:
        try:
            self._device = need("sounddevice", extra="play", what="playing speech")
        except OSError as error:
            raise UnsupportedError(
                f"speech can't be played here: {error}; install PortAudio, or save it to a file"
            ) from error
        self._waiting: queue.SimpleQueue[Audio | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Semaphore(_WAITING)
        self._stopped = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="blazen-play", daemon=True)
        self._thread.start()

    async def add(self, sound: Audio) -> None:
        """Play this after what was added before; where playing has failed, raise why.

        It waits where some are waiting already.
        """
        await self._room.acquire()
        self._check()
        self._waiting.put(sound)

    async def finish(self) -> None:
        """Wait until all was heard."""
        self._waiting.put(None)
        await asyncio.to_thread(self._thread.join)
        self._check()

    def stop(self) -> None:
        """Fall silent at once, without waiting."""
        self._stopped = True
        self._waiting.put(None)

    def _check(self) -> None:
        if isinstance(self._error, self._device.PortAudioError):
            raise UnsupportedError(
                f"speech can't be played on this machine: {self._error}; save it to a file"
            ) from self._error
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._play()
        except Exception as error:  # noqa: BLE001 - it is raised where the player is used
            self._error = error
            self._make_room()

    def _take(self) -> Audio | None:
        sound = self._waiting.get()
        self._make_room()
        return sound

    def _make_room(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._room.release)

    def _play(self) -> None:
        first = self._take()
        if first is None:
            return
        rate, channels = first.sample_rate, first.channels
        out = self._device.OutputStream(samplerate=rate, channels=channels, dtype="float32")
        with out:  # opens the device, and gives it back
            sound: Audio | None = first
            while sound is not None and not self._stopped:
                samples = sound.to_samples(sample_rate=rate, channels=channels)
                self._write(out, samples, max(1, round(rate * _BLOCK_SECONDS)))
                sound = self._take() if not self._stopped else None
            if self._stopped:
                out.abort()  # `stop` would play what the device holds
            else:
                out.stop()

    def _write(self, out: Any, samples: Any, block: int) -> None:
        for start in range(0, len(samples), block):
            if self._stopped:
                return
            out.write(samples[start : start + block])
