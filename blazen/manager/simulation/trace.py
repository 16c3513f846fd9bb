"""What a simulation replays: models, and the requests for them over time."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from blazen.checks import check_range
from blazen.errors import ValidationError
from blazen.types.footprint import Footprint
from blazen.types.record import Record, parse_json

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class SimulatedModel(Record):
    """A model as a simulation knows it: what it takes, and how long it loads.

    ``footprint`` is a `Footprint`, or sizes by pool such as ``{"gpu:0": "5GiB"}``.
    """

    id: str
    footprint: Footprint | Mapping[str, int | str]
    load_seconds: float = 1.0
    unload_seconds: float = 0.1
    pinned: bool = False
    keep_alive: float | None = None
    priority: int = 0
    threads: int = 0
    """The cores that it keeps busy while it works; 0 where that is not to count."""

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id:
            raise ValidationError(f"a model's id is a text, not {self.id!r}")
        object.__setattr__(self, "footprint", _read_footprint(self.footprint))
        check_range("load_seconds", self.load_seconds, at_least=0)
        check_range("unload_seconds", self.unload_seconds, at_least=0)
        check_range("keep_alive", self.keep_alive, at_least=0)
        check_range("priority", self.priority, integer=True)
        check_range("threads", self.threads, at_least=0, integer=True)

    @property
    def takes(self) -> Footprint:
        """What it takes, read and checked."""
        return _read_footprint(self.footprint)


@dataclass(frozen=True)
class Request(Record):
    """A request for a model: when it is made, and how long it has the model then."""

    at: float
    """Seconds since the trace began."""
    model: str
    seconds: float
    priority: int | None = None
    """Its model's where it is left out."""
    client: str = ""
    """Requests of one client follow each other: each is made when the one before it has ended, and
    not before ``at``."""

    def __post_init__(self) -> None:
        check_range("at", self.at, at_least=0)
        check_range("seconds", self.seconds, at_least=0)
        check_range("priority", self.priority, integer=True)


@dataclass(frozen=True)
class Trace(Record):
    """Models and the requests for them, in the order of their times."""

    models: tuple[SimulatedModel, ...]
    requests: tuple[Request, ...]

    def __post_init__(self) -> None:
        known = {model.id for model in self.models}
        if len(known) != len(self.models):
            ids = [model.id for model in self.models]
            twice = next(id for id in ids if ids.count(id) > 1)  # noqa: A001 - the models' own word
            raise ValidationError(f"the trace has two models of the name {twice!r}: rename one")
        for request in self.requests:
            if request.model not in known:
                raise ValidationError(
                    f"the trace asks for {request.model!r} and has no model of that name: "
                    f"add SimulatedModel({request.model!r}, ...) to it"
                )
        in_time = sorted(self.requests, key=lambda request: request.at)
        object.__setattr__(self, "models", tuple(self.models))
        object.__setattr__(self, "requests", tuple(in_time))

    @classmethod
    def of(cls, items: Iterable[SimulatedModel | Request]) -> Self:
        """Build one from models and requests in any order."""
        if isinstance(items, cls):
            return items
        models: list[SimulatedModel] = []
        requests: list[Request] = []
        for item in items:
            if isinstance(item, SimulatedModel):
                models.append(item)
            elif isinstance(item, Request):
                requests.append(item)
            else:
                raise ValidationError(
                    f"a trace is made of SimulatedModel and Request, not {item!r:.80}"
                )
        return cls(tuple(models), tuple(requests))

    def __iter__(self) -> Iterator[SimulatedModel | Request]:
        return itertools.chain(self.models, self.requests)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON lines: one for each model, then one for each request."""
        with Path(path).open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{item.to_json()}\n" for item in self)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """Read JSON lines: one with ``model`` is a request, one with ``id`` a model."""
        with Path(path).open(encoding="utf-8") as file:
            return cls.of(
                _read_line(line, f"{path}, line {number}")
                for number, line in enumerate(file, start=1)
                if line.strip()
            )


def _read_footprint(footprint: Footprint | Mapping[str, int | str]) -> Footprint:
    if isinstance(footprint, Footprint):
        return footprint
    return Footprint(resident=footprint)  # type: ignore[arg-type]  # it reads texts, too


def _read_line(line: str, where: str) -> SimulatedModel | Request:
    try:
        data = parse_json(line)
        kind = Request if isinstance(data, dict) and "model" in data else SimulatedModel
        return kind.from_dict(data)
    except ValidationError as error:
        raise ValidationError(f"{where}: {error}") from error
