"""Messages between an app and its worker process: a private pair of sockets, and shared memory.

A message is a kind, the number of a request, and whatever belongs to it, all as pickles. These may
run code, but no one else can write here: the sockets have no name, and only the two processes hold
them. What is large goes into memory that both see, whose descriptor crosses with the message: it
has no name either, so nothing stays behind.
"""

from __future__ import annotations

import array
import contextlib
import errno
import functools
import importlib
import io
import mmap
import os
import pickle
import socket
import struct
import threading
import weakref
from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

_HEADER = struct.Struct("<16sQQQIB")
"""The kind, the number of the request, the bytes of the body and of the pickle that it begins with,
how many buffers follow that, and whether the body is shared memory."""
_PART = struct.Struct("<Q")
_INLINE = 64 * 1024
"""Up to here a copy through the socket costs less than memory that is made and mapped."""
_ALIGN = 64
_READ = 256 * 1024
_FDS = array.array("i")
_ROOM_FOR_FDS = socket.CMSG_SPACE(16 * _FDS.itemsize) if hasattr(socket, "CMSG_SPACE") else 0
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_LOST = -1
"""Stands for a descriptor that came, and for which this process had no room."""


Message: TypeAlias = tuple[str, int, Any]
"""Its kind, the number of its request (0: of none), and the rest; or why that can't be read."""


class Unreadable:
    """What stands for the rest of a message that can't be read here."""

    def __init__(self, error: Exception) -> None:
        self.error = error


class Closed(Exception):
    """The other side has closed its end, or is no more."""


class Channel:
    """One end. Any thread may send; one receives."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._lock = threading.Lock()
        self._room = memoryview(bytearray(_READ))
        self._read = bytearray()
        self._fds: list[int] = []

    def fileno(self) -> int:
        """Give the descriptor, to wait for."""
        return self._end.fileno()

    def send(self, packed: Packed) -> None:
        """Send what `pack` gave, waiting until the other side has room for it."""
        try:
            with self._lock:
                self._send(packed)
        except OSError as error:
            raise Closed(str(error)) from error
        finally:
            packed.close()

    def _send(self, packed: Packed) -> None:
        if packed.fd is None:
            self._end.sendall(packed.head)
            return
        sent = socket.send_fds(self._end, [packed.head], [packed.fd])
        if sent < len(packed.head):
            self._end.sendall(packed.head[sent:])

    def receive(self) -> list[Message]:
        """Give the messages that are whole by what has come; wait if nothing has."""
        try:
            size, beside, flags, _ = self._end.recvmsg_into([self._room], _ROOM_FOR_FDS, _CLOEXEC)
        except OSError as error:
            raise Closed(str(error)) from error
        came = len(self._fds)
        for level, kind, data in beside:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self._fds += array.array("i", data[: len(data) - len(data) % _FDS.itemsize])
        if flags & socket.MSG_CTRUNC and len(self._fds) == came:
            self._fds.append(_LOST)  # no read crosses the next one: which one is lost is certain
        if not size:
            raise Closed("the other side has closed its end")
        self._read += self._room[:size]
        messages = []
        while (message := self._take()) is not None:
            messages.append(message)
        return messages

    def _take(self) -> Message | None:
        """Give the next message that is whole."""
        read = self._read
        if len(read) < _HEADER.size:
            return None
        kind, number, size, first, count, shared = _HEADER.unpack_from(read)
        begin = _HEADER.size + count * _PART.size
        end = begin if shared else begin + size
        if len(read) < end:
            return None
        sizes = [_PART.unpack_from(read, _HEADER.size + i * _PART.size)[0] for i in range(count)]
        # Buffers of the values stay views of these bytes: they are theirs alone.
        what: Any
        try:
            body: Any = _mapped(self._fds.pop(0), size) if shared else read[begin:end]
        except OSError as error:
            what = Unreadable(error)
        else:
            what = _unpacked(memoryview(body), [first, *sizes]) if count or shared else _read(body)
        del read[:end]
        return kind.rstrip(b"\0").decode(), number, what

    def hang_up(self) -> None:
        """End the talk on both sides: whoever waits to send something is let go."""
        with contextlib.suppress(OSError):  # the other side is no more
            self._end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close this end; the other one hears of it."""
        for fd in self._fds:
            if fd != _LOST:
                os.close(fd)
        self._fds.clear()
        self._end.close()


