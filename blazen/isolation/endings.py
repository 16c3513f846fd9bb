"""How a worker process ended, in words."""

from __future__ import annotations

import signal


def ending(code: int | None, reason: str | None, tail: str) -> str:
    """Say it: by its code, below 0 a signal's, or by the reason for which this side ended it."""
    if reason is not None:
        how = f"was ended: {reason}"
    elif code is None:
        how = "ended, and how it ended is not known"
    elif code < 0:
        try:
            how = f"died of {signal.Signals(-code).name}"
        except ValueError:
            how = f"died of signal {-code}"
    else:
        how = f"ended with code {code}"
    return f"{how}; its last words:\n{tail}" if tail else how
