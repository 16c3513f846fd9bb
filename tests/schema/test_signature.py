"""Functions as tools."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Literal

import pytest

from blazen.errors import UnsupportedError, ValidationError
from blazen.schema import check_schema, read_arguments, tool_schema
from blazen.types.chat import Tool, ToolCall


class Unit(Enum):
    C = "celsius"
    F = "fahrenheit"


@dataclass
class Place:
    city: str
    country: str = "CH"


def weather(place: Place, unit: Unit = Unit.C, *, days: Annotated[int, "how far"] = 1) -> str:
    """Tell the weather
    of a place.

    It is a forecast.

    Args:
        place (Place): Where,
            as exactly as is known.
        unit: What to measure in: one of two.

    Returns:
        What it will be.
    """
    return f"{place} {unit} {days}"


def test_a_function_is_described_by_its_signature_and_docstring():
    description, parameters = tool_schema(weather)
    assert description == "Tell the weather of a place."
    assert parameters["required"] == ["place"]
    assert parameters["additionalProperties"] is False
    described = {name: one.get("description") for name, one in parameters["properties"].items()}
    assert described == {
        "place": "Where, as exactly as is known.",
        "unit": "What to measure in: one of two.",
        "days": "how far",
    }
    assert parameters["properties"]["unit"]["enum"] == ["celsius", "fahrenheit"]
    check_schema(parameters)


def test_arguments_have_the_types_that_the_function_names():
    call = ToolCall("1", "weather", '{"place": {"city": "Bern"}, "unit": "celsius", "days": 2}')
    arguments = call.parsed(weather)
    assert arguments == {"place": Place("Bern"), "unit": Unit.C, "days": 2}
    assert weather(**arguments) == f"{Place('Bern')} Unit.C 2"
    assert read_arguments(weather, {"place": {"city": "a", "country": "b"}}) == {
        "place": Place("a", "b")
    }


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({}, r"weather\.place is missing"),
        ({"place": {"city": 3}}, r"weather\.place\.city must be a text"),
        ({"place": {"city": "a"}, "when": 1}, r"weather\.when must not be there"),
        ({"place": {"city": "a"}, "unit": "kelvin"}, r"weather\.unit must be one of"),
        ({"place": {"city": "a"}, "days": "1"}, r"weather\.days must be an integer"),
    ],
)
def test_arguments_that_do_not_fit_are_an_error(arguments, words):
    with pytest.raises(ValidationError, match=words):
        read_arguments(weather, arguments)


def test_numpy_docstrings_are_read_too():
    def search(query: str, limit: int = 3) -> None:
        """Search.

        Parameters
        ----------
        query : str
            What to look for.
        limit : int, optional
            How many to give,
            at most.

        Returns
        -------
        None
        """

    description, parameters = tool_schema(search)
    assert description == "Search."
    assert parameters["properties"]["query"]["description"] == "What to look for."
    assert parameters["properties"]["limit"]["description"] == "How many to give, at most."


def test_a_docstring_may_hold_arguments_alone_or_nothing():
    def first(a: int) -> None:
        """Args:
        a: A number.
        """

    def second(a: int) -> None: ...

    def third(a: int) -> None:
        """Parameters are what it has."""

    assert tool_schema(first)[0] == ""
    assert tool_schema(second) == (
        "",
        {
            "type": "object",
            "properties": {"a": {"type": "integer"}},
            "required": ["a"],
            "additionalProperties": False,
        },
    )
    assert tool_schema(third)[0] == "Parameters are what it has."


class Shop:
    def buy(self, item: Literal["pen", "ink"], count: int = 1) -> int:
        """Buy something."""
        return count

    @classmethod
    def open(cls, hour: int) -> bool:
        return hour > 8

    def __call__(self, what: str) -> str:
        """Ask for something."""
        return what


def test_methods_and_callable_objects_leave_out_self():
    assert list(tool_schema(Shop().buy)[1]["properties"]) == ["item", "count"]
    assert list(tool_schema(Shop.open)[1]["properties"]) == ["hour"]
    assert list(tool_schema(Shop())[1]["properties"]) == ["what"]
    given = functools.partial(Shop().buy, count=3)
    assert tool_schema(given)[1]["required"] == ["item"]
    assert read_arguments(Shop().buy, {"item": "ink"}) == {"item": "ink"}


def test_a_coroutine_function_is_a_tool():
    async def fetch(url: str) -> str:
        """Fetch a page."""
        return url

    assert Tool.of(fetch).parameters == tool_schema(fetch)[1]


def everything(*args: int) -> None: ...
def keywords(**options: int) -> None: ...
def positional(a: int, /) -> None: ...
def bare(a) -> None: ...
def lost(a: Nowhere) -> None: ...  # noqa: F821 - that it is nowhere is the point


@pytest.mark.parametrize(
    "function, words",
    [
        (everything, r"'\*args' of 'everything'"),
        (keywords, r"'\*\*options' of 'keywords'"),
        (positional, "'a' of 'positional' can't be given by name"),
        (bare, "'a' of 'bare' has no annotation"),
        (lost, "Nowhere"),
        (dict.update, "can't be read|has no annotation|can't be given"),
    ],
)
def test_parameters_that_a_model_can_not_give_are_an_error(function, words):
    with pytest.raises(ValidationError, match=words):
        tool_schema(function)


def test_a_parameter_without_a_json_form_is_named():
    def send(data: bytes) -> None: ...

    with pytest.raises(UnsupportedError, match=r"'data' of 'send'.*bytes"):
        tool_schema(send)


class Greeting:
    """Greet someone."""

    def __init__(self, name: str, times: int = 1) -> None:
        self.said = name * times


def test_a_class_is_a_tool():
    tool = Tool.of(Greeting)
    assert (tool.name, tool.description) == ("Greeting", "Greet someone.")
    assert tool.parameters["required"] == ["name"]
    assert read_arguments(Greeting, {"name": "a", "times": 2.0}) == {"name": "a", "times": 2}


def test_what_a_partial_function_is_given_is_not_asked_for():
    def find(place: str, database: object, most: int = 3) -> None:
        """Find it."""

    tool = Tool.of(functools.partial(find, database=object()))
    assert (tool.name, tool.description) == ("find", "Find it.")
    assert list(tool.parameters["properties"]) == ["place", "most"]


@pytest.mark.parametrize("text", ["1/0", "1 +", "typing.Nothing", "Nowhere"])
def test_annotations_that_are_no_types_are_an_error(text):
    def odd(x):
        pass

    odd.__annotations__ = {"x": text}
    with pytest.raises(ValidationError, match="odd"):
        Tool.of(odd)


@pytest.mark.parametrize(
    "given",
    [
        {"name": "a b"},
        {"name": 3},
        {"name": 'a"'},
        {"name": "a", "parameters": [1]},
        {"name": "a", "parameters": {"type": "array"}},
        {"name": "a", "description": None},
    ],
)
def test_a_tool_that_no_model_could_call_is_refused(given):
    with pytest.raises(ValidationError, match="a tool"):
        Tool(**given)
