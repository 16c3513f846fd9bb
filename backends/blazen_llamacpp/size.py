"""What a model takes of each pool, with all that its options ask for."""

from __future__ import annotations

from collections.abc import Callable

from blazen.hardware import Device
from blazen.options import LlamaCppOptions
from blazen.types.footprint import Footprint, total
from blazen.weights.gguf import read_gguf
from blazen.weights.gguf_files import locate_gguf
from blazen.weights.gguf_footprint import gguf_footprint
from blazen.weights.locate import locate
from blazen_llamacpp.loading import explained_build, supported_devices
from blazen_llamacpp.opening import as_adapter, find_model, shape_of, sizes_of

OVERHEAD = 44 << 20
"""The library's code, its records, NumPy, Python's own: 20 to 34 MiB were measured."""


def loaded_footprint(options: LlamaCppOptions, cancelled: Callable[[], bool]) -> Footprint:
    """Say what all that the options ask for will take; the files are fetched first."""
    gguf = read_gguf(find_model(options, lambda progress: None, cancelled))
    sizes = sizes_of(options, gguf)
    beside = sum(
        locate(as_adapter(given).path, cache_dir=options.cache_dir, cancelled=cancelled)
        .stat()
        .st_size
        for given in options.lora
    )
    with explained_build():
        whole = gguf_footprint(
            gguf,
            device=options.device,
            gpu_layers=options.gpu_layers,
            supported=supported_devices(),
            overhead=OVERHEAD,
            beside=beside,
            memory_map=options.memory_map,
            sequences=sizes.slots,
            kv_type=options.kv_types,
            **shape_of(options, sizes),
        )
    if options.draft_model is None:
        return whole
    on_gpu = len(whole.resident) > 1
    draft = gguf_footprint(
        read_gguf(locate_gguf(options.draft_model, cache_dir=options.cache_dir)),
        device=options.device if on_gpu else Device.Cpu,
        gpu_layers=-1 if on_gpu else 0,
        supported=supported_devices(),
        overhead=0,
        memory_map=options.memory_map,
        sequences=sizes.slots,
        kv_type=options.kv_types,
        **shape_of(options, sizes),
    )
    return Footprint(
        resident=total(whole.resident, draft.resident),
        load_peak=total(whole.loading, draft.loading),
    )
