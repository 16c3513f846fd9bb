"""Python types as schemas, and values of them from JSON."""

from __future__ import annotations

import collections
import collections.abc
import dataclasses
import datetime
import decimal
import enum
import ipaddress
import json
import pathlib
import sys
import typing
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple, NewType, TypedDict, Union

import pytest
from jsonschema import Draft202012Validator

from blazen.errors import UnsupportedError, ValidationError
from blazen.schema import check_schema, read_value, schema_of

pydantic = pytest.importorskip("pydantic")


class Colour(enum.Enum):
    Red = "red"
    Green = "green"


class Level(enum.IntEnum):
    Low = 1
    High = 2


@dataclass
class Point:
    """A place on a plane."""

    x: float
    y: float = 0.0


@dataclass
class Shape:
    name: str
    points: list[Point]
    colour: Colour = Colour.Red
    centre: Point | None = None
    tags: set[str] = field(default_factory=set)
    hidden: int = field(default=3, init=False)


@dataclass
class Tree:
    value: int
    children: list[Tree] = field(default_factory=list)


class Film(TypedDict):
    title: str
    year: int


class Pair(NamedTuple):
    left: int
    right: str = "r"


class Address(pydantic.BaseModel):
    city: str
    code: str = pydantic.Field(pattern=r"^\d{4}$")


class Person(pydantic.BaseModel):
    name: str = pydantic.Field(max_length=20)
    age: int = pydantic.Field(ge=0, lt=150)
    home: Address
    friends: list[Person] = pydantic.Field(default_factory=list)


@dataclass
class Company:
    boss: Person
    seat: Address


OldUnion = Union  # the form without "|", under a name that no linter rewrites
UserId = NewType("UserId", int)

ROUND = [
    (str, "a", "a"),
    (int, 3, 3),
    (int, 3.0, 3),
    (float, 3, 3.0),
    (bool, True, True),
    (None, None, None),
    (Any, {"a": [1]}, {"a": [1]}),
    (Colour, "green", Colour.Green),
    (Level, 2, Level.High),
    (Literal["a", 1, Colour.Red], "red", Colour.Red),
    (Literal[1, True], True, True),
    (OldUnion[int, None], None, None),
    (OldUnion[int, str], "3", "3"),
    (int | None, 4, 4),
    (OldUnion[Point, Film], {"title": "t", "year": 1}, {"title": "t", "year": 1}),
    (list[int], [1, 2], [1, 2]),
    (list, [1, "a"], [1, "a"]),
    (Sequence[Colour], ["red"], [Colour.Red]),
    (tuple[int, str], [1, "a"], (1, "a")),
    (tuple[int, ...], [1, 2], (1, 2)),
    (tuple[()], [], ()),
    (set[int], [1, 2, 1], {1, 2}),
    (frozenset[str], ["a"], frozenset("a")),
    (set, [1, 2, 1], {1, 2}),
    (dict[str, Point], {"a": {"x": 1}}, {"a": Point(1.0)}),
    (Mapping[str, int], {"a": 1}, {"a": 1}),
    (dict, {"a": 1}, {"a": 1}),
    (datetime.date, "2024-02-29", datetime.date(2024, 2, 29)),
    (datetime.time, "12:00:00.5Z", datetime.time(12, 0, 0, 500_000, datetime.timezone.utc)),
    (datetime.datetime, "2024-02-29T12:00:00+00:00",
     datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.timezone.utc)),
    (uuid.UUID, "12345678-1234-5678-1234-567812345678",
     uuid.UUID("12345678-1234-5678-1234-567812345678")),
    (ipaddress.IPv4Address, "10.0.0.1", ipaddress.IPv4Address("10.0.0.1")),
    (ipaddress.IPv6Address, "::1", ipaddress.IPv6Address("::1")),
    (decimal.Decimal, 1.5, decimal.Decimal("1.5")),
    (pathlib.Path, "a/b", pathlib.Path("a/b")),
    (Annotated[int, "a note", 3], 3, 3),
    (Annotated[int, {"not": "hashable"}], 3, 3),
    (UserId, 7, 7),
    (Point, {"x": 1.5, "y": 2}, Point(1.5, 2.0)),
    (Shape, {"name": "s", "points": [{"x": 0}], "colour": "green", "tags": ["a"]},
     Shape("s", [Point(0.0)], Colour.Green, None, {"a"})),
    (Tree, {"value": 1, "children": [{"value": 2}]}, Tree(1, [Tree(2)])),
    (Film, {"title": "Alien", "year": 1979}, {"title": "Alien", "year": 1979}),
    (Pair, {"left": 1}, Pair(1)),
    (Person, {"name": "n", "age": 3, "home": {"city": "c", "code": "3000"}, "friends": []},
     Person(name="n", age=3, home=Address(city="c", code="3000"))),
    (Company, {"boss": {"name": "n", "age": 3, "home": {"city": "c", "code": "3000"}},
               "seat": {"city": "d", "code": "1000"}},
     Company(Person(name="n", age=3, home=Address(city="c", code="3000")),
             Address(city="d", code="1000"))),
]  # fmt: skip


@pytest.mark.parametrize("tp, data, wanted", ROUND, ids=lambda value: str(value)[:40])
def test_a_value_comes_back_as_its_type(tp, data, wanted):
    schema = schema_of(tp)
    json.dumps(schema)
    Draft202012Validator.check_schema(schema)
    check_schema(schema)
    built = read_value(data, schema, tp)
    assert built == wanted
    assert type(built) is type(wanted)


