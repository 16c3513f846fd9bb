"""Schemas that no model can be held to are refused, by name and with the place."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator

from blazen.errors import UnsupportedError, ValidationError
from blazen.schema import check_schema
from tests.schema.schemas import SCHEMAS

UNSUPPORTED = [
    ("uniqueItems", {"type": "array", "uniqueItems": True}),
    ("multipleOf", {"type": "number", "multipleOf": 0.5}),
    ("not", {"not": {"type": "string"}}),
    ("if", {"if": {"type": "string"}, "then": True}),
    ("patternProperties", {"type": "object", "patternProperties": {"^a": {}}}),
    ("minProperties", {"type": "object", "minProperties": 1}),
    ("maxProperties", {"type": "object", "maxProperties": 1}),
    ("propertyNames", {"type": "object", "propertyNames": {"maxLength": 3}}),
    ("dependentRequired", {"type": "object", "dependentRequired": {"a": ["b"]}}),
    ("contains", {"type": "array", "contains": {"const": 1}}),
    ("unevaluatedProperties", {"type": "object", "unevaluatedProperties": False}),
    ("contentEncoding", {"type": "string", "contentEncoding": "base64"}),
    ("$dynamicRef", {"$dynamicRef": "#a"}),
    ("nullable", {"type": "string", "nullable": True}),
    ("whatever", {"whatever": 1}),
]


@pytest.mark.parametrize("keyword, schema", UNSUPPORTED, ids=[name for name, _ in UNSUPPORTED])
@pytest.mark.parametrize(
    "place, around",
    [
        ("$.properties.age", lambda s: {"type": "object", "properties": {"age": s}}),
        ("$.items", lambda s: {"type": "array", "items": s}),
        ("$.anyOf[1]", lambda s: {"anyOf": [{"type": "null"}, s]}),
        ("$.allOf[0]", lambda s: {"allOf": [s]}),
        ("#/$defs/a", lambda s: {"$ref": "#/$defs/a", "$defs": {"a": s}}),
        ("$.additionalProperties", lambda s: {"additionalProperties": s}),
        ("$.prefixItems[0]", lambda s: {"type": "array", "prefixItems": [s]}),
    ],
)
def test_a_keyword_is_refused_with_its_place(keyword, schema, place, around):
    with pytest.raises(UnsupportedError) as caught:
        check_schema(around(schema))
    assert repr(keyword) in str(caught.value)
    assert place in str(caught.value)


@pytest.mark.parametrize(
    "words, schema",
    [
        ("format 'duration'", {"type": "string", "format": "duration"}),
        ("lookahead", {"type": "string", "pattern": "^(?=a)b"}),
        ("outside", {"$ref": "https://example.org/schema.json"}),
        ("anchor", {"$ref": "#name"}),
        ("100,001 characters", {"type": "string", "maxLength": 100_001}),
        ("1,000,000 items", {"type": "array", "minItems": 1_000_000}),
        ("more than 40 digits", {"type": "integer", "minimum": 10**50}),
        ("more than 40 digits", {"type": "number", "maximum": -(10**400)}),  # beyond any float
        ("13 digits", {"type": "number", "minimum": 1e14}),
        ("too large", {"enum": [1], "allOf": [{"anyOf": [{}] * 6000}]}),
        ("may both", {"oneOf": [{"type": "integer"}, {"type": "number"}]}),
        ("may both", {"oneOf": [{"type": "object"}, {"type": "object", "properties": {"a": {}}}]}),
        ("may both", {"oneOf": [{"enum": [1, 2]}, {"enum": [2.0, 3]}]}),
        ("itself", {"$ref": "#"}),
        ("itself", {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {}]}}}),
        ("itself", {"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"$ref": "#/$defs/a"}}}),
        ("different 'pattern'", {"allOf": [{"pattern": "a"}, {"pattern": "b"}]}),
        ("other lengths", {"type": "string", "pattern": "a", "maxLength": 3}),
        ("keep one", {"type": "string", "pattern": "a", "format": "date"}),
        ("name of 201", {"type": "object", "properties": {"a" * 201: {}}}),
    ],
)
def test_what_can_not_be_promised_is_refused(words, schema):
    with pytest.raises(UnsupportedError, match=words):
        check_schema(schema)


@pytest.mark.parametrize(
    "words, schema",
    [
        ("dictionary", ["no"]),
        ("JSON", {"const": {1, 2}}),
        ("JSON", {"const": float("nan")}),
        ("'type' at \\$ must be of object", {"type": "text"}),
        ("'minLength'", {"type": "string", "minLength": -1}),
        ("'required'", {"type": "object", "required": "name"}),
        ("'properties'", {"type": "object", "properties": {"a": 3}}),
        ("'anyOf'", {"anyOf": []}),
        ("'enum'", {"enum": []}),
        ("'minimum'", {"minimum": "3"}),
        ("nowhere", {"$ref": "#/$defs/missing"}),
        ("no value can fit", {"allOf": [{"type": "string"}, {"type": "null"}]}),
        ("no value can fit", {"type": "string", "minLength": 3, "maxLength": 2}),
        ("no value can fit", {"type": "integer", "minimum": 3, "exclusiveMaximum": 3}),
        ("no value can fit", {"type": "number", "minimum": 3, "maximum": 2}),
        ("no value can fit", {"type": "array", "minItems": 2, "items": False}),
        ("no value can fit", {"type": "string", "enum": [1, 2]}),
        ("properties.a", {"properties": {"a": False}, "required": ["a"]}),
        ("no value can fit", {"required": ["b"], "properties": {}, "additionalProperties": False}),
        ("never ends", {
            "$ref": "#/$defs/a",
            "$defs": {"a": {"properties": {"a": {"$ref": "#/$defs/a"}}, "required": ["a"]}},
        }),
    ],
)  # fmt: skip
def test_what_means_nothing_is_an_error(words, schema):
    with pytest.raises(ValidationError, match=words):
        check_schema(schema)


def test_a_schema_that_is_too_deep_is_refused():
    schema: dict = {"type": "null"}
    for _ in range(70):
        schema = {"type": "array", "items": schema}
    with pytest.raises(UnsupportedError, match="60 deep"):
        check_schema(schema)
    for _ in range(100_000):
        schema = {"items": schema}
    with pytest.raises(ValidationError):
        check_schema(schema)


def test_cases_that_multiply_are_refused():
    def many(size):
        return {"anyOf": [{"type": "integer", "minimum": n} for n in range(size)]}

    with pytest.raises(UnsupportedError, match="more than 200 cases"):
        check_schema({"allOf": [many(20), many(21)]})
    with pytest.raises(UnsupportedError, match="more than 200 cases"):
        check_schema({"allOf": [many(size) for size in range(8, 14)]})


@pytest.mark.parametrize("schema", [pytest.param(s, id=n) for n, s in SCHEMAS])
def test_the_simple_form_is_a_plain_schema_that_stays_as_it_is(schema):
    simple = check_schema(schema)
    Draft202012Validator.check_schema(simple)
    assert check_schema(simple) == simple
    assert "format" not in json.dumps(simple)


def test_the_schema_itself_is_left_alone():
    before = json.dumps(SCHEMAS)
    for _, schema in SCHEMAS:
        check_schema(schema)["type"] = "changed"
    assert json.dumps(SCHEMAS) == before


def simple(schema):
    return check_schema(schema)


def test_an_object_is_closed_unless_it_says_otherwise():
    assert simple({"properties": {"a": {}}})["additionalProperties"] is False
    assert simple({"type": "object", "properties": {}})["additionalProperties"] is False
    assert simple({"required": ["a"]})["properties"] == {"a": {}}
    assert simple({"type": "object"})["additionalProperties"] == {}
    opened = simple({"properties": {"a": {}}, "additionalProperties": True})
    assert opened["additionalProperties"] == {}


def test_notes_do_not_count():
    notes = {"title": "T", "description": "d", "default": 3, "examples": [1], "$schema": "x",
             "$id": "y", "$comment": "c", "deprecated": True, "discriminator": {}}  # fmt: skip
    assert simple({"type": "integer"} | notes) == {"type": "integer"}


def test_all_of_is_one_schema():
    merged = simple({
        "allOf": [
            {"properties": {"a": {"type": "integer", "minimum": 1}}, "required": ["a"]},
            {"properties": {"a": {"maximum": 5}, "b": {}}, "additionalProperties": False},
        ],
        "type": "object",
    })  # fmt: skip
    assert merged["properties"] == {"a": {"type": "integer", "minimum": 1, "maximum": 5}, "b": {}}
    assert merged["additionalProperties"] is False
    closed = {"properties": {"a": {}}, "additionalProperties": False}
    assert list(simple({"allOf": [closed, {"properties": {"b": {}}}]})["properties"]) == ["a"]


@pytest.mark.parametrize(
    "all_of, wanted",
    [
        ([{"type": ["integer", "null"]}, {"type": "number"}], {"type": "integer"}),
        ([{"enum": [1, 2, 3]}, {"enum": [3.0, 2]}], {"enum": [2, 3]}),
        ([{"enum": [1, 2]}, {"enum": [True, 2]}], {"enum": [2]}),
        ([{"const": 1}, {"type": "integer"}], {"enum": [1]}),
        ([{"anyOf": [{"type": "integer"}, {"type": "null"}]}, {"type": "null"}], {"type": "null"}),
        ([{"minimum": 1, "type": "integer"}, {"minimum": 4}], {"type": "integer", "minimum": 4}),
        ([{"type": "array", "maxItems": 4}, {"maxItems": 0}],
         {"type": "array", "items": {}, "maxItems": 0}),
        ([True, {"type": "null"}], {"type": "null"}),
        ([{"allOf": [{"type": "boolean"}]}, {}], {"type": "boolean"}),
        (
            [{"items": {"type": "number"}}, {"prefixItems": [{"type": "integer"}, {}]}],
            {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "number"}],
             "items": {"type": "number"}},
        ),
    ],
)  # fmt: skip
def test_what_must_hold_at_once(all_of, wanted):
    assert simple({"allOf": all_of}) == wanted


def test_two_choices_at_once_are_a_choice_of_both():
    first = {"anyOf": [{"type": "integer"}, {"type": "string", "maxLength": 3}]}
    second = {"anyOf": [{"type": "string", "maxLength": 2}, {"type": "null"}]}
    assert simple({"allOf": [first, second]}) == {"type": "string", "maxLength": 2}


@pytest.mark.parametrize(
    "one_of",
    [
        [{"type": "string"}, {"type": "integer"}, {"type": "null"}],
        [{"enum": [1, 2]}, {"enum": [3]}],
        [{"const": "a"}, {"type": "integer"}],
        [{"type": "integer", "maximum": 1}, {"type": "integer", "minimum": 2}],
        [{"properties": {"a": {}}, "required": ["a"]}, {"required": ["b"]}],
        [{"properties": {"k": {"const": 1}}, "required": ["k"]},
         {"properties": {"k": {"type": "string"}}, "required": ["k"]}],
    ],
)  # fmt: skip
def test_one_of_is_taken_where_no_value_can_fit_two(one_of):
    assert len(simple({"oneOf": one_of})["anyOf"]) == len(one_of)
