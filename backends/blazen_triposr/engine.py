"""A loaded network: its tensors on their device, and what it makes of a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from blazen import torch as shared
from blazen.bridge import Job
from blazen.errors import LoadError
from blazen.hardware import Device
from blazen.types.progress import OnProgress, Progress
from blazen_triposr.encoder import encode
from blazen_triposr.field import Field
from blazen_triposr.files import ModelFiles, read_tensors
from blazen_triposr.names import VIT, Encoder, check_shapes, read_encoder
from blazen_triposr.pace import Pace
from blazen_triposr.parts import Part, no_numbers
from blazen_triposr.settings import Settings, read_settings
from blazen_triposr.triplane import transform, upsample

if TYPE_CHECKING:
    from torch import Tensor

    from blazen_triposr.background import Cutter

_ROWS = 256
"""Tokens that go through a layer at once on a CPU: some 70 ms of one core, at the usual size."""
_PAGE = 4096


@dataclass
class Engine:
    """A loaded network."""

    name: str
    settings: Settings
    encoder: Encoder
    tensors: dict[str, Tensor]
    device: torch.device
    dtype: torch.dtype
    threads: int
    cutter: Cutter | None = None
    """What takes the background away, where the options name it."""

    def field(self, pixels: Tensor, pace: Pace) -> Field:
        """Make the volume of a picture: pixels of shape (1, 3, side, side), normalised."""
        part = Part(self.tensors)
        embeddings = part["tokenizer.embeddings"]
        rows = _ROWS if self.device.type == "cpu" else embeddings[:, 0].numel()
        pace.begin("encode", self.encoder.layers)
        context = encode(
            part.within(VIT),
            pixels.to(self.device, self.dtype),
            layers=self.encoder.layers,
            heads=self.encoder.heads,
            rows=rows,
            pace=pace,
        )
        pace.begin("triplane", self.settings.layers)
        planes = transform(
            part.within("backbone"),
            embeddings,
            context,
            self.settings,
            rows=rows,
            pace=pace,
        )
        planes = upsample(part.within("post_processor.upsample"), planes)
        if not torch.isfinite(planes).all():
            raise no_numbers(self.dtype)
        return Field(planes, part.within("decoder"), self.settings)


def open_engine(
    name: str,
    files: ModelFiles,
    device: Device,
    dtype: str,
    *,
    threads: int,
    job: Job,
    report: OnProgress,
) -> Engine:
    """Load a network, without a second copy of its weights at any time."""
    settings = read_settings(files.config)
    tensors = read_tensors(files.weights)
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    encoder = read_encoder(shapes, settings, files.weights)
    check_shapes(shapes, settings, encoder, files.weights)
    if encoder.channels != settings.context_channels:
        raise LoadError(
            f"{files.weights}: the encoder gives {encoder.channels} channels, and config.yaml "
            f"expects {settings.context_channels}"
        )
    place, kind = shared.torch_device(device), shared.pick_dtype(device, dtype)
    total, done = sum(tensor.nbytes for tensor in tensors.values()), 0
    for key in list(tensors):
        if job.cancelled:
            raise LoadError(f"{name}: loading was stopped")
        report(Progress("load", done, total, detail=name))
        done += tensors[key].nbytes
        tensors[key] = _placed(tensors[key], place, kind)
    report(Progress("load", total, total, detail=name))
    return Engine(name, settings, encoder, tensors, place, kind, threads)


def _placed(tensor: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Bring a tensor to its place; where it has not to change, it stays the file's mapped bytes."""
    placed = tensor.to(device=device, dtype=dtype)
    if placed is tensor and tensor.is_contiguous():
        # A byte of each page: so the file is read now, and not in the middle of the first request.
        tensor.view(-1)[:: _PAGE // tensor.element_size()].sum()
    return placed