@pytest.mark.parametrize(
    "tp, data, words",
    [
        (Point, {"y": 1}, r"\$\.x is missing"),
        (Point, {"x": 1, "z": 1}, r"\$\.z must not be there"),
        (Shape, {"name": "s", "points": [{"x": "no"}]}, r"\$\.points\[0\]\.x must be a number"),
        (Tree, {"value": 1, "children": [{"value": "2"}]}, r"children\[0\]\.value"),
        (Colour, "blue", '"red", "green"'),
        (tuple[int, str], [1], "at least 2 items"),
        (OldUnion[int, None], "a", "an integer, not .a.; or .* null"),
        (Person, {"name": "n", "age": 150, "home": {"city": "c", "code": "3000"}}, "less than 150"),
        (datetime.date, "2023-02-29", "format 'date'"),
        (bool, 1, "true or false"),
        (int, True, "an integer"),
    ],
)
def test_what_does_not_fit_is_an_error_with_its_place(tp, data, words):
    with pytest.raises(ValidationError, match=words):
        read_value(data, schema_of(tp), tp)


def test_what_a_class_itself_refuses_is_an_error():
    class Even(pydantic.BaseModel):
        number: int

        @pydantic.field_validator("number")
        @classmethod
        def check(cls, value):
            if value % 2:
                raise ValueError("it is odd")
            return value

    @dataclass
    class Small:
        number: int

        def __post_init__(self):
            if self.number > 5:
                raise ValueError("it is large")

    for tp, data, words in ((Even, {"number": 3}, "odd"), (Small, {"number": 9}, "large")):
        with pytest.raises(ValidationError, match=words) as caught:
            read_value(data, schema_of(tp), tp)
        assert caught.value.__cause__ is not None


class Opaque:
    pass


@pytest.mark.parametrize("tp", [Opaque, bytes, complex, dict[int, str], type, list[Opaque], 3])
def test_what_json_has_no_form_for_is_refused(tp):
    with pytest.raises(UnsupportedError):
        schema_of(tp)


def test_the_field_that_has_no_form_is_named():
    @dataclass
    class Holder:
        inner: list[bytes]

    with pytest.raises(UnsupportedError, match=r"Holder\.inner.*bytes"):
        schema_of(Holder)


def test_a_class_is_described():
    assert schema_of(Point) == {
        "type": "object",
        "description": "A place on a plane.",
        "properties": {"x": {"type": "number"}, "y": {"type": "number"}},
        "required": ["x"],
        "additionalProperties": False,
    }
    assert "description" not in schema_of(Tree)["$defs"]["Tree"]
    assert schema_of(Annotated[int, "how many"])["description"] == "how many"


def test_two_classes_of_one_name_stay_apart():
    def make(tp):
        @dataclass
        class Same:
            value: tp

        return Same

    make.__annotations__.clear()
    first, second = make(int), make(str)
    first.__annotations__["value"], second.__annotations__["value"] = int, str

    schema = schema_of(tuple[first, second])
    assert len(schema["$defs"]) == 2
    assert read_value([{"value": 1}, {"value": "a"}], schema, tuple[first, second])[1].value == "a"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Required is of Python 3.11")
def test_keys_that_may_be_left_out():
    from typing import NotRequired

    class Book(TypedDict):
        title: str
        year: NotRequired[int]

    Book.__annotations__ = {"title": str, "year": NotRequired[int]}
    assert schema_of(Book)["required"] == ["title"]
    assert read_value({"title": "t"}, schema_of(Book), Book) == {"title": "t"}


def test_annotations_that_can_not_be_read_are_an_error():
    @dataclass
    class Broken:
        value: Nowhere  # noqa: F821 - that it is nowhere is the point

    with pytest.raises(ValidationError, match="Nowhere"):
        schema_of(Broken)


@pytest.mark.parametrize("text", ["1/0", "1 +", "typing.Nothing"])
def test_annotations_that_are_no_types_are_an_error(text):
    cls = dataclass(type("Odd", (), {"__annotations__": {"x": text}}))
    with pytest.raises(ValidationError, match="Odd"):
        schema_of(cls)


@pytest.mark.parametrize(
    "tp, data, wanted",
    [
        (typing.List, [1], [1]),  # noqa: UP006 - the old names are what is tried
        (typing.Dict, {"a": 1}, {"a": 1}),  # noqa: UP006
        (collections.abc.Set[int], [1, 1], frozenset({1})),
        (collections.abc.MutableSet[int], [1, 1], {1}),
        (Literal[1, True], 1.0, 1),
    ],
)
def test_more_types_come_back_as_they_are_named(tp, data, wanted):
    built = read_value(data, schema_of(tp), tp)
    assert built == wanted
    assert type(built) is type(wanted)


@pytest.mark.parametrize(
    "tp",
    [
        collections.deque[int],
        collections.OrderedDict[str, int],
        collections.Counter[str],
        collections.abc.Iterator[int],
        set[list[int]],
    ],
)
def test_what_would_come_back_as_another_type_is_refused(tp):
    with pytest.raises(UnsupportedError):
        schema_of(tp)


def test_a_set_of_what_has_no_hash_is_an_error():
    with pytest.raises(ValidationError, match="set"):
        read_value([[1]], schema_of(set[Any]), set[Any])


@dataclass
class Given:
    number: int
    start: dataclasses.InitVar[int]
    count: typing.ClassVar[int] = 3

    def __post_init__(self, start):
        self.number += start


@pytest.mark.skipif(sys.version_info < (3, 11), reason="its typing can't read an InitVar in a text")
def test_what_only_the_making_of_a_dataclass_takes_is_asked_for():
    assert read_value({"number": 1, "start": 2}, schema_of(Given), Given).number == 3


def test_a_pydantic_model_without_a_schema_is_refused():
    caller = pydantic.create_model("Caller", call=(collections.abc.Callable[[int], int], ...))
    with pytest.raises(UnsupportedError, match="Caller"):
        schema_of(caller)
