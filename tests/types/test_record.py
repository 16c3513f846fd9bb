"""Records: to JSON and back, and what does not fit says where it stands."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from blazen.errors import ValidationError
from blazen.types.record import Record, Settings, decode, encode


class Colour(str, enum.Enum):
    Red = "red"
    Blue = "blue"


class Box:
    kind = "box"

    def __init__(self, side):
        self.side = side

    def __eq__(self, other):
        return isinstance(other, Box) and self.side == other.side

    def to_dict(self):
        return {"kind": "box", "side": self.side}

    @classmethod
    def from_dict(cls, data):
        return cls(data["side"])


class Ball:
    kind = "ball"

    def to_dict(self):
        return {"kind": "ball"}

    @classmethod
    def from_dict(cls, data):
        return cls()


@dataclass(frozen=True)
class Inner(Record):
    number: float = 0.0


@dataclass(frozen=True)
class Outer(Record):
    name: str
    colour: Colour = Colour.Red
    data: bytes = b""
    path: Path | None = None
    inner: Inner | None = None
    many: tuple[Inner, ...] = ()
    pair: tuple[int, str] = (0, "")
    shape: str | Box | Ball = ""
    mode: Literal["a", "b"] = "a"
    table: dict[int, float] = field(default_factory=dict)
    flag: bool = False


def test_everything_comes_back():
    full = Outer(
        "n",
        Colour.Blue,
        b"\x00\xff",
        Path("a") / "b",
        Inner(1.5),
        (Inner(1.0), Inner(2.0)),
        (3, "x"),
        Box(4),
        "b",
        {7: 0.5},
        True,
    )
    assert Outer.from_json(full.to_json()) == full
    assert Outer.from_json(full.to_json(indent=2).encode()) == full
    assert isinstance(Outer.from_dict({"name": "n", "shape": {"kind": "ball"}}).shape, Ball)


def test_defaults_are_left_out():
    assert Outer("n").to_dict() == {"name": "n"}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({}, "name"),
        ({"name": 3}, r"Outer\.name must be a text, not 3"),
        ({"name": "n", "colour": "green"}, "Outer.colour must be one of"),
        ({"name": "n", "inner": {"number": "x"}}, r"Outer\.inner\.number must be a number"),
        ({"name": "n", "many": [{}, {"number": []}]}, r"Outer\.many\[1\]\.number"),
        ({"name": "n", "many": {}}, "must be a list"),
        ({"name": "n", "pair": [1]}, "a list of 2"),
        ({"name": "n", "mode": "c"}, "one of"),
        ({"name": "n", "flag": 1}, "true or false"),
        ({"name": "n", "table": {"x": []}}, "table"),
        ({"name": "n", "unheard": 1}, "unheard"),
        ({"name": "n", "shape": 7}, "shape"),
        ({"name": "n", "data": 5}, "base64"),
        ({"name": "n", "data": "abc"}, "base64"),
        ({"name": "n", "data": "!!!"}, "base64"),
        ({"name": "n", "table": {"--5": 1.0}}, "table"),
        ({"name": "n", 5: 1, "x": 2}, "unknown 'x', 5"),
    ],
)
def test_what_does_not_fit_says_where(data, says):
    with pytest.raises(ValidationError, match=says):
        Outer.from_dict(data)


@pytest.mark.parametrize("text", ["", "{", b"\xff", "nul"])
def test_broken_json_is_a_validation_error(text):
    with pytest.raises(ValidationError, match="JSON"):
        Outer.from_json(text)


def test_a_list_is_no_record():
    with pytest.raises(ValidationError, match="object"):
        Outer.from_json("[]")


def test_what_has_no_json_form_is_refused():
    with pytest.raises(ValidationError, match="no JSON form"):
        encode(object())
    assert encode({1: {2.5}, "e": Colour.Red}) == {"1": [2.5], "e": "red"}


def test_settings_come_as_an_object_a_dictionary_or_nothing():
    @dataclass(frozen=True)
    class Choice(Settings):
        speed: float = 1.0

    assert Choice.of(None) == Choice()
    assert Choice.of(Choice(2.0)) == Choice(2.0)
    assert decode(float, 2, "x") == 2.0
    with pytest.raises(ValidationError, match="Choice or a dictionary"):
        Choice.of("fast")
