"""`ThreeD` on TripoSR."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from blazen import torch as shared
from blazen.bridge import Job, StreamJob, StreamReader
from blazen.errors import UnsupportedError, ValidationError
from blazen.local import FixedThreads, LocalBackend
from blazen.options.triposr import TripoSrOptions
from blazen.protocols.three_d import ThreeD
from blazen.types.footprint import Footprint
from blazen.types.generation import MeshChunk, MeshOptions, MeshStream
from blazen.types.image import Image
from blazen.types.progress import OnProgress
from blazen.weights.locate import locate
from blazen_triposr.files import ModelFiles, model_files

if TYPE_CHECKING:
    from blazen_triposr.engine import Engine


class TripoSr(FixedThreads, LocalBackend["Engine"], ThreeD):
    """TripoSR, from a folder or the hub: a mesh of what one picture shows."""

    Options = TripoSrOptions
    engine = "torch"
    options: TripoSrOptions

    def image_to_mesh_stream(self, image: Any, options: MeshOptions | None = None) -> MeshStream:
        """Make a mesh of an image, and tell of each step on the way.

        The stages are ``prepare``, ``encode``, ``triplane``, ``query``, ``surface``, ``color`` or
        ``texture``, and ``mesh``, which brings it.
        """
        picture, chosen = Image.of(image), MeshOptions.of(options)
        if chosen.remove_background and self.options.background_model is None:
            raise UnsupportedError(
                "remove_background needs a network that finds the object: name one in "
                "TripoSrOptions(background_model='u2net.onnx'), or give an image whose background "
                "is transparent"
            )

        async def start() -> StreamReader[MeshChunk]:
            return await self._source(_make, picture, chosen, self.options)

        return MeshStream(start)

    def _open(self, job: Job, report: OnProgress) -> Engine:
        from blazen_triposr.engine import open_engine

        self._device = shared.pick_device(self.options.device)
        files = self._fetch(job, report)
        shared.bring(self, "torch", "triposr")
        threads = self._take_threads()
        shared.use_threads(threads)
        engine = open_engine(
            self._title(),
            files,
            self._device,
            self.options.dtype,
            threads=threads,
            job=job,
            report=report,
        )
        if self.options.background_model is not None:
            from blazen_triposr.background import Cutter

            engine.cutter = Cutter(self._background(job, report), threads)
        return engine

    @staticmethod
    def _close(engine: Engine) -> None:
        engine.tensors.clear()
        shared.release()

    def _footprint(self, job: Job) -> Footprint | None:
        from blazen_triposr.size import network_footprint

        device = shared.pick_device(self.options.device)
        files = self._fetch(job, lambda progress: None)
        extra = 0
        if self.options.background_model is not None:
            extra = self._background(job, lambda progress: None).stat().st_size
        libraries = shared.library_bytes(self, "torch", "triposr")
        return network_footprint(files, device, self.options.dtype, extra, libraries=libraries)

    def _fetch(self, job: Job, report: OnProgress) -> ModelFiles:
        return model_files(
            self.options.model,
            cache_dir=self.options.cache_dir,
            on_progress=report,
            cancelled=lambda: job.cancelled,
        )

    def _background(self, job: Job, report: OnProgress) -> Path:
        assert self.options.background_model is not None
        path = locate(
            self.options.background_model,
            cache_dir=self.options.cache_dir,
            on_progress=report,
            cancelled=lambda: job.cancelled,
        )
        if not path.is_file():
            raise ValidationError(f"{path} is a folder: background_model= names one ONNX file")
        return path


def _make(
    engine: Engine,
    job: StreamJob[MeshChunk],
    image: Image,
    options: MeshOptions,
    settings: TripoSrOptions,
) -> None:
    from blazen_triposr.making import make

    make(engine, job, image, options, settings.axes)
