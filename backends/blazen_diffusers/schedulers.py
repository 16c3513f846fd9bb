"""Schedulers by the names that people know them by."""

from __future__ import annotations

from typing import Any

from blazen.checks import unknown_name
from blazen.errors import UnsupportedError, ValidationError

_KARRAS = {"use_karras_sigmas": True}
_SDE = {"algorithm_type": "sde-dpmsolver++"}
NAMES: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
    "deis": ("DEISMultistepScheduler", {}),
    "dpm++_2m": ("DPMSolverMultistepScheduler", {}),
    "dpm++_2m_karras": ("DPMSolverMultistepScheduler", _KARRAS),
    "dpm++_2m_sde": ("DPMSolverMultistepScheduler", _SDE),
    "dpm++_2m_sde_karras": ("DPMSolverMultistepScheduler", _SDE | _KARRAS),
    "dpm++_2s": ("DPMSolverSinglestepScheduler", {}),
    "dpm++_2s_karras": ("DPMSolverSinglestepScheduler", _KARRAS),
    "dpm2": ("KDPM2DiscreteScheduler", {}),
    "dpm2_a": ("KDPM2AncestralDiscreteScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "euler_karras": ("EulerDiscreteScheduler", _KARRAS),
    "flow_euler": ("FlowMatchEulerDiscreteScheduler", {}),
    "flow_heun": ("FlowMatchHeunDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "lcm": ("LCMScheduler", {}),
    "lms": ("LMSDiscreteScheduler", {}),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True}),
    "tcd": ("TCDScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "unipc_karras": ("UniPCMultistepScheduler", _KARRAS),
}


def fresh_scheduler(own: Any, name: str | None) -> Any:
    """Make a scheduler for one call: of the pipeline's own kind, or of another that fits it.

    A scheduler counts the steps of its call inside itself, so that no two calls may share one.
    """
    if name is None:
        return type(own).from_config(own.config)
    import diffusers

    plain = name.strip()
    key = plain.lower().replace("-", "_").replace(" ", "_")
    class_name, settings = NAMES.get(key, (plain, {}))
    cls: Any = getattr(diffusers, class_name, None) if class_name.endswith("Scheduler") else None
    if cls is None:
        raise ValidationError(unknown_name("scheduler", name, list(NAMES)))
    fitting = [found.__name__ for found in getattr(own, "compatibles", [])]
    if cls.__name__ not in {*fitting, type(own).__name__}:
        names = [short for short, (long, _) in NAMES.items() if long in fitting]
        raise UnsupportedError(
            f"the scheduler {name!r} does not fit this pipeline, whose own is "
            f"{type(own).__name__}; those that do are: {', '.join(names) or 'its own only'}"
        )
    return cls.from_config(own.config, **settings)
