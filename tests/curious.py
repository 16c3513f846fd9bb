"""What someone very curious can see: of errors, of the variables in their tracebacks, of logs."""

from __future__ import annotations

import contextlib
import logging
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent
DEPTH = 4
_PLAIN = (str, bytes, int, float, bool, type(None))
_CODE = (type, types.ModuleType, types.FunctionType, types.MethodType, types.CodeType)


def seen_in(error: BaseException) -> str:
    """Give all that a reporter of errors may write: messages, notes, and every frame's variables.

    Frames of the tests themselves are left out: they hold the key in order to look for it.
    """
    texts: list[str] = []
    known: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        each = todo.pop()
        if each is None or id(each) in known:
            continue
        known.add(id(each))
        texts += [str(each), repr(each), repr(each.args), repr(vars(each))]
        texts += _values(vars(each), set())
        todo += [each.__cause__, each.__context__, *getattr(each, "exceptions", ())]
        trace = each.__traceback__
        while trace is not None:
            if not trace.tb_frame.f_code.co_filename.startswith(str(TESTS)):
                texts += _values(trace.tb_frame.f_locals, set())
            trace = trace.tb_next
    return "\n".join(texts)


def seen_of(value: Any) -> str:
    """Give the repr of a value and of what it holds."""
    return "\n".join(_values({"value": value}, set()))


def _values(variables: Mapping[str, Any], known: set[int], depth: int = DEPTH) -> Iterator[str]:
    for value in variables.values():
        if isinstance(value, _CODE) or id(value) in known:
            continue
        known.add(id(value))
        with contextlib.suppress(Exception):  # a repr of a half-made object may fail
            yield repr(value)
        if depth and not isinstance(value, _PLAIN):
            yield from _values(_inside(value), known, depth - 1)


def _inside(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return {str(place): each for place, each in enumerate((*value.values(), *value))}
    if isinstance(value, (list, tuple, set, frozenset)):
        return {str(place): each for place, each in enumerate(value)}
    raw = {"raw": value.raw} if type(value).__name__ == "Headers" else {}
    return {**getattr(value, "__dict__", {}), **raw}


class Everything(logging.Handler):
    """Hears every logger at its most talkative."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []
        self.names: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message, and all else that a formatter may write."""
        self.names.add(record.name.partition(".")[0])
        self.texts += [record.getMessage(), repr(vars(record))]
        if record.exc_info and record.exc_info[1] is not None:
            self.texts.append(seen_in(record.exc_info[1]))


@contextlib.contextmanager
def overheard() -> Iterator[Everything]:
    """Hear all that is logged within, whatever the loggers were set to."""
    handler = Everything()
    before = {}
    names = [name for name in logging.root.manager.loggerDict if not name.startswith("asyncio")]
    for logger in [logging.root, *map(logging.getLogger, names)]:
        before[logger] = (logger.level, logger.disabled, logger.propagate)
        logger.disabled, logger.propagate = False, True
        logger.setLevel(logging.DEBUG)
    logging.root.addHandler(handler)
    try:
        yield handler
    finally:
        logging.root.removeHandler(handler)
        for logger, (level, disabled, propagate) in before.items():
            logger.setLevel(level)
            logger.disabled, logger.propagate = disabled, propagate
