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
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from blazen import hardware
from blazen.errors import UnsupportedError, ValidationError
from blazen.isolation.channel import Channel
from blazen.options.isolation import Isolation

_BOOT = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from blazen.isolation.child import main; main(*map(int, sys.argv[2:]))"
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
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH")
_NO_SAVED_ONE = "HF_HUB_DISABLE_IMPLICIT_TOKEN"
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

    code: int | None = None
    """How it ended; ``None`` until then, and where that can't be known."""

    def __post_init__(self) -> None:
        self._lock = threading.RLock()  # held for a few instructions
        self._over = False
        _running.add(self)

    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        with self._lock:
            return not self._over and not self._has_ended()

    def kill(self) -> None:
        """End it now, with whatever it has started itself."""
        with self._lock:
            if self.is_running():
                self._kill_group()

    def reap(self, patience: float, dying: float) -> bool:
        """Wait until it has ended, and end it if it does not; ``False``: it is there all the same.

        Its number is given back only after the last signal was sent to it: then it may be
        another's.
        """
        if not self._wait(patience):
            self.kill()
            if not self._wait(dying):
                return False
        with self._lock:
            if not self._over:
                self._kill_group()  # what it has left behind
                self._let_go()
        return True

    def close(self) -> None:
        """Close what this process holds of it."""
        _running.discard(self)
        self.channel.close()
        for fd in (self.lifeline, self.output):
            os.close(fd)

    def disown(self) -> None:
        """Leave it to the parent, in a fork of that."""
        self._lock = threading.RLock()
        self._over = True
        self.process.returncode = 0
        with contextlib.suppress(OSError):  # another thread was about to close it
            self.close()

    def _wait(self, seconds: float) -> bool:
        end, pause = time.monotonic() + seconds, 0.0005
        while self.is_running():
            left = end - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(pause, left))
            pause = min(2 * pause, 0.05)
        return True

    def _has_ended(self) -> bool:
        if not hasattr(os, "waitid"):  # macOS, before Python 3.13
            self.code = self.process.poll()
            self._over = self.code is not None
            return self._over
        try:
            found = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        except ChildProcessError:  # SIGCHLD is ignored here, or the app waits for any child
            self._let_go()
            return True
        if found is not None:
            killed = found.si_code != os.CLD_EXITED
            self.code = -found.si_status if killed else found.si_status
        return found is not None

    def _let_go(self) -> None:
        self._over = True
        self.process.poll()

    def _kill_group(self) -> None:
        # It leads a group of its own. macOS forbids to kill a group that is dead.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)


_running: weakref.WeakSet[Started] = weakref.WeakSet()


_starting = threading.RLock()
"""No fork in the midst of a start: it would keep ends of which nobody has heard yet."""


def _forked() -> None:
    """Drop the workers of the parent in a fork of it: they must not outlive it for the fork."""
    _starting.release()
    for started in list(_running):
        started.disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_starting.acquire, after_in_parent=_starting.release, after_in_child=_forked
    )


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
    env = environment(isolation)
    path = [_absolute(entry) for entry in sys.path if isinstance(entry, str)]
    limits = (isolation.memory or 0, isolation.nice)
    with _starting, contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
        end, other = socket.socketpair()
        ours.callback(end.close)
        theirs.callback(other.close)
        life_read, lifeline = _pipe(theirs, ours)
        output, out_write = _pipe(ours, theirs)
        given = (other.fileno(), life_read)
        process = subprocess.Popen(  # noqa: S603 - this interpreter itself
            [sys.executable, "-Iu", "-c", _BOOT, json.dumps(path), *map(str, given + limits)],
            stdin=subprocess.DEVNULL,
            stdout=out_write,
            stderr=out_write,
            pass_fds=given,
            close_fds=True,
            env=env,
            cwd=isolation.cwd,
            start_new_session=True,  # Ctrl-C in a terminal is for this process to hear
        )
        ours.pop_all()
        return Started(process, Channel(end), lifeline, output)


def _absolute(entry: str) -> str:
    # What is no path stands for a hook that an installer has made: it knows it by these letters.
    with contextlib.suppress(OSError):  # it may lie where this process may not look
        if not entry or Path(entry).exists():
            return str(Path(entry).absolute())
    return entry


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
        threads = isolation.threads
        if given.get("BLAZEN_THREADS", "").strip():
            threads = min(threads, hardware.thread_budget(engines=1))
        given.update(dict.fromkeys(_THREADS, str(threads)))
    if isolation.env.keys().isdisjoint(_TOKENS):
        given[_NO_SAVED_ONE] = "1"  # what was saved at a login is a secret as well
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
