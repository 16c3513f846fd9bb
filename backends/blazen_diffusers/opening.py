"""Loading a pipeline: no second copy, no pickle, and what is wrong with it shows at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from blazen import torch as blazen_torch
from blazen.bridge import Job
from blazen.errors import LoadError, MissingExtraError, UnsupportedError
from blazen.hardware import Device
from blazen.options.diffusers import DiffusersOptions
from blazen.weights.safetensors import read_safetensors
from blazen_diffusers.engine import Engine, log
from blazen_diffusers.files import PipelineFiles, stored_type
from blazen_diffusers.plan import TILE_SIDE, Plan
from blazen_diffusers.precision import number_types, set_apart
from blazen_diffusers.previews import Previews
from blazen_diffusers.quiet import hushed, quiet
from blazen_diffusers.schedulers import fresh_scheduler

_PAGE = 4096


@hushed()
def open_pipeline(
    title: str,
    files: PipelineFiles,
    options: DiffusersOptions,
    device: Device,
    plan: Plan,
    adapters: list[tuple[Path, float]],
    job: Job,
) -> Engine:
    """Load a pipeline onto its device; ``title`` is what messages call it."""
    import torch

    dtype, vae_dtype = number_types(options, device, stored_type(files))
    with blazen_torch.construction, quiet():
        if job.cancelled:
            raise LoadError(f"{title}: loading was stopped")
        pipeline = _loaded(title, files, getattr(torch, dtype), getattr(torch, vae_dtype))
    _check(title, pipeline)
    pipeline.set_progress_bar_config(disable=True)
    if vae_dtype != dtype and getattr(pipeline, "vae", None) is not None:
        pipeline.vae.to(getattr(torch, vae_dtype))  # from a single file it comes as the others do
        set_apart(pipeline.vae, getattr(torch, dtype))
    if job.cancelled:
        raise LoadError(f"{title}: loading was stopped")
    for number, (path, _) in enumerate(adapters):
        _adapt(title, pipeline, path, f"adapter_{number}")
    if adapters:
        names = [f"adapter_{number}" for number in range(len(adapters))]
        pipeline.set_adapters(names, [scale for _, scale in adapters])
    where = blazen_torch.torch_device(device)
    if not device.is_gpu or plan.offload != "none":
        _read_in(title, pipeline, job)
    _place(pipeline, where, plan)
    own = getattr(pipeline, "scheduler", None)
    if own is None and options.scheduler is not None:
        raise UnsupportedError(f"{title} has no scheduler that could be another")
    if own is not None:
        fresh_scheduler(own, options.scheduler)
    log.info("%s is a %s in %s on %s: %s", title, type(pipeline).__name__, dtype, device, plan)
    return Engine(
        title,
        pipeline,
        options.scheduler,
        where,
        plan,
        options.batch_size,
        Previews(pipeline, wanted=options.previews),
        own,
    )


def _loaded(title: str, files: PipelineFiles, dtype: Any, vae_dtype: Any) -> Any:
    from diffusers import DiffusionPipeline

    if files.is_single:
        return _loaded_single(title, files, dtype)
    return DiffusionPipeline.from_pretrained(
        str(files.path),
        use_safetensors=None if files.pickles else True,
        variant=files.variant,
        low_cpu_mem_usage=True,
        local_files_only=True,
        dtype={"default": dtype, "vae": vae_dtype},
    )


def _loaded_single(title: str, files: PipelineFiles, dtype: Any) -> Any:
    cls = _single_class(files)
    given = {}
    if files.checker is not None:
        # diffusers leaves it out of a single file without a word, whatever the settings say.
        given["safety_checker"] = _checker(files.checker, dtype)
    pipeline = cls.from_single_file(
        str(files.path), config=str(files.config), local_files_only=True, dtype=dtype, **given
    )
    if files.checker is not None and pipeline.safety_checker is None:
        raise LoadError(f"{title} was left without the safety checker in {files.checker}")
    return pipeline


def _checker(folder: Path, dtype: Any) -> Any:
    from diffusers import pipelines
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline

    library, name = DiffusionPipeline.load_config(str(folder.parent))[folder.name]
    cls = getattr(getattr(pipelines, library), name)
    return cls.from_pretrained(
        str(folder), local_files_only=True, use_safetensors=True, dtype=dtype
    )


def _single_class(files: PipelineFiles) -> Any:
    import diffusers

    if files.config is None:
        raise LoadError(
            f"{files.path.name} holds weights only: give config= with the folder, or the hub id, "
            "of a pipeline of its shape"
        )
    name = str(diffusers.DiffusionPipeline.load_config(str(files.config))["_class_name"])
    cls = getattr(diffusers, name, None)
    if cls is None or not hasattr(cls, "from_single_file"):
        raise UnsupportedError(
            f"{name}, which {files.config} describes, is not loaded from a single file: take its "
            "folder"
        )
    return cls


def _check(title: str, pipeline: Any) -> None:
    import torch

    for name, part in pipeline.components.items():
        if not isinstance(part, torch.nn.Module):
            continue
        empty = [key for key, value in part.state_dict().items() if value.is_meta]
        if empty:
            raise LoadError(
                f"{title}: the {name} was left without {len(empty)} of its weights, such as "
                f"{empty[0]!r}"
            )


def _adapt(title: str, pipeline: Any, path: Path, name: str) -> None:
    if not hasattr(pipeline, "load_lora_weights"):
        raise UnsupportedError(f"{title} ({type(pipeline).__name__}) takes no adapters")
    try:
        import peft
    except ModuleNotFoundError as error:
        if error.name != "peft":
            raise
        raise MissingExtraError("adapters need 'peft': pip install 'blazen[diffusers]'") from error
    del peft
    try:
        with blazen_torch.construction, quiet():
            pipeline.load_lora_weights(
                str(path.parent),
                weight_name=path.name,
                adapter_name=name,
                use_safetensors=True,
                local_files_only=True,
            )
    except Exception as error:
        raise LoadError(f"the adapter {path} does not fit {title}: {error}") from error
    taken = {one for names in pipeline.get_list_adapters().values() for one in names}
    if name not in taken:
        keys = [tensor.name for tensor in read_safetensors(path).tensors[:2]]
        raise LoadError(
            f"the adapter {path} changes nothing in {title}: its tensors ({', '.join(keys)}, …) "
            "are for another model"
        )


def _read_in(title: str, pipeline: Any, job: Job) -> None:
    """Read what stays in RAM: only mapped, it would not come before the first request."""
    import torch

    for part in pipeline.components.values():
        if not isinstance(part, torch.nn.Module):
            continue
        for tensor in (*part.parameters(), *part.buffers()):
            if job.cancelled:
                raise LoadError(f"{title}: loading was stopped")
            if tensor.is_contiguous():
                tensor.detach().view(-1)[:: max(1, _PAGE // tensor.element_size())].sum()


def _place(pipeline: Any, device: Any, plan: Plan) -> None:
    if plan.offload == "sequential":
        pipeline.enable_sequential_cpu_offload(device=device)
    elif plan.offload == "none":
        pipeline.to(device)
    if plan.slicing and hasattr(pipeline, "enable_attention_slicing"):
        pipeline.enable_attention_slicing()
    vae: Any = getattr(pipeline, "vae", None)
    if hasattr(vae, "enable_slicing"):
        # One image after the other: a batch is decoded as quickly, in the memory of one.
        vae.enable_slicing()
    if plan.tiling and hasattr(vae, "enable_tiling"):
        vae.enable_tiling()
        _set_tiles(vae)


def _set_tiles(vae: Any) -> None:
    """Make tiles as small as those that save memory: many models come with whole images for one."""
    side, latents = (getattr(vae, f"tile_{what}_min_size", None) for what in ("sample", "latent"))
    if isinstance(side, int) and isinstance(latents, int) and side > TILE_SIDE:
        vae.tile_sample_min_size = TILE_SIDE
        vae.tile_latent_min_size = max(1, latents * TILE_SIDE // side)
