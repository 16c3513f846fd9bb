"""Options of images with diffusers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from os import PathLike

from blazen.checks import check_choice, check_range, parse_bytes
from blazen.errors import ValidationError
from blazen.hardware import Device
from blazen.options.chat import LoraAdapter
from blazen.options.checks import check_place, check_target
from blazen.options.isolation import Isolated
from blazen.torch import check_dtype

OFFLOADS = ("auto", "none", "model", "sequential")


@dataclass(frozen=True)
class DiffusersOptions:
    """Images with any pipeline of diffusers, through torch."""

    model: str | PathLike[str]
    """A pipeline's folder, a hub id, or one safetensors file that holds it all."""
    _: KW_ONLY
    config: str | PathLike[str] | None = None
    """For a single file: the folder or hub id of a pipeline of its shape, of which the settings
    are taken; ``None`` finds it out and asks the hub."""
    variant: str | None = None
    """Which of several sets of weights to take, such as ``fp16``."""
    device: Device | str = "auto"
    dtype: str = "auto"
    """How to calculate: ``float32``, ``bfloat16`` or ``float16``; ``auto`` asks the hardware,
    and on a GPU the weights."""
    vae_dtype: str = "auto"
    """The same for the part that turns latents into pixels; ``auto`` is ``float32`` beside
    ``float16``, in which many overflow to black images, else as `dtype`."""
    scheduler: str | None = None
    """How the noise is taken away, by name (``ddim``, ``euler_a``, ``dpm++_2m_karras``, or a class
    of diffusers); ``None`` is the pipeline's own. A request may name another."""
    loras: Sequence[LoraAdapter | str | PathLike[str]] = ()
    """Adapters to apply: safetensors files, here or on the hub."""
    memory_budget: int | str | None = None
    """How much of the device's memory it may take: ``"6GiB"``. ``None`` is what is free there."""
    offload: str = "auto"
    """What waits in RAM for its turn on the GPU: nothing (``none``), each part that is not at work
    (``model``), or each layer (``sequential``, slow); ``auto`` follows from the budget."""
    attention_slicing: bool | None = None
    """Calculate attention in slices, slower and with less memory; ``None`` asks the budget."""
    vae_tiling: bool | None = None
    """Turn latents into pixels tile by tile, with less memory; ``None`` asks the budget."""
    batch_size: int = 1
    """How many images of a request to make at once. Above 1 a seed gives the very same image only
    in a batch of the same size."""
    previews: bool | None = None
    """Show each step while an image is made. ``None`` shows them where the pipeline has no safety
    checker: what that would withhold could be seen in them."""
    allow_pickle: bool = False
    """Load weights that are pickles too (``.bin``, ``.ckpt``): only from who may run code here."""
    threads: int | None = None
    cache_dir: str | PathLike[str] | None = None
    isolation: Isolated = None
    """``"process"`` runs it in a process of its own; an `Isolation` says more of it."""

    def __post_init__(self) -> None:
        check_target("model", self.model)
        if self.config is not None:
            check_target("config", self.config)
        check_dtype(self.dtype)
        check_dtype(self.vae_dtype)
        check_choice("offload", self.offload, OFFLOADS)
        check_range("batch_size", self.batch_size, at_least=1, integer=True)
        if self.memory_budget is not None:
            parse_bytes("memory_budget", self.memory_budget)
        if isinstance(self.loras, (str, PathLike)):
            raise ValidationError(f"loras is a list of adapters, not {self.loras!r:.80}")
        adapters = tuple(_adapter(one) for one in self.loras)
        object.__setattr__(self, "loras", adapters)
        check_place(self.device, self.threads)

    @property
    def budget_bytes(self) -> int | None:
        """The budget as a number."""
        if self.memory_budget is None:
            return None
        return parse_bytes("memory_budget", self.memory_budget)


def _adapter(given: LoraAdapter | str | PathLike[str]) -> LoraAdapter:
    if isinstance(given, LoraAdapter):
        return given
    if not isinstance(given, (str, PathLike)):
        raise ValidationError(
            "each of loras is a path, a hub id with a file or a URL, or with how strongly it is "
            f"applied LoraAdapter('style.safetensors', 0.6), not {given!r:.80}"
        )
    return LoraAdapter(given)