class Packed:
    """A message in bytes, ready to be sent once."""

    __slots__ = ("fd", "head")

    def __init__(self, head: bytes, fd: int | None) -> None:
        self.head = head
        self.fd = fd

    def close(self) -> None:
        """Give back the memory that it shares, unless the other side maps it now."""
        fd, self.fd = self.fd, None
        if fd is not None:
            os.close(fd)

    __del__ = close


def pack(kind: str, number: int, *what: Any) -> Packed:
    """Turn a message into bytes; what can't cross is an error here, before anything is sent."""
    buffers: list[pickle.PickleBuffer] = []
    rest = pickle.dumps(what, 5, buffer_callback=buffers.append)
    name, first = kind.encode(), len(rest)
    if not buffers and first <= _INLINE:
        return Packed(_HEADER.pack(name, number, first, first, 0, False) + rest, None)
    parts: list[Any] = [rest, *(buffer.raw() for buffer in buffers)]
    sizes = [len(part) for part in parts]
    places, size = _places(sizes)
    shared = size > _INLINE and hasattr(os, "memfd_create")
    head = bytearray(_HEADER.pack(name, number, size, first, len(buffers), shared))
    for one in sizes[1:]:
        head += _PART.pack(one)
    if not shared:
        begin = len(head)
        head += bytes(size)
        for place, part in zip(places, parts, strict=True):
            head[begin + place : begin + place + len(part)] = part
        return Packed(bytes(head), None)
    return Packed(bytes(head), _filled(size, places, parts))


def _filled(size: int, places: Sequence[int], parts: Sequence[Any]) -> int:
    fd = os.memfd_create("blazen", os.MFD_CLOEXEC)
    try:
        os.ftruncate(fd, size)
        for place, part in zip(places, parts, strict=True):
            done = 0
            while done < len(part):
                done += os.pwrite(fd, part[done:], place + done)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _mapped(fd: int, size: int) -> memoryview:
    """Give shared memory as bytes; it is given back when nothing refers to them any more.

    Python's own mapping keeps the descriptor open (until 3.13, which can do without): an app that
    keeps a thousand pictures would have none left.
    """
    import ctypes

    if fd == _LOST:
        raise OSError(errno.EMFILE, f"{size} shared bytes can't be had: too many files are open")
    try:
        libc = _libc()
        # Private: what this side changes stays its own, as a copy would.
        rights = mmap.PROT_READ | mmap.PROT_WRITE
        address = libc.mmap(None, size, rights, mmap.MAP_PRIVATE, fd, 0)
    finally:
        os.close(fd)
    if address == ctypes.c_void_p(-1).value:
        error = ctypes.get_errno()
        raise OSError(error, f"{size} shared bytes can't be mapped: {os.strerror(error)}")
    held = (ctypes.c_ubyte * size).from_address(address)
    weakref.finalize(held, libc.munmap, address, size).atexit = False
    return memoryview(held).cast("B")


@functools.cache
def _libc() -> Any:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    size_t, pointer, number = ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int
    libc.mmap.argtypes = [pointer, size_t, number, number, number, ctypes.c_long]
    libc.mmap.restype = pointer
    libc.munmap.argtypes = [pointer, size_t]
    return libc


def _unpacked(body: memoryview, sizes: Sequence[int]) -> Any:
    places, _ = _places(sizes)
    parts = [body[place : place + size] for place, size in zip(places, sizes, strict=True)]
    return _read(parts[0], parts[1:])


def _read(pickled: Any, buffers: Sequence[Any] = ()) -> Any:
    try:
        return unpickled(pickled, buffers)
    except Exception as error:  # noqa: BLE001 - whoever made the request hears of it
        return Unreadable(error)


def unpickled(pickled: Any, buffers: Sequence[Any] = ()) -> Any:
    """Read a pickle that the other side has made; nobody else can have."""
    return _Unpickler(io.BytesIO(pickled), buffers=buffers).load()


class _Unpickler(pickle.Unpickler):
    """Imports a module after the packages that it is in.

    Python does it the other way round. While another thread imports such a package, each of the two
    then waits for the other, until one of them gets half a module: NumPy falls apart so.
    """

    _found: ClassVar[dict[tuple[str, str], Any]] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Give what stands in a module under a name."""
        found = self._found.get((module, name))
        if found is None:
            parts = module.split(".")
            for end in range(1, len(parts) + 1):
                importlib.import_module(".".join(parts[:end]))
            found = self._found[module, name] = super().find_class(module, name)
        return found


def _places(sizes: Sequence[int]) -> tuple[list[int], int]:
    places, at = [], 0
    for size in sizes:
        places.append(at)
        at += -(-size // _ALIGN) * _ALIGN
    return places, at
