"""Starting a worker process: a new interpreter, with nothing that it was not given."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from blazen.errors import UnsupportedError, ValidationError
from blazen.isolation.channel import Channel
from blazen.options.isolation import Isolation

_BOOT = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from blazen.isolation.child import main; main(int(sys.argv[2]), int(sys.argv[3]))"
)

_GIVEN = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|LC_\w+|TZ|TMPDIR|TEMP|TMP|SHELL|"
    r"LD_LIBRARY_PATH|DYLD_\w+|VIRTUAL_ENV|CONDA_PREFIX|SSL_CERT_\w+|"
    r"(HTTPS?|ALL|NO)_PROXY|(https?|all|no)_proxy|"
    r"XDG_\w+|HF_\w+|BLAZEN_\w+|OMP_\w+|MKL_\w+|OPENBLAS_\w+|GOMP_\w+|KMP_\w+|"
    r"CUDA\w*|NVIDIA_\w+|HIP_\w+|ROCR?_\w+|HSA_\w+|GGML_\w+|LLAMA_\w+|ORT_\w+|TORCH\w*|PYTORCH_\w+|"
    r"MALLOC_\w+|GLIBC_TUNABLES|RUST_\w+"
)
"""What an engine may need to find its libraries, its devices and its files; the rest stays here."""

_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
_THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "BLAZEN_THREADS",
)
_GPUS = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


@dataclass(eq=False)
class Started:
    """A worker process that has just been started."""

    process: subprocess.Popen[bytes]
    channel: Channel
    lifeline: int
    """The end of a pipe. When it closes, as when this process dies, the worker is killed."""
    output: int
    """What the worker and its engine print."""

    def __post_init__(self) -> None:
        _running.add(self)

    def kill(self) -> None:
        """End it now, with whatever it has started itself."""
        if self.process.poll() is None:
            self._kill_group()

    def reap(self, patience: float) -> int:
        """Wait until it has ended, end it if it does not, and give its code."""
        try:
            code = self.process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self.process.wait()
        self._kill_group()  # what it has left behind
        return code

    def close(self) -> None:
        """Close what this process holds of it."""
        _running.discard(self)
        self.channel.close()
        for fd in (self.lifeline, self.output):
            os.close(fd)

    def _kill_group(self) -> None:
        # It leads a group of its own. macOS forbids to kill a group that is dead.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)


_running: weakref.WeakSet[Started] = weakref.WeakSet()


def _let_go() -> None:
    """Drop the workers of the parent in a fork of it: they must not outlive it for the fork."""
    for started in list(_running):
        started.process.returncode = 0  # no child of this process
        with contextlib.suppress(OSError):  # another thread was about to close it
            started.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def start(isolation: Isolation) -> Started:
    """Start an interpreter that waits for its first message."""
    if not hasattr(socket, "recv_fds") or not hasattr(socket, "AF_UNIX"):
        raise UnsupportedError(
            "isolation='process' needs the sockets of Linux or macOS: leave it out here"
        )
    if not sys.executable or getattr(sys, "frozen", False):
        raise UnsupportedError(
            "isolation='process' starts another Python, and there is none for this app: leave it "
            "out here"
        )
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
        end, other = socket.socketpair()
        ours.callback(end.close)
        theirs.callback(other.close)
        life_read, lifeline = _pipe(theirs, ours)
        output, out_write = _pipe(ours, theirs)
        given = (other.fileno(), life_read)
        path = [str(Path(entry or ".").absolute()) for entry in sys.path]
        process = subprocess.Popen(  # noqa: S603 - this interpreter itself
            [sys.executable, "-Iu", "-c", _BOOT, json.dumps(path), *map(str, given)],
            stdin=subprocess.DEVNULL,
            stdout=out_write,
            stderr=out_write,
            pass_fds=given,
            close_fds=True,
            env=environment(isolation),
            cwd=isolation.cwd,
            start_new_session=True,  # Ctrl-C in a terminal is for this process to hear
        )
        ours.pop_all()
        return Started(process, Channel(end), lifeline, output)


def _pipe(reader: contextlib.ExitStack, writer: contextlib.ExitStack) -> tuple[int, int]:
    read, write = os.pipe()
    reader.callback(os.close, read)
    writer.callback(os.close, write)
    return read, write


def environment(isolation: Isolation) -> dict[str, str]:
    """Give the environment of a worker: what engines need, and no secrets."""
    given = {
        name: value
        for name, value in os.environ.items()
        if _GIVEN.fullmatch(name) and not _SECRET.search(name)
    }
    if isolation.threads is not None:
        given.update(dict.fromkeys(_THREADS, str(isolation.threads)))
    if isolation.gpus is not None:
        given.update({name: _gpus(name, isolation.gpus) for name in _GPUS})
    return {**given, **isolation.env}


def _gpus(name: str, gpus: Sequence[int]) -> str:
    """Name GPUs, which are counted among those that this process itself may see."""
    seen = os.environ.get(name)
    if seen is None:
        return ",".join(map(str, gpus))
    names = [one.strip() for one in seen.split(",") if one.strip()]
    if gpus and max(gpus) >= len(names):
        raise ValidationError(
            f"gpus={list(gpus)} is more than {name}={seen!r} lets this process see"
        )
    return ",".join(names[gpu] for gpu in gpus)
