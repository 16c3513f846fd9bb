"""What the backends of fastembed's other kinds share: finding a model and opening it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from blazen.bridge import Job
from blazen.errors import BlazenError, LoadError
from blazen.hardware import Device, choose_device
from blazen.local import FixedThreads, LocalBackend
from blazen.onnx import expect_device, providers, supported_devices
from blazen.types.footprint import Footprint
from blazen.types.progress import OnProgress, Progress
from blazen_fastembed.offered import Found, find
from blazen_fastembed.room import pass_footprint, room_for
from blazen_fastembed.size import Limits

E = TypeVar("E")

TEXT_FILES = ("tokenizer.json", "tokenizer_config.json")
"""What a folder needs for a model that reads texts."""


class OfferedBackend(FixedThreads, LocalBackend[E]):
    """A model of one of fastembed's kinds.

    A subclass says which kind that is, and makes its own engine of what fastembed opens.
    """

    engine = "fastembed"
    needed: ClassVar[Sequence[str]] = TEXT_FILES
    """The files that a folder needs beside its ONNX file."""

    def _offer(self) -> Any:
        """Give fastembed's class for the kind."""
        raise NotImplementedError

    def _like(self, folder: Path) -> str:
        """Say which known model a folder is built like."""
        raise NotImplementedError

    def _prepared(self, model: Any, found: Found) -> E:
        """Make the engine of a model that is open."""
        raise NotImplementedError

    def _work(self, found: Found) -> int:
        """Say how many bytes the largest pass takes."""
        raise NotImplementedError

    def _limits(self, device: Device) -> Limits:
        return Limits.of(device, self.threads, self.options.max_batch_size)

    def _text_work(self, longest: int, text_bytes: Callable[[int], int]) -> int:
        room = room_for(self._limits(Device.Cpu), longest, text_bytes)
        return room * text_bytes(longest)

    def _find(self, job: Job, report: OnProgress) -> Found:
        return find(
            self._offer(),
            self.options.model_name,
            job,
            report,
            like=self._like,
            given=getattr(self.options, "like", None),
            needed=self.needed,
            cache_dir=self.options.cache_dir,
        )

    def _open(self, job: Job, report: OnProgress) -> E:
        self._device = choose_device(self.options.device, supported=supported_devices())
        found = self._find(job, report)
        report(Progress("load", 0, 1, unit="models", detail=found.name))
        try:
            model = self._opened(found)
            engine = self._prepared(model, found)
        except BlazenError:
            raise
        except Exception as error:
            raise LoadError(f"fastembed could not load {found.folder}: {error}") from error
        report(Progress("load", 1, 1, unit="models", detail=found.name))
        return engine

    def _opened(self, found: Found) -> Any:
        # It would make a folder of its own among the temporary files, but for cache_dir=.
        model = self._offer()(
            found.name,
            cache_dir=str(found.folder),
            threads=self._take_threads(),
            providers=providers(self._device),
            lazy_load=True,
            specific_model_path=str(found.folder),
        ).model
        # A folder may call its ONNX file otherwise than the model that it is built like.
        model.model_description = dataclasses.replace(
            model.model_description, model_file=found.file
        )
        model.load_onnx_model()
        expect_device(model.model, self._device)
        return model

    def _footprint(self, job: Job) -> Footprint | None:
        if choose_device(self.options.device, supported=supported_devices()) != Device.Cpu:
            return None  # cuDNN takes what it likes; nothing was measured there
        found = self._find(job, lambda progress: None)
        return pass_footprint(found, self._work(found))
