"""ONNX Runtime, for every backend on it: where it runs, and sessions that run where they should."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blazen.errors import LoadError, UnsupportedError
from blazen.hardware import Device

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

# Its builds tell their maker of every session, unless this is said before they are imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


def supported_devices() -> list[str]:
    """Give the kinds of device that the installed ONNX Runtime runs on."""
    import onnxruntime

    return ["cpu", "cuda"] if _CUDA in onnxruntime.get_available_providers() else ["cpu"]


def providers(device: Device, **cuda: str) -> list[Any]:
    """Say in ONNX Runtime's words where to run; ``cuda`` are settings of its own for a GPU."""
    if device == Device.Cpu:
        return [_CPU]
    return [(_CUDA, {"device_id": device.index or 0, **cuda}), _CPU]


def expect_device(session: InferenceSession, device: Device) -> None:
    """Refuse a session on the CPU in place of the GPU: ONNX Runtime falls back without a word."""
    if device != Device.Cpu and session.get_providers()[0] == _CPU:
        raise UnsupportedError(
            f"{device} was asked for, but ONNX Runtime started on the CPU: its GPU package needs "
            "CUDA and cuDNN libraries that it finds"
        )


def open_session(path: Path, device: Device, threads: int) -> InferenceSession:
    """Load a file whose inputs have another length each time, as those of speech have."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # It keeps a plan for every length of text that ever came, and memory would grow with them.
    options.enable_mem_pattern = False
    # To plan which sums share their memory takes a second as a voice loads, three quarters of it
    # all; what was planned made no pass smaller or faster.
    options.enable_mem_reuse = False
    options.log_severity_level = 3  # its warnings on each load concern the export, not the user
    # To try out every convolution for each new length of text would take seconds.
    where = providers(device, cudnn_conv_algo_search="HEURISTIC")
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=where)
    except Exception as error:
        raise LoadError(f"ONNX Runtime could not load {path}: {error}") from error
    expect_device(session, device)
    return session
