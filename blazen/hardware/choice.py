"""Which device a model goes to, and why."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection

from blazen.checks import check_range
from blazen.errors import BudgetError, UnsupportedError, ValidationError
from blazen.hardware.devices import Device
from blazen.hardware.gpus import Gpu, why_hidden
from blazen.hardware.machine import Hardware, detect, gib

_log = logging.getLogger("blazen.hardware")

_PLACES = ("cpu", "cuda", "metal")


def choose_device(
    wanted: str | Device | None = "auto",
    *,
    needs: int | None = None,
    supported: Collection[str] = _PLACES,
) -> Device:
    """Turn a wish into a device that is there, and log why it was chosen.

    ``auto`` gives the GPU with the most free memory that has the bytes the model ``needs``, else
    the CPU. A GPU that was asked for by name and is not there, or that the engine does not support,
    is an `UnsupportedError`: it is never replaced by the CPU. ``supported`` holds the kinds that
    the engine runs on: ``cpu``, ``cuda``, ``metal``.
    """
    device = Device.parse(wanted)
    check_range("needs", needs, at_least=0, integer=True)
    unknown = sorted(set(supported) - set(_PLACES))
    if unknown or not supported:
        raise ValidationError(
            f"supported must hold some of {', '.join(_PLACES)}, not {supported!r}"
        )
    machine = detect()
    if device == Device.Auto:
        return _choose_any(machine, needs, supported)
    _refuse_unsupported(device, supported)
    if device == Device.Cpu:
        return _settle(device, "it was asked for")
    gpus = _usable(machine, supported)
    if device.kind == "cuda":
        gpus = [g for g in gpus if g.api == "cuda" and g.index == (device.index or 0)]
    elif device == Device.Metal:
        gpus = [g for g in gpus if g.api == "metal"]
    if not gpus:
        raise UnsupportedError(
            f"device {str(device)!r} was asked for, but there is only {machine.describe()}"
            f"{_hidden()}: ask for what there is, or for 'auto'"
        )
    gpu = _roomiest(gpus)
    if needs is not None and gpu.free < needs:
        # The caller may be about to make room, so that this is no reason to refuse.
        _log.warning(
            "%s has %s free, and the model needs %s", gpu.device, gib(gpu.free), gib(needs)
        )
    _warn_of_order(machine)
    return _settle(gpu.device, f"{device} was asked for and this is {_label(gpu)}")


def _choose_any(machine: Hardware, needs: int | None, supported: Collection[str]) -> Device:
    gpus = _usable(machine, supported)
    roomy = [gpu for gpu in gpus if gpu.free >= (needs or 0)]
    if roomy:
        gpu = _roomiest(roomy)
        _warn_of_order(machine)
        among = "the only GPU" if len(gpus) == 1 else f"the roomiest of {len(gpus)} GPUs"
        return _settle(gpu.device, f"{among} is {_label(gpu)}")
    if gpus:
        best = _roomiest(gpus)
        why = f"the model needs {gib(needs or 0)} and {best.device} has {gib(best.free)} free"
        if "cpu" not in supported:
            raise BudgetError(f"no GPU has room: {why}, and the engine does not run on the CPU")
        return _settle(Device.Cpu, why)
    if "cpu" not in supported:
        raise UnsupportedError(
            f"the engine runs on {' and '.join(sorted(supported))} only, but there is only "
            f"{machine.describe()}{_hidden()}"
        )
    if machine.gpus:
        return _settle(Device.Cpu, f"the engine does not run on {machine.gpus[0].api}")
    return _settle(Device.Cpu, f"no GPU was found{_hidden()}")


def _refuse_unsupported(device: Device, supported: Collection[str]) -> None:
    fits = any(k != "cpu" for k in supported) if device == Device.Gpu else device.kind in supported
    if not fits:
        raise UnsupportedError(
            f"device {str(device)!r} was asked for, but the engine runs on "
            f"{' and '.join(sorted(supported))} only; ask for one of these, or for 'auto'"
        )


def _usable(machine: Hardware, supported: Collection[str]) -> list[Gpu]:
    return [gpu for gpu in machine.gpus if gpu.api in supported]


def _roomiest(gpus: list[Gpu]) -> Gpu:
    return max(gpus, key=lambda gpu: (gpu.free, -gpu.index))


def _label(gpu: Gpu) -> str:
    return f"{gpu.name} with {gib(gpu.free)} of {gib(gpu.total)} free"


def _hidden() -> str:
    why = why_hidden()
    return why and f"; {why}"


def _warn_of_order(machine: Hardware) -> None:
    # CUDA puts the fastest GPU first unless it is told otherwise, and only a CUDA context knows
    # which that is; among equal ones the order is that of the bus either way.
    names = {gpu.name for gpu in machine.gpus if gpu.api == "cuda"}
    if len(names) > 1 and os.environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        _log.warning(
            "the GPUs differ (%s), and CUDA may number them otherwise than blazen does: set "
            "CUDA_DEVICE_ORDER=PCI_BUS_ID",
            ", ".join(sorted(names)),
        )


def _settle(device: Device, why: str) -> Device:
    _log.info("using %s: %s", device, why)
    return device
