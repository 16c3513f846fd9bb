"""A loaded Whisper: the context of whisper.cpp, what it says, and what its binding leaves out."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blazen.errors import LoadError

log = logging.getLogger("blazen.whispercpp")

_LEVELS = {2: logging.DEBUG, 3: logging.WARNING, 4: logging.ERROR}
"""By whisper.cpp's own numbers; what it tells in passing is of use only to who looks closely."""
_EXPECTED = "encoder_begin_callback returned false"
"""An error to the engine, and only ever our own wish."""


class Lines:
    """What the engine wrote on this thread since `start`."""

    def start(self) -> None:
        """Forget what was written until now."""
        _said.problems = []

    @contextlib.contextmanager
    def held(self, stopped: Callable[[], bool]) -> Iterator[None]:
        """Log the errors of what is done meanwhile at its end, unless it was stopped by then.

        An engine that is told to stop calls that a failure.
        """
        self.start()
        _said.held = True
        try:
            yield
        finally:
            _said.held = False
            if not stopped():
                for line in _said.problems:
                    log.error("%s", line)

    def problem(self) -> str:
        """Give the errors among it."""
        return "; ".join(getattr(_said, "problems", []))


_said = threading.local()


@dataclass
class Engine:
    """A loaded model."""

    context: Any
    threads: int
    multilingual: bool
    end_of_text: int
    translates: bool = True
    address: int | None = None
    log: Lines = field(default_factory=Lines)

    def no_speech_probability(self, segment: int) -> float | None:
        """Say how likely the window of a segment held no speech; ``None`` where that is hidden."""
        call = native("whisper_full_get_segment_no_speech_prob", ctypes.c_float)
        if call is None or self.address is None:
            return None
        return min(1.0, max(0.0, float(call(ctypes.c_void_p(self.address), ctypes.c_int(segment)))))


def open_engine(path: Path, *, threads: int, gpu: int | None) -> Engine:
    """Load a file that was checked; ``gpu`` is the GPU's number, ``None`` the processor."""
    import _pywhispercpp as binding

    send_lines()
    params = binding.whisper_context_default_params()
    params.use_gpu = gpu is not None
    params.gpu_device = gpu or 0
    lines = Lines()
    lines.start()
    context = binding.whisper_init_from_file_with_params(str(path), params)
    address = address_of(context)
    # A context that failed is a null pointer inside: to ask it anything ends the process.
    if address == 0 or (address is None and lines.problem()):
        raise LoadError(
            f"whisper.cpp could not load {path}: {lines.problem() or 'no reason given'}"
        )
    return Engine(
        context,
        threads,
        bool(binding.whisper_is_multilingual(context)),
        binding.whisper_token_eot(context),
        address=address,
    )


def supported_devices() -> list[str]:
    """Say where this build of whisper.cpp runs: most run on the processor alone."""
    import _pywhispercpp as binding

    parts = binding.whisper_print_system_info().split("|")
    built = {part.partition(":")[0].strip() for part in parts}
    return ["cpu", *(kind for kind, names in _BUILDS.items() if built & names)]


_BUILDS = {"cuda": {"CUDA"}, "metal": {"Metal", "MTL"}}


def close_engine(engine: Engine) -> None:
    """Give the memory back."""
    import _pywhispercpp as binding

    context, engine.context, engine.address = engine.context, None, None
    if context is not None:
        binding.whisper_free(context)


@functools.cache
def send_lines() -> None:
    """Have all that whisper.cpp writes go to the log ``blazen.whispercpp``, in this process."""
    global _receiver
    kind = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
    set_receiver = native("whisper_log_set", None)
    if set_receiver is not None:
        # Not the binding's own: its receiver is let go of after Python has ended, which crashes.
        _receiver = kind(lambda level, text, _: _receive(level, text.decode("utf-8", "replace")))
        set_receiver(_receiver, None)
        return
    import atexit

    import _pywhispercpp as binding

    binding.whisper_log_set(_receive)
    atexit.register(binding.whisper_log_set, None)


_receiver: object = None


def _receive(level: int, text: str) -> None:
    line = text.strip()
    if not line or _EXPECTED in line:
        return
    if level >= 4 and level != 5:
        _said.problems = [*getattr(_said, "problems", []), line]
        if getattr(_said, "held", False):
            return
    log.log(_LEVELS.get(level, logging.DEBUG), "%s", line)


def address_of(context: Any) -> int | None:
    """Give the address of what the binding's object holds; ``None`` where it can't be told.

    pybind11 hands an object's address to other extension modules that can name its type. The name
    of the type, as C++'s ``std::type_info`` holds it, is known for one family of compilers.
    """
    conduit = getattr(context, "_pybind11_conduit_v1_", None)
    abi = _abi()
    if conduit is None or abi is None:
        return None
    capsule = conduit(abi, _type_capsule(), b"raw_pointer_ephemeral")
    if capsule is None:
        return None
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    wrapper = get(capsule, _TYPE_NAME)
    return ctypes.c_void_p.from_address(wrapper).value or 0


_TYPE_NAME = b"23whisper_context_wrapper"
_ABI_MARK = "pybind11_detail_function_record_v1_"
_GNU = "system_libstdcpp_gxx_abi_1xxx"


class _TypeInfo(ctypes.Structure):
    """``std::type_info`` of libstdc++: it is compared by its name."""

    _fields_ = (("table", ctypes.c_void_p), ("name", ctypes.c_char_p))


@functools.cache
def _type_capsule() -> Any:
    make = ctypes.pythonapi.PyCapsule_New
    make.restype = ctypes.py_object
    make.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    return make(ctypes.addressof(_TYPE_INFO), _CAPSULE_NAME, None)


_TYPE_INFO = _TypeInfo(None, _TYPE_NAME)
_CAPSULE_NAME = b"St9type_info"


@functools.cache
def _abi() -> bytes | None:
    """Give pybind11's name of the compiler's family, which its functions carry in their type."""
    import _pywhispercpp as binding

    kind = type(getattr(binding.whisper_full, "__self__", None)).__name__
    name = kind.rpartition(_ABI_MARK)[2]
    return name.encode() if kind.startswith(_ABI_MARK) and name.startswith(_GNU) else None


def native(name: str, result: Any) -> Callable[..., Any] | None:
    """Give a function of the engine's library that the binding does not offer."""
    found: Any = getattr(_library(), name, None)
    if found is not None:
        found.restype = result
    call: Callable[..., Any] | None = found
    return call


@functools.cache
def _library() -> ctypes.CDLL | None:
    """Give the engine's library; on Windows the binding's file does not lead to it."""
    import _pywhispercpp as binding

    try:
        return ctypes.CDLL(binding.__file__)
    except OSError:
        return None
