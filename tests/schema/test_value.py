"""Our check of values says what another library says."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from blazen.errors import UnsupportedError, ValidationError
from blazen.schema import check_schema, read_value
from blazen.schema.formats import PATTERNS, has_format
from tests.schema.instances import anything, edited, instances
from tests.schema.schemas import SCHEMAS

COMPARED = [(n, s) for n, s in SCHEMAS if "format" not in json.dumps(s)]


def holds(value, schema):
    try:
        read_value(value, schema)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("schema", [pytest.param(s, id=n) for n, s in COMPARED])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_it_agrees_with_jsonschema(schema, data):
    simple = check_schema(schema)
    value = data.draw(st.one_of(instances(simple, simple), anything()))
    text = data.draw(st.one_of(st.just(json.dumps(value)), edited(json.dumps(value))))
    with suppress(ValueError):
        value = json.loads(text, parse_constant=lambda _: None)
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        reject()  # half a character is no text: UTF-8 has none, and so no engine writes one
    assert holds(value, schema) == Draft202012Validator(schema).is_valid(value)


@pytest.mark.parametrize(
    "value, schema, words",
    [
        ({"a": [1, "x"]}, {"properties": {"a": {"items": {"type": "integer"}}}},
         r'\$\.a\[1\] must be an integer, not "x"'),
        ({}, {"required": ["name"]}, r"\$\.name is missing"),
        ({"b": 1}, {"properties": {}, "additionalProperties": False}, r"\$\.b must not be there"),
        (3, {"anyOf": [{"type": "string"}, {"maximum": 2}]},
         r"\$ must be a text, not 3; or \$ must be at most 2"),
        (1, {"enum": [True, "1"]}, r'one of true, "1", not 1'),
        (True, {"const": 1}, r"\$ must be 1, not true"),
        (3, {"oneOf": [{"type": "integer"}, {"type": "number"}]}, "several"),
        (float("inf"), {"type": "number"}, "must be a number"),
        ("2023-02-29", {"format": "date"}, "format 'date'"),
        ("ab", {"pattern": "^[0-9]"}, "must match"),
        ("x" * 300, {"maxLength": 3}, r"x\.\.\."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(value, schema, words):
    with pytest.raises(ValidationError, match=words):
        read_value(value, schema)


@pytest.mark.parametrize("schema", [{"uniqueItems": True}, {"format": "color"}, {"$ref": "x.json"}])
def test_what_can_not_be_checked_is_refused_and_never_passed(schema):
    with pytest.raises(UnsupportedError):
        read_value([], schema)


def test_numbers_of_any_length_are_checked():
    assert holds(10**400, {"type": "integer", "minimum": 0.5})
    assert not holds(-(10**400), {"type": "number", "exclusiveMinimum": 0})


def test_a_reference_may_hold_any_name():
    schema = {"$ref": "#/$defs/a~1b%20c", "$defs": {"a/b c": {"type": "null"}}}
    assert holds(None, schema)
    assert check_schema(schema)["$defs"] == {"a_1b_20c": {"type": "null"}}
    assert not holds(1, {"$ref": "#/anyOf/1", "anyOf": [{}, {"type": "null"}]})


def test_what_is_nested_without_end_is_refused():
    value = []
    for _ in range(5000):
        value = [value]
    with pytest.raises(ValidationError, match="deep"):
        read_value(value, {"type": "array", "items": {"$ref": "#"}})
    with pytest.raises(ValidationError, match="deep"):
        read_value(1, {"$ref": "#"})


@pytest.mark.parametrize(
    "name, good, bad",
    [
        ("date", ["2024-02-29", "2000-02-29", "0001-01-01"],
         ["1900-02-29", "2023-02-29", "0000-01-01", "2024-13-01", "2024-04-31", "24-01-01"]),
        ("time", ["12:00:00Z", "23:59:59.25+05:30"], ["24:00:00Z", "12:00Z", "12:00:00"]),
        ("date-time", ["2024-02-29T12:00:00Z"], ["2024-02-29 12:00:00Z", "2024-02-29T12:00:00"]),
        ("uuid", ["123e4567-e89b-12d3-a456-426614174000"], ["123e4567e89b12d3a456426614174000"]),
        ("email", ["a@b.ch", "first.last@mail.example.org"], ["a b@c.ch", "a@", "@b", "a@b..c"]),
        ("ipv4", ["0.0.0.0", "255.10.1.99"], ["256.1.1.1", "1.2.3", "01.2.3.4"]),
        ("ipv6", ["::1", "2001:db8::8a2e:370:7334"], ["1::2::3", "12345::", "fe80::1%eth0"]),
        ("hostname", ["example.org", "a-b.c"], ["-a.b", "a..b", "a_b", "a" * 64]),
        ("uri", ["https://example.org/a?b=c#d", "urn:isbn:1"], ["no uri", "/path", "http://a b"]),
    ],
)  # fmt: skip
def test_formats(name, good, bad):
    assert [text for text in good if not has_format(name, text)] == []
    assert [text for text in bad if has_format(name, text)] == []


@pytest.mark.parametrize("name", sorted(PATTERNS))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_a_model_may_write_for_a_format_is_of_it(name, data):
    checker = Draft202012Validator(
        {"format": name}, format_checker=Draft202012Validator.FORMAT_CHECKER
    )
    text = data.draw(st.from_regex(PATTERNS[name].replace("[0-9]", "[0-9]"), fullmatch=True))
    assert has_format(name, text)
    assert checker.is_valid(text)
