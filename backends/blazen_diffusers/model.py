"""`ImageGeneration` on diffusers."""

from __future__ import annotations

from blazen import torch as blazen_torch
from blazen.bridge import Job
from blazen.errors import LoadError
from blazen.extras import need
from blazen.hardware import Device
from blazen.local import FixedThreads, LocalBackend
from blazen.options import LoraAdapter
from blazen.options.diffusers import DiffusersOptions
from blazen.protocols.image import ImageGeneration
from blazen.types.footprint import Footprint
from blazen.types.generation import ImageOptions, ImageResponse, ImageStream, as_prompt
from blazen.types.progress import OnProgress, Progress
from blazen_diffusers.drawing import draw
from blazen_diffusers.engine import Engine
from blazen_diffusers.files import PipelineFiles, adapter_file, pipeline_files, stored_type
from blazen_diffusers.index import Fetching
from blazen_diffusers.opening import open_pipeline
from blazen_diffusers.plan import Sizes, choose_plan
from blazen_diffusers.precision import number_types
from blazen_diffusers.size import pipeline_footprint, pipeline_sizes


class DiffusersImages(FixedThreads, LocalBackend[Engine], ImageGeneration):
    """A pipeline of diffusers: from a folder, a hub id or a single file."""

    Options = DiffusersOptions
    engine = "diffusers"
    loads_alone = "torch"
    """Modules of torch are built one model at a time; a manager keeps to it."""
    options: DiffusersOptions

    def generate_stream(self, prompt: str, options: ImageOptions | None = None) -> ImageStream:
        """Make images step by step, with a small preview at each step."""
        return self._stream(prompt, options, with_previews=True)

    async def generate(self, prompt: str, options: ImageOptions | None = None) -> ImageResponse:
        """Make images."""
        return await self._stream(prompt, options, with_previews=False).collect()

    def _stream(
        self, prompt: str, options: ImageOptions | None, *, with_previews: bool
    ) -> ImageStream:
        asked, chosen = as_prompt(prompt), ImageOptions.of(options)
        return ImageStream(lambda: self._source(draw, asked, chosen, with_previews))

    def _open(self, job: Job, report: OnProgress) -> Engine:
        need("accelerate", extra="diffusers", what="loading a pipeline without a second copy")
        blazen_torch.use_threads(self._take_threads())
        files = self._fetch(job, report)
        device = blazen_torch.pick_device(self.options.device)
        if device.kind == "cuda":
            blazen_torch.grow_in_place()
        fetching = self._fetching(job, report)
        adapters = [
            (adapter_file(one.path, fetching), one.scale)
            for one in self.options.loras
            if isinstance(one, LoraAdapter)
        ]
        if job.cancelled:
            raise LoadError(f"{self._title()}: loading was stopped")
        self._device = device
        blazen_torch.bring(self, "torch", "diffusers")
        plan = choose_plan(
            self.options,
            self._sizes(files, device),
            on_gpu=device.kind == "cuda",
            free=_free(device),
        )
        report(Progress("load", 0, 1, unit="models", detail=self._title()))
        engine = open_pipeline(self._title(), files, self.options, device, plan, adapters, job)
        if job.cancelled:
            engine.close()
            raise LoadError(f"{self._title()}: loading was stopped")
        report(Progress("load", 1, 1, unit="models", detail=self._title()))
        return engine

    @staticmethod
    def _close(engine: Engine) -> None:
        engine.close()

    def _footprint(self, job: Job) -> Footprint | None:
        files = self._fetch(job, lambda progress: None)
        device = blazen_torch.pick_device(self.options.device)
        sizes = self._sizes(files, device)
        plan = choose_plan(self.options, sizes, on_gpu=device.kind == "cuda")
        libraries = blazen_torch.library_bytes(self, "torch", "diffusers")
        return pipeline_footprint(sizes, plan, device, libraries=libraries)

    def _sizes(self, files: PipelineFiles, device: Device) -> Sizes:
        dtype, vae_dtype = number_types(self.options, device, stored_type(files))
        return pipeline_sizes(
            files,
            device,
            dtype=dtype,
            vae_dtype=vae_dtype,
            batch_size=self.options.batch_size,
        )

    def _fetch(self, job: Job, report: OnProgress) -> PipelineFiles:
        return pipeline_files(
            self.options.model,
            self._fetching(job, report),
            config=self.options.config,
            variant=self.options.variant,
            allow_pickle=self.options.allow_pickle,
        )

    def _fetching(self, job: Job, report: OnProgress) -> Fetching:
        return Fetching(self.options.cache_dir, report, lambda: job.cancelled)


def _free(device: Device) -> int | None:
    """Say how much a GPU has free; RAM is shared with all that runs, and paged out at need."""
    if device.kind != "cuda":
        return None
    import torch

    free: int = torch.cuda.mem_get_info(device.index or 0)[0]
    return free
