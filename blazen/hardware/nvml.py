"""NVIDIA's management library, as far as it is needed here, called directly.

It comes with the driver, so that a GPU is seen without any package installed. It starts no CUDA
context and takes no GPU memory.
"""

from __future__ import annotations

import ctypes
import logging
import sys
from collections.abc import Iterator
from typing import Any

_log = logging.getLogger("blazen.hardware")

_NOT_SUPPORTED = 3
_TEXT_BYTES = 96


class NvmlError(Exception):
    """A call of the library failed; ``code`` is its answer."""

    def __init__(self, function: str, code: int, meaning: str = "") -> None:
        super().__init__(f"{function} answered {code}{meaning and f' ({meaning})'}")
        self.code = code


class Nvml:
    """The library, once it has found a driver.

    It stays open: on a machine of two GPUs the first call takes 9 ms, and a reading of the free
    memory afterwards 4 µs.
    """

    def __init__(self, library: Any) -> None:
        self._library = library
        self._call("nvmlInit_v2")

    def gpus(self) -> Iterator[ctypes.c_void_p]:
        """Go through the handles of the GPUs, in the order of their PCI addresses."""
        number = ctypes.c_uint()
        self._call("nvmlDeviceGetCount_v2", ctypes.byref(number))
        for index in range(number.value):
            handle = ctypes.c_void_p()
            try:
                self._call(
                    "nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(handle)
                )
            except NvmlError as error:
                _log.debug("GPU %d does not answer: %s", index, error)
                continue
            yield handle

    def slices(self, gpu: ctypes.c_void_p) -> Iterator[ctypes.c_void_p]:
        """Go through the MIG devices that a GPU is cut into; an uncut one has none."""
        mode, pending, most = ctypes.c_uint(), ctypes.c_uint(), ctypes.c_uint()
        try:
            self._call("nvmlDeviceGetMigMode", gpu, ctypes.byref(mode), ctypes.byref(pending))
            if not mode.value:
                return
            self._call("nvmlDeviceGetMaxMigDeviceCount", gpu, ctypes.byref(most))
        except NvmlError:
            return  # a GPU that cannot be cut says so by an error
        for index in range(most.value):
            handle = ctypes.c_void_p()
            try:
                self._call(
                    "nvmlDeviceGetMigDeviceHandleByIndex",
                    gpu,
                    ctypes.c_uint(index),
                    ctypes.byref(handle),
                )
            except NvmlError:
                continue  # this slot is not in use
            yield handle

    def name(self, gpu: ctypes.c_void_p) -> str:
        """Give the product name."""
        return self._text("nvmlDeviceGetName", gpu)

    def uuid(self, gpu: ctypes.c_void_p) -> str:
        """Give the name that no other GPU has."""
        return self._text("nvmlDeviceGetUUID", gpu)

    def driver(self) -> str:
        """Give the version of the driver."""
        return self._text("nvmlSystemGetDriverVersion")

    def compute_capability(self, gpu: ctypes.c_void_p) -> tuple[int, int] | None:
        """Give the generation that CUDA code is built for, as (9, 0), if the GPU tells it."""
        major, minor = ctypes.c_int(), ctypes.c_int()
        try:
            self._call(
                "nvmlDeviceGetCudaComputeCapability", gpu, ctypes.byref(major), ctypes.byref(minor)
            )
        except NvmlError:
            return None  # a MIG device leaves it to the whole GPU
        return major.value, minor.value

    def memory(self, gpu: ctypes.c_void_p) -> tuple[int, int] | None:
        """Give total and free bytes, or ``None`` for a GPU that has no memory of its own."""
        sizes = (ctypes.c_ulonglong * 3)()
        try:
            self._call("nvmlDeviceGetMemoryInfo", gpu, sizes)
        except NvmlError as error:
            if error.code == _NOT_SUPPORTED:
                return None
            raise
        return sizes[0], sizes[1]

    def _text(self, function: str, *arguments: Any) -> str:
        buffer = ctypes.create_string_buffer(_TEXT_BYTES)
        self._call(function, *arguments, buffer, ctypes.c_uint(_TEXT_BYTES))
        return buffer.value.decode("utf-8", "replace")

    def _call(self, function: str, *arguments: Any) -> None:
        try:
            code = getattr(self._library, function)(*arguments)
        except AttributeError as error:  # an old driver's library lacks the function
            raise NvmlError(function, _NOT_SUPPORTED) from error
        if code != 0:
            describe = self._library.nvmlErrorString
            describe.restype = ctypes.c_char_p
            raise NvmlError(function, code, (describe(code) or b"").decode("utf-8", "replace"))


def open_library() -> Any:
    """Load the library; an `OSError` means that no driver is installed."""
    return ctypes.CDLL("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
