"""JSON schemas of many kinds, as (name, schema): what tests and benchmarks hold models to."""

from __future__ import annotations

from typing import Any

_POINT = {
    "type": "object",
    "properties": {"x": {"type": "number"}, "y": {"type": "number"}},
    "required": ["x", "y"],
}
_TREE = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}, "maxItems": 2},
    },
    "required": ["name"],
    "additionalProperties": False,
}

SCHEMAS: list[tuple[str, dict[str, Any]]] = [
    ("person", {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 30},
            "age": {"type": "integer", "minimum": 0, "maximum": 120},
        },
        "required": ["name", "age"],
        "additionalProperties": False,
    }),
    ("all optional", {
        "type": "object",
        "properties": {"a": {"type": "boolean"}, "b": {"type": "null"}, "c": {"type": "integer"}},
    }),
    ("optional among required", {
        "type": "object",
        "properties": {
            "first": {"type": "boolean"},
            "second": {"type": "integer"},
            "third": {"type": "boolean"},
            "fourth": {"type": "integer"},
        },
        "required": ["second", "fourth"],
    }),
    ("other properties of one type", {
        "type": "object",
        "properties": {"id": {"type": "integer"}},
        "required": ["id"],
        "additionalProperties": {"type": "boolean"},
    }),
    ("names alike", {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "ab": {"type": "integer"}, "é": {"type": "null"}},
        "additionalProperties": {"type": "string", "maxLength": 5},
    }),
    ("dictionary", {"type": "object", "additionalProperties": {"type": "integer"}}),
    ("empty object", {"type": "object", "properties": {}, "additionalProperties": False}),
    ("any object", {"type": "object"}),
    ("any JSON", {}),
    ("nested objects", {
        "type": "object",
        "properties": {"from": _POINT, "to": _POINT},
        "required": ["from", "to"],
    }),
    ("three deep", {
        "type": "object",
        "properties": {"a": {"type": "object", "properties": {
            "b": {"type": "object", "properties": {"c": {"const": True}}, "required": ["c"]},
        }, "required": ["b"]}},
        "required": ["a"],
    }),
    ("list of integers", {"type": "array", "items": {"type": "integer"}}),
    ("two to four words", {
        "type": "array",
        "items": {"type": "string", "minLength": 1, "maxLength": 10},
        "minItems": 2,
        "maxItems": 4,
    }),
    ("exactly three", {
        "type": "array", "items": {"type": "boolean"}, "minItems": 3, "maxItems": 3,
    }),
    ("no items", {"type": "array", "maxItems": 0}),
    ("any list", {"type": "array", "maxItems": 3}),
    ("pair", {
        "type": "array",
        "prefixItems": [{"type": "string", "maxLength": 8}, {"type": "integer"}],
        "minItems": 2,
        "maxItems": 2,
    }),
    ("prefix and more", {
        "type": "array",
        "prefixItems": [{"const": "x"}, {"type": "integer"}],
        "items": {"type": "boolean"},
        "minItems": 1,
        "maxItems": 4,
    }),
    ("prefix alone", {
        "type": "array", "prefixItems": [{"type": "null"}, {"type": "boolean"}], "items": False,
    }),
    ("table", {
        "type": "array",
        "items": {"type": "array", "items": {"type": "integer", "minimum": -9, "maximum": 9},
                  "maxItems": 3},
        "maxItems": 3,
    }),
    ("text", {"type": "string"}),
    ("short text", {"type": "string", "minLength": 3, "maxLength": 8}),
    ("long text", {"type": "string", "maxLength": 5000}),
    ("pattern", {"type": "string", "pattern": "^[A-Z]{2}-\\d{4}$"}),
    ("pattern anywhere", {"type": "string", "pattern": "[0-9]{3}"}),
    ("pattern with quotes", {"type": "string", "pattern": "^(\"|\\\\|\\t|é)+[^a-z]?$"}),
    ("date", {"type": "string", "format": "date"}),
    ("time", {"type": "string", "format": "time"}),
    ("date and time", {"type": "string", "format": "date-time"}),
    ("uuid", {"type": "string", "format": "uuid"}),
    ("email", {"type": "string", "format": "email"}),
    ("address", {"anyOf": [{"type": "string", "format": "ipv4"},
                           {"type": "string", "format": "ipv6"}]}),
    ("uri", {"type": "string", "format": "uri"}),
    ("integer", {"type": "integer"}),
    ("percent", {"type": "integer", "minimum": 0, "maximum": 100}),
    ("negative too", {"type": "integer", "minimum": -150, "exclusiveMaximum": 37}),
    ("at least", {"type": "integer", "exclusiveMinimum": 99}),
    ("number", {"type": "number"}),
    ("probability", {"type": "number", "minimum": 0, "maximum": 1}),
    ("open interval", {"type": "number", "exclusiveMinimum": -0.25, "exclusiveMaximum": 12.75}),
    ("positive", {"type": "number", "exclusiveMinimum": 0}),
    ("choice", {"enum": ["red", "green", "a \"quoted\" blue", 7, None, True, [1, {"a": 2.5}]]}),
    ("constant", {"const": {"kind": "fixed", "values": [1, 2]}}),
    ("nullable", {"type": ["integer", "null"], "maximum": 5}),
    ("any of", {"anyOf": [{"type": "integer"}, {"type": "string", "maxLength": 5}, _POINT]}),
    ("one of by kind", {
        "oneOf": [
            {"type": "object", "required": ["kind", "lives"],
             "properties": {"kind": {"const": "cat"}, "lives": {"type": "integer"}}},
            {"type": "object", "properties": {"kind": {"const": "dog"}, "good": {"const": True}},
             "required": ["kind", "good"]},
        ],
        "discriminator": {"propertyName": "kind"},
    }),
    ("all of", {
        "allOf": [
            {"$ref": "#/$defs/named"},
            {"properties": {"size": {"type": "integer", "minimum": 1}}, "required": ["size"]},
            {"properties": {"size": {"maximum": 3}}},
        ],
        "$defs": {"named": {
            "type": "object",
            "properties": {"name": {"type": "string", "maxLength": 9}},
            "required": ["name"],
        }},
    }),
    ("base and cases", {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}, "why": {"type": "string", "maxLength": 9}},
        "anyOf": [
            {"properties": {"ok": {"const": True}}, "required": ["ok"]},
            {"properties": {"ok": {"const": False}}, "required": ["ok", "why"]},
        ],
    }),
    ("tree", {"$ref": "#/$defs/tree", "$defs": {"tree": _TREE}}),
    ("linked list", {
        "type": "object",
        "properties": {
            "value": {"type": "integer", "minimum": 0, "maximum": 9},
            "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
        },
        "required": ["value", "next"],
    }),
    ("definitions", {
        "type": "object",
        "properties": {"home": {"$ref": "#/definitions/address"},
                       "work": {"$ref": "#/definitions/address", "description": "if any"}},
        "required": ["home"],
        "definitions": {"address": {
            "type": "object",
            "title": "Address",
            "properties": {"city": {"type": "string", "maxLength": 12, "default": "Bern"},
                           "code": {"type": "string", "pattern": "^\\d{4}$"}},
            "required": ["city", "code"],
            "additionalProperties": False,
        }},
    }),
    ("odd names", {
        "type": "object",
        "properties": {"with \"quotes\"": {"type": "boolean"}, "back\\slash": {"type": "boolean"},
                       "new\nline": {"type": "boolean"}, "": {"type": "null"}},
        "required": ["with \"quotes\"", "back\\slash", "new\nline"],
    }),
    ("invoice", {
        "type": "object",
        "properties": {
            "number": {"type": "string", "pattern": "^INV-[0-9]{3,6}$"},
            "date": {"type": "string", "format": "date"},
            "lines": {
                "type": "array",
                "minItems": 1,
                "maxItems": 2,
                "items": {
                    "type": "object",
                    "properties": {
                        "what": {"type": "string", "minLength": 1, "maxLength": 20},
                        "count": {"type": "integer", "minimum": 1, "maximum": 99},
                        "price": {"type": "number", "minimum": 0, "maximum": 9999.99},
                    },
                    "required": ["what", "count", "price"],
                    "additionalProperties": False,
                },
            },
            "paid": {"type": ["boolean", "null"]},
        },
        "required": ["number", "date", "lines"],
        "additionalProperties": False,
    }),
]  # fmt: skip
