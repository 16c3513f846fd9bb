"""The switch that keeps blazen off the network."""

from __future__ import annotations

import os

_SWITCHES = ("BLAZEN_OFFLINE", "HF_HUB_OFFLINE")
_TRUE = ("1", "on", "yes", "true")


def is_offline(flag: bool | None = None) -> bool:
    """Say whether the network must be left alone.

    The argument goes first, then ``BLAZEN_OFFLINE=1``, then ``HF_HUB_OFFLINE=1``.
    """
    if flag is not None:
        return flag
    return any(os.environ.get(name, "").strip().lower() in _TRUE for name in _SWITCHES)
