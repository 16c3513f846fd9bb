"""What binds a worker process, from its start on: its parent's life, and its limits."""

from __future__ import annotations

import os
import select
import signal
import sys


def die_with(lifeline: int) -> None:
    """Have the kernel kill this process, and its own, when the other end of a pipe closes.

    An engine that holds Python's lock can't keep it from that; a parent that is killed need not do
    anything for it.
    """
    if sys.platform != "linux":
        return  # there, who listens sees the end of the channel
    import fcntl

    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | os.O_ASYNC)
    closed = select.poll()
    closed.register(lifeline, 0)
    if closed.poll(0):
        os._exit(1)  # it was too late for that


def limit(memory: int, nice: int) -> None:
    """Keep to limits, before there is any other thread or an engine; 0 is none."""
    import resource

    if nice:
        os.nice(nice)
    # A core of an engine is as large as its weights, and holds what it was asked.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory:
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        memory = memory if most == resource.RLIM_INFINITY else min(memory, most)
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
