"""Opening what llama.cpp runs: a model's weights, a context to think in, adapters."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from blazen.errors import LoadError, UnsupportedError
from blazen.hardware import Device
from blazen.types.progress import OnProgress, Progress
from blazen_llamacpp.library import captured_errors, load_library, words

_SPLIT_NONE = 0
_adapters = threading.Lock()  # a model keeps a list of its adapters, which is for one thread
_GPUS = {"CUDA": "cuda", "MTL": "metal", "METAL": "metal"}


def supported_devices() -> list[str]:
    """Give the kinds of devices that this build of llama.cpp was compiled for."""
    library = load_library()
    supported = ["cpu"]
    if library.llama_supports_gpu_offload():
        built = library.llama_print_system_info().decode("utf-8", "replace").upper()
        supported += {kind for name, kind in _GPUS.items() if f"{name} :" in built}
    return supported


@contextlib.contextmanager
def explained_build() -> Iterator[None]:
    """Say how to get a build with a GPU, where one is asked for that has none."""
    try:
        yield
    except UnsupportedError as error:
        if load_library().llama_supports_gpu_offload():
            raise
        raise UnsupportedError(
            f"{error}. This llama-cpp-python was compiled for the CPU alone: to use a GPU, install "
            "it anew with CMAKE_ARGS='-DGGML_CUDA=on' (or -DGGML_METAL=on)"
        ) from error


def open_model(
    path: Path,
    *,
    device: Device,
    gpu_layers: int,
    memory_map: bool = True,
    report: OnProgress = lambda progress: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Any:
    """Load the weights; a file that llama.cpp refuses is a `LoadError` with its own words."""
    library = load_library()
    params = library.llama_model_default_params()
    params.load_mode = library.LLAMA_LOAD_MODE_MMAP if memory_map else library.LLAMA_LOAD_MODE_NONE
    no_devices = (ctypes.c_void_p * 1)(None)
    if device == Device.Cpu:
        params.n_gpu_layers = 0
        params.devices = ctypes.cast(no_devices, ctypes.c_void_p)  # else a GPU gets its context
    else:
        params.n_gpu_layers = gpu_layers
        params.split_mode = _SPLIT_NONE
        params.main_gpu = device.index or 0
    size = path.stat().st_size

    def progress(done: float, _: Any) -> bool:
        report(Progress("load", int(done * size), size, detail=path.name))
        return not cancelled()

    params.progress_callback = library.llama_progress_callback(progress)
    with captured_errors() as errors:
        model = library.llama_model_load_from_file(str(path).encode(), params)
    if model is None:
        if cancelled():
            raise LoadError(f"loading {path.name} was stopped")
        raise LoadError(f"llama.cpp could not load {path}: {words(errors)}")
    return model


def open_context(model: Any, path: Path, **settings: Any) -> Any:
    """Give a context of a model, with fields of ``llama_context_params`` set as named."""
    library = load_library()
    params = library.llama_context_default_params()
    for name, value in settings.items():
        getattr(params, name)  # a field that this version lacks would be set without effect
        setattr(params, name, value)
    with captured_errors() as errors:
        context = library.llama_init_from_model(model, params)
    if context is None:
        raise LoadError(
            f"llama.cpp could not make a context of {settings.get('n_ctx')} tokens for "
            f"{path.name}: {words(errors)}; ask for a shorter context_length, or another kv_type"
        )
    return context


def kv_settings(kv_types: tuple[str, str], flash_attention: bool | None) -> dict[str, Any]:
    """Give the fields of a context that say how keys and values are kept."""
    library = load_library()
    keys, values = (getattr(library, f"GGML_TYPE_{kind.upper()}") for kind in kv_types)
    flash = -1 if flash_attention is None else int(flash_attention)
    return {"type_k": keys, "type_v": values, "flash_attn_type": flash}


def open_adapter(model: Any, path: Path) -> Any:
    """Load a LoRA adapter; it is freed with its model, if not before."""
    library = load_library()
    with captured_errors() as errors, _adapters:
        adapter = library.llama_adapter_lora_init(model, str(path).encode())
    if not adapter:
        raise LoadError(f"llama.cpp could not load the adapter {path}: {words(errors)}")
    return adapter


def close_adapters(adapters: Sequence[tuple[Any, float]]) -> None:
    """Free adapters that no context uses any more."""
    for adapter, _ in adapters:
        with _adapters:
            load_library().llama_adapter_lora_free(adapter)


def apply_adapters(context: Any, adapters: Sequence[tuple[Any, float]]) -> None:
    """Have a context use these adapters, each with its scale, and no others."""
    library = load_library()
    count = len(adapters)
    pointers = (library.llama_adapter_lora_p_ctypes * count)(
        *(ctypes.cast(adapter, library.llama_adapter_lora_p_ctypes) for adapter, _ in adapters)
    )
    scales = (ctypes.c_float * count)(*(scale for _, scale in adapters))
    with captured_errors() as errors:
        failed = library.llama_set_adapters_lora(context, pointers, count, scales)
    if failed:
        raise LoadError(f"llama.cpp could not apply the adapters: {words(errors)}")
