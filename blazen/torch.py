"""What backends on torch share: one place for devices, number types, threads and memory.

torch is imported inside the functions, never with this module.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from typing import TYPE_CHECKING

from blazen import hardware
from blazen.checks import check_choice
from blazen.errors import UnsupportedError
from blazen.hardware import Device

if TYPE_CHECKING:
    import torch

construction = threading.Lock()
"""Held while a library builds modules: several patch torch for the whole process meanwhile, and
what another thread then builds is left without its weights."""

DTYPES = {
    "float32": "float32",
    "fp32": "float32",
    "float16": "float16",
    "fp16": "float16",
    "bfloat16": "bfloat16",
    "bf16": "bfloat16",
}
"""The number types that options name, and torch's own names for them."""

_LIBRARIES = {"torch": 300 << 20, "diffusers": 400 << 20, "triposr": 100 << 20}
"""What libraries take of a process: torch, diffusers with transformers, what is imported beside the
network of TripoSR."""
_first: dict[str, weakref.ref[object]] = {}

_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


def check_dtype(dtype: str) -> None:
    """Refuse what names no number type."""
    check_choice("dtype", dtype, ("auto", *DTYPES))


def pick_device(wanted: str | Device | None, *, needs: int | None = None) -> Device:
    """Turn a wish into a device that the installed torch can use."""
    supported = supported_devices()
    try:
        return hardware.choose_device(wanted, needs=needs, supported=supported)
    except UnsupportedError as error:
        if supported != ["cpu"]:
            raise
        raise UnsupportedError(
            f"{error}; the torch that is installed sees no GPU: a build for its driver is needed"
        ) from error


def supported_devices() -> list[str]:
    """Give the kinds of device that the installed torch can use here."""
    import torch

    found = ["cpu"]
    if torch.cuda.is_available():
        found.append("cuda")
    if torch.backends.mps.is_available():
        found.append("metal")
    return found


def torch_device(device: Device) -> torch.device:
    """Give torch's own name of a chosen device."""
    import torch

    if device.kind == "metal":
        return torch.device("mps")
    if device.kind == "cuda":
        return torch.device("cuda", device.index or 0)
    return torch.device("cpu")


def dtype_name(device: Device, dtype: str = "auto") -> str:
    """Give the name of the number type; ``auto`` is half precision on a GPU and full on a CPU."""
    check_dtype(dtype)
    if dtype == "auto":
        return "float16" if device.is_gpu else "float32"
    return DTYPES[dtype]


def dtype_bytes(device: Device, dtype: str = "auto") -> int:
    """Say how many bytes a number takes."""
    return _BYTES[dtype_name(device, dtype)]


def pick_dtype(device: Device, dtype: str = "auto") -> torch.dtype:
    """Give the number type that a model calculates in."""
    import torch

    found: torch.dtype = getattr(torch, dtype_name(device, dtype))
    return found


def use_threads(threads: int) -> None:
    """Have torch calculate with so many threads, in what this thread runs from here on."""
    import torch

    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def bring(model: object, *libraries: str) -> None:
    """Note that a model is loaded, and its libraries with it, where none has brought them yet."""
    for library in libraries:
        _first.setdefault(library, weakref.ref(model))


def library_bytes(model: object, *libraries: str) -> int:
    """Count what the libraries take that come with a model: they are in the process once.

    Until one that needs them is loaded they count for each; then for that one, and for no other.
    """
    counted = [one for one in libraries if one not in _first or _first[one]() is model]
    return sum(_LIBRARIES[one] for one in counted)


def grow_in_place() -> None:
    """Have what torch holds of a GPU grow and shrink in place, for the whole process.

    It would keep a piece of each size that was ever needed, and hold a third more than is in use
    where sizes rise step by step. Who has set ``PYTORCH_ALLOC_CONF`` keeps what was set.
    """
    names = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF")
    if sys.platform != "linux" or any(os.environ.get(name) for name in names):
        return
    import torch

    for owner, name in (
        (torch._C, "_accelerator_setAllocatorSettings"),
        (torch.cuda.memory, "_set_allocator_settings"),  # before torch 2.9
    ):
        change = getattr(owner, name, None)
        if change is not None:
            change("expandable_segments:True")
            return


def release() -> None:
    """Give freed memory back, a GPU's too: torch keeps what it had for later."""
    hardware.release_memory()
    torch = sys.modules.get("torch")
    if torch is None:
        return
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether torch failed because there was too little memory, of whichever device."""
    if isinstance(error, MemoryError):
        return True
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        return True
    # The CPU's allocator and Metal's raise what anything else does.
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        words in text for words in ("out of memory", "not enough memory", "can't allocate memory")
    )
