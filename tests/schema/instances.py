"""Values that fit a schema, and texts near them."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from hypothesis import strategies as st

_TEXT = st.characters(exclude_categories=("Cs",))
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(_TEXT, max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(_TEXT, max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


def anything() -> st.SearchStrategy[Any]:
    return _JSON


def instances(schema: dict[str, Any], root: dict[str, Any], depth: int = 0) -> st.SearchStrategy:
    """Values that fit a schema in the simple form which `check_schema` gives."""
    if "$ref" in schema:
        target = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
        return st.deferred(lambda: instances(target, root, depth + 1))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        branches = schema["anyOf"]
        if depth > 2:  # what refers to itself must come to an end
            branches = [b for b in branches if "$ref" not in b] or branches
        return st.one_of([instances(branch, root, depth) for branch in branches])
    if "type" not in schema:
        return _JSON
    return {
        "object": _objects,
        "array": _arrays,
        "string": lambda s, *_: _strings(s),
        "integer": lambda s, *_: _integers(s),
        "number": lambda s, *_: _numbers(s),
        "boolean": lambda *_: st.booleans(),
        "null": lambda *_: st.none(),
    }[schema["type"]](schema, root, depth)


@st.composite
def _objects(draw, schema, root, depth):
    value = {}
    for name, member in schema["properties"].items():
        if name in schema.get("required", ()) or (depth < 3 and draw(st.booleans())):
            value[name] = draw(instances(member, root, depth + 1))
    if schema["additionalProperties"] is not False:
        # A key with an escape might be one that is named: the grammar has none of these then.
        key = st.text(_TEXT.filter(lambda c: c >= " " and c not in '"\\'), max_size=4)
        for name in draw(st.lists(key, max_size=3, unique=True)):
            if name not in schema["properties"]:
                value[name] = draw(instances(schema["additionalProperties"], root, depth + 1))
    return value


@st.composite
def _arrays(draw, schema, root, depth):
    prefix, low = schema.get("prefixItems", []), schema.get("minItems", 0)
    high = schema.get("maxItems", low + len(prefix) + 3) if depth < 3 else low
    size = draw(st.integers(low, high))
    return [
        draw(instances(prefix[at] if at < len(prefix) else schema["items"], root, depth + 1))
        for at in range(size)
    ]


@cache
def _matches(pattern):
    # Hypothesis goes through a range one character at a time: a million, but for what is left out.
    short = re.sub("\\[([^]]*\U0010ffff)\\]", lambda found: _negated(found[1]), pattern)
    return st.from_regex(re.compile(short), fullmatch=True)


def _negated(ranges: str) -> str:
    """The same characters, as a class of all but those that it leaves out."""
    gaps, start = [], 0
    for low, high in re.findall(r"(\\x..|\\?.)(?:-(\\x..|\\?.))?", ranges, re.DOTALL):
        first, last = _code(low), _code(high or low)
        if first > start:
            gaps.append(f"\\U{start:08x}-\\U{first - 1:08x}")
        start = last + 1
    return f"[^{''.join(gaps)}]"


def _code(text: str) -> int:
    return int(text[2:], 16) if text.startswith("\\x") else ord(text[-1])


def _strings(schema):
    if "pattern" in schema:
        return _matches(schema["pattern"][1:-1])
    low = schema.get("minLength", 0)
    return st.text(_TEXT, min_size=low, max_size=min(schema.get("maxLength", low + 20), low + 60))


def _integers(schema):
    low, high = schema.get("minimum"), schema.get("maximum")
    if "exclusiveMinimum" in schema:
        low = schema["exclusiveMinimum"] + 1
    if "exclusiveMaximum" in schema:
        high = schema["exclusiveMaximum"] - 1
    return st.integers(-(10**15) if low is None else low, 10**15 if high is None else high)


def _numbers(schema):
    scale = 10**4  # places after the point
    low, high = schema.get("minimum"), schema.get("maximum")
    low = schema.get("exclusiveMinimum") if low is None else low
    high = schema.get("exclusiveMaximum") if high is None else high
    whole = st.integers(
        -(10**9) if low is None else round(low * scale) + ("exclusiveMinimum" in schema),
        10**9 if high is None else round(high * scale) - ("exclusiveMaximum" in schema),
    )
    return whole.map(lambda n: n // scale if n % scale == 0 else n / scale)


def written(value: Any) -> list[str]:
    """A value as JSON, in the ways models write it."""
    return [
        json.dumps(value, ensure_ascii=False),
        json.dumps(value, ensure_ascii=True),
        json.dumps(value, ensure_ascii=False, separators=(",", ":")),
        json.dumps(value, ensure_ascii=False, indent=2),
    ]


@st.composite
def edited(draw, text: str) -> str:
    """A text with a few characters dropped, changed or put in."""
    marks = st.sampled_from('{}[]:,"\\ \n0123456789.-+eEtrufalsnD8cxé\t\x01')
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        kind = draw(st.sampled_from(("drop", "change", "put in", "cut", "twice")))
        if kind == "drop":
            text = text[:at] + text[at + 1 :]
        elif kind == "change":
            text = text[:at] + draw(marks) + text[at + 1 :]
        elif kind == "put in":
            text = text[:at] + draw(marks) + text[at:]
        elif kind == "cut":
            text = text[:at]
        else:
            text = text[:at] + text[max(0, at - 3) :]
    return text
