"""Options of meshes with TripoSR."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from os import PathLike
from typing import Literal

from blazen.checks import check_choice
from blazen.hardware import Device
from blazen.options.checks import check_place, check_target
from blazen.options.isolation import Isolated
from blazen.torch import check_dtype


@dataclass(frozen=True)
class TripoSrOptions:
    """Meshes with TripoSR, on torch."""

    model: str | PathLike[str] = "stabilityai/TripoSR"
    """A folder with ``config.yaml`` and ``model.ckpt`` or ``model.safetensors``, or a hub id."""
    _: KW_ONLY
    background_model: str | PathLike[str] | None = None
    """What finds the object where a request says ``remove_background``: a U²-Net as ONNX."""
    axes: Literal["gltf", "raw"] = "gltf"
    """``gltf`` has y up and the viewer at +z; ``raw`` is the network's: z up, the viewer at +x."""
    device: Device | str = "auto"
    dtype: str = "auto"
    """``float32``, ``float16`` or ``bfloat16``; ``auto`` is float16 on a GPU, float32 on a CPU."""
    threads: int | None = None
    cache_dir: str | PathLike[str] | None = None
    isolation: Isolated = None
    """``"process"`` runs it in a process of its own; an `Isolation` says more of it."""

    def __post_init__(self) -> None:
        check_target("model", self.model)
        if self.background_model is not None:
            check_target("background_model", self.background_model)
        check_choice("axes", self.axes, ("gltf", "raw"))
        check_dtype(self.dtype)
        check_place(self.device, self.threads)
