"""A backend's model, with its engine in a worker process."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from blazen.errors import ValidationError
from blazen.isolation.backend import LIFECYCLE, IsolatedBackend
from blazen.isolation.requests import Given
from blazen.options.isolation import Isolation
from blazen.registry import Kind
from blazen.types.stream import Source, Stream


def isolate(model: Any, isolation: Isolation) -> Any:
    """Give a model like this one, whose engine runs in a process of its own.

    The model itself is left as it is; only its options are used.
    """
    if isinstance(model, IsolatedBackend):
        raise ValidationError(f"{model!r} runs in a process of its own already")
    cls: Any = type(model)
    return isolated_class(cls)(getattr(model, "options", None), isolation)


@functools.cache
def isolated_class(cls: type) -> type[IsolatedBackend]:
    """Give the class of models like those of a backend's class, each in a process of its own."""
    if not hasattr(cls, "load") or not hasattr(cls, "Options"):
        raise ValidationError(
            f"{cls.__qualname__} can't run in a process of its own: that takes a model on this "
            "machine that is built of options; leave out isolation for one that is elsewhere, and "
            "isolate a model before it is wrapped"
        )
    if cls.__module__ == "__main__" or "<" in cls.__qualname__:
        raise ValidationError(
            f"{cls.__qualname__} can't run in a process of its own, which could not import it: "
            "define it at the top level of a module that is no script"
        )
    protocols = [base for base in cls.__mro__[1:] if _is_own_protocol(base)]
    members: dict[str, Any] = {
        "inside": cls,
        "engine": getattr(cls, "engine", None),
        "__doc__": cls.__doc__,
        "__module__": cls.__module__,
    }
    for name in dir(cls):
        if name.startswith("_") or name in LIFECYCLE:
            continue
        found = inspect.getattr_static(cls, name)
        own = next((base.__dict__[name] for base in protocols if name in base.__dict__), None)
        # What a protocol does by its other methods it does here as well.
        if own is None or found is not own:
            members[name] = _member(name, found, own)
    members["_properties"] = tuple(name for name in members if isinstance(members[name], property))
    bases = (IsolatedBackend, *protocols)
    return type(f"Isolated{cls.__name__}", bases, members)


def _is_own_protocol(base: type) -> bool:
    # A backend that another one is made of is of the same type.
    return isinstance(base, Kind) and bool(getattr(base, "_is_protocol", False))


def _member(name: str, found: Any, own: Callable[..., Any] | None) -> Any:
    """Give what stands for a backend's public name on this side."""
    if isinstance(found, (property, functools.cached_property)):
        return property(lambda self: self._fact(name), doc=found.__doc__)
    if isinstance(found, (staticmethod, classmethod)) or not callable(found):
        return found
    if inspect.iscoroutinefunction(found):
        return _forwarded(name, found)
    return _answered(name, found, own)


def _forwarded(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    async def call(self: IsolatedBackend, *args: Any, **kwargs: Any) -> Any:
        return await self._asked(name, Given(args, kwargs))

    return call


def _answered(
    name: str, method: Callable[..., Any], own: Callable[..., Any] | None
) -> Callable[..., Any]:
    @functools.wraps(method)
    def answer(self: IsolatedBackend, *args: Any, **kwargs: Any) -> Any:
        if own is not None and any(map(_is_read_here, (*args, *kwargs.values()))):
            return own(self, *args, **kwargs)
        # The backend itself checks the request, and makes the stream. That is all it does here.
        answer = getattr(self._here, name)(*args, **kwargs)
        if inspect.iscoroutine(answer):
            answer.close()
            return self._asked(name, Given(args, kwargs))
        if not isinstance(answer, Stream) and not hasattr(answer, "__aiter__"):
            self._tell(name, args, kwargs)
            return answer
        start = functools.partial(self._begun, name, Given(args, kwargs))
        if not isinstance(answer, Stream):
            return _generated(start)
        answer.redirect(start)
        return answer

    return answer


async def _generated(start: Callable[[], Awaitable[Source[Any]]]) -> AsyncGenerator[Any, None]:
    """Give the pieces of a backend that has no stream of ours."""
    source = await start()
    try:
        while True:
            try:
                piece = await source.__anext__()
            except StopAsyncIteration:
                return
            yield piece
    finally:
        await source.aclose()


def _is_read_here(value: Any) -> bool:
    """Say whether an argument is read bit by bit, which only this side can do."""
    return hasattr(value, "__next__") or hasattr(value, "__aiter__")
