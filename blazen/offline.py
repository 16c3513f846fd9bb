"""The switches that keep blazen off the network."""

from __future__ import annotations

import os

_EVERYTHING = "BLAZEN_OFFLINE"
_HUB = "HF_HUB_OFFLINE"
_FALSE = ("", "0", "off", "no", "false")


def is_offline(flag: bool | None = None) -> bool:
    """Say whether the network must be left alone where weights and media come from.

    The argument goes first, then ``BLAZEN_OFFLINE=1``, then ``HF_HUB_OFFLINE=1``.
    """
    if flag is not None:
        return flag
    return _is_set(_EVERYTHING) or _is_set(_HUB)


def forbids_remote() -> bool:
    """Say whether no remote provider may be asked.

    ``BLAZEN_OFFLINE=1`` alone decides: the other switch is about the hub.
    """
    return _is_set(_EVERYTHING)


def _is_set(name: str) -> bool:
    # What is not plainly a no is a yes: whoever sets it must be able to rely on it.
    return os.environ.get(name, "").strip().lower() not in _FALSE
