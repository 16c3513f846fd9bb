"""The GPUs that this process can use, numbered as CUDA numbers them."""

from __future__ import annotations

import functools
import logging
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from blazen.hardware.devices import Device
from blazen.hardware.ram import memory
from blazen.types.record import Record

if TYPE_CHECKING:
    import ctypes

    from blazen.hardware.nvml import Nvml

_log = logging.getLogger("blazen.hardware")


@dataclass(frozen=True)
class Gpu(Record):
    """One GPU, with its total and free memory in bytes at the time of asking.

    A ``unified`` one has no memory of its own and shares the CPU's.
    """

    index: int
    name: str
    uuid: str
    total: int
    free: int
    api: Literal["cuda", "metal"] = "cuda"
    unified: bool = False
    compute_capability: tuple[int, int] | None = None
    driver: str | None = None

    @property
    def device(self) -> Device:
        """The device that stands for this GPU."""
        return Device.Metal if self.api == "metal" else Device("cuda", self.index)

    @property
    def pool(self) -> str:
        """The memory that a model on it fills: ``gpu:N``, or ``cpu`` if it is shared."""
        return "cpu" if self.unified else self.device.pool


@dataclass(frozen=True)
class _Card:
    """What stays the same about an NVIDIA GPU, or about a slice of one."""

    handle: ctypes.c_void_p
    name: str
    uuid: str
    compute_capability: tuple[int, int] | None
    slices: tuple[_Card, ...] = ()


@dataclass(frozen=True)
class _Driver:
    """What the driver told when it was asked first; without a library, the problem with it."""

    nvml: Nvml | None = None
    cards: tuple[_Card, ...] = ()
    version: str | None = None
    problem: str = ""


def find_gpus(*, refresh: bool = False) -> tuple[Gpu, ...]:
    """Find the GPUs that this process can use, with their free memory now.

    ``CUDA_VISIBLE_DEVICES`` counts as the driver counts it. What does not change is remembered;
    ``refresh`` looks again.
    """
    if refresh:
        _driver.cache_clear()
    if sys.platform == "darwin":
        return _metal()
    driver = _driver()
    if driver.nvml is None:
        return ()
    chosen = _visible(driver.cards, os.environ.get("CUDA_VISIBLE_DEVICES"))
    found = [_measure(driver, index, card) for index, card in enumerate(chosen)]
    return tuple(gpu for gpu in found if gpu is not None)


def why_hidden() -> str:
    """Say what may keep a GPU from being found, or nothing."""
    problem = "" if sys.platform == "darwin" else _driver().problem
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not problem and visible is not None:
        return f"CUDA_VISIBLE_DEVICES is {visible!r}"
    return problem


def _metal() -> tuple[Gpu, ...]:
    import platform

    if platform.machine() != "arm64":
        return ()
    shared = memory()
    return (
        Gpu(
            index=0,
            name="Apple GPU",
            uuid="metal",
            total=shared.total,
            free=shared.available,
            api="metal",
            unified=True,
        ),
    )


@functools.cache
def _driver() -> _Driver:
    from blazen.hardware import nvml

    try:
        library = nvml.Nvml(nvml.open_library())
        cards = [_card(library, handle) for handle in library.gpus()]
        found = tuple(card for card in cards if card is not None)
        return _Driver(nvml=library, cards=found, version=library.driver())
    except OSError as error:
        _log.debug("no NVIDIA driver: %s", error)
        return _Driver(problem="no NVIDIA driver is installed")
    except nvml.NvmlError as error:
        _log.debug("the NVIDIA driver does not work: %s", error)
        return _Driver(problem=f"the NVIDIA driver does not work: {error}")


def _card(library: Nvml, handle: ctypes.c_void_p, *, cut: bool = True) -> _Card | None:
    from blazen.hardware.nvml import NvmlError

    try:
        handles = library.slices(handle) if cut else ()
        parts = [_card(library, part, cut=False) for part in handles]
        return _Card(
            handle=handle,
            name=library.name(handle),
            uuid=library.uuid(handle),
            compute_capability=library.compute_capability(handle),
            slices=tuple(part for part in parts if part is not None),
        )
    except NvmlError as error:
        _log.debug("a GPU does not answer: %s", error)
        return None


def _visible(cards: Sequence[_Card], wanted: str | None) -> list[_Card]:
    """Choose and order the GPUs as the driver does.

    Seen with a 580 driver: numbers are read as far as they are digits, a name may be cut short as
    long as it is unique, the list ends at the first entry that fits nothing or mixes the two
    ways, and a GPU named twice hides them all.
    """
    # CUDA can't use a GPU that is cut into slices as a whole, and shows one slice of it.
    usable = [card.slices[0] if card.slices else card for card in cards]
    if wanted is None:
        return usable
    shown = list(zip(cards, usable, strict=True))
    shown += [(part, part) for card in cards for part in card.slices]
    chosen: list[_Card] = []
    by_number: bool | None = None
    for entry in wanted.split(","):
        number = re.match(r"\s*\+?([0-9]{1,6})", entry)
        if by_number not in (None, number is not None):
            break
        by_number = number is not None
        if number is not None:
            at = int(number.group(1))
            fitting = usable[at : at + 1]
        else:
            fitting = [card for own, card in shown if _is_named(own, entry.strip())]
        if len(fitting) != 1:
            break
        if fitting[0] in chosen:
            return []
        chosen += fitting
    return chosen


def _is_named(card: _Card, name: str) -> bool:
    kind, dash, rest = name.partition("-")
    own_kind, _, own = card.uuid.partition("-")
    return bool(dash) and kind == own_kind and own.lower().startswith(rest.lower())


def _measure(driver: _Driver, index: int, card: _Card) -> Gpu | None:
    from blazen.hardware.nvml import NvmlError

    assert driver.nvml is not None
    try:
        own = driver.nvml.memory(card.handle)
    except NvmlError as error:
        _log.debug("GPU %d does not answer: %s", index, error)
        return None
    if own is None:
        shared = memory()
        total, free = shared.total, shared.available
    else:
        total, free = own
    return Gpu(
        index=index,
        name=card.name,
        uuid=card.uuid,
        total=total,
        free=free,
        unified=own is None,
        compute_capability=card.compute_capability,
        driver=driver.version,
    )
