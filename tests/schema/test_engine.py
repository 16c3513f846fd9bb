"""Grammars on llama.cpp itself: what they take is what the schema takes, and no more."""

from __future__ import annotations

import json
import random
import re
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from blazen.schema import Grammar, check_schema, full_match, grammar_of, read_value
from blazen.types.response_format import ResponseFormat
from tests.schema.instances import edited, instances, written
from tests.schema.schemas import SCHEMAS

pytestmark = pytest.mark.needs("llamacpp", "starter:chat")

thorough = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow,
                           HealthCheck.filter_too_much, HealthCheck.data_too_large],
)  # fmt: skip
every_schema = pytest.mark.parametrize("schema", [pytest.param(s, id=n) for n, s in SCHEMAS])


def of_schema(schema):
    return grammar_of(ResponseFormat.schema(schema))


def is_valid(text, schema):
    """Whether another library takes it, and we do."""
    value = json.loads(text)
    text.encode()
    json.dumps(value, ensure_ascii=False).encode()  # no half characters
    wanted = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    ours = True
    try:
        read_value(value, schema)
    except ValueError:
        ours = False
    return wanted.is_valid(value) and ours


@every_schema
@thorough
@given(data=st.data())
def test_what_fits_is_taken(machine, schema, data):
    simple = check_schema(schema)
    value = data.draw(instances(simple, simple))
    text = data.draw(st.sampled_from(written(value)))
    if "\\" in text and "pattern" in json.dumps(simple):
        text = written(value)[0]  # a pattern has one way to write each character
    assume(text == written(value)[0] or not _has_escaped_name(value))
    assume(machine.spells(text))
    assert is_valid(text, schema)
    split = data.draw(st.sampled_from((None, random.Random(1), random.Random(2))))
    taken, whole = machine.judge(of_schema(schema), text, split=split)
    assert taken == text
    assert whole


def _has_escaped_name(value):
    """Whether a name is written otherwise in ASCII; names have one form in our grammars."""
    if isinstance(value, dict):
        return any(not name.isascii() for name in value) or any(
            map(_has_escaped_name, value.values())
        )
    return (isinstance(value, list) and any(map(_has_escaped_name, value))) or (
        isinstance(value, str) and not value.isascii()
    )


@every_schema
@thorough
@given(data=st.data())
def test_what_is_taken_fits(machine, schema, data):
    simple = check_schema(schema)
    text = data.draw(st.sampled_from(written(data.draw(instances(simple, simple)))))
    text = data.draw(edited(text))
    if machine.accepts(of_schema(schema), text):
        assert is_valid(text, schema)


@every_schema
def test_what_a_wild_model_writes_fits(machine, schema):
    text, whole = machine.write(of_schema(schema), "As JSON:\n", seed=7, most=120)
    if whole:
        assert is_valid(text, schema)
    else:
        assert machine.judge(of_schema(schema), text).taken.rstrip("�") == text.rstrip("�")


@thorough
@given(low=st.integers(-3000, 3000), size=st.integers(0, 3000), data=st.data())
def test_integers_stay_within_their_bounds(machine, low, size, data):
    grammar = of_schema({"type": "integer", "minimum": low, "maximum": low + size})
    number = data.draw(st.integers(low - 50, low + size + 50))
    assert machine.accepts(grammar, str(number)) == (low <= number <= low + size)
    assert not machine.accepts(grammar, "0" + str(abs(number)))


@thorough
@given(bound=st.integers(-(10**18), 10**18), data=st.data(), side=st.sampled_from("<>"))
def test_an_open_side_goes_on(machine, bound, data, side):
    schema = {"type": "integer", "minimum" if side == ">" else "maximum": bound}
    grammar = of_schema(schema)
    near = data.draw(st.integers(bound - 1000, bound + 1000) | st.integers(-(10**15), 10**15))
    assert machine.accepts(grammar, str(near)) == (near >= bound if side == ">" else near <= bound)


decimals = st.decimals(-200, 200, places=3) | st.decimals(-2, 2, places=1) | st.integers(-9, 9)


@settings(parent=thorough, max_examples=100)
@given(ends=st.tuples(decimals, decimals), opened=st.tuples(st.booleans(), st.booleans()),
       number=decimals, data=st.data())  # fmt: skip
def test_numbers_stay_within_their_bounds(machine, ends, opened, number, data):
    low, high = sorted(map(Decimal, ends))
    assume(high - low > Decimal("0.01"))
    schema = {
        "type": "number",
        "exclusiveMinimum" if opened[0] else "minimum": float(low),
        "exclusiveMaximum" if opened[1] else "maximum": float(high),
    }
    number = data.draw(st.sampled_from((Decimal(number), low, high, low / 2, high * 10)))
    number = number.quantize(Decimal("0.0001"))
    text = data.draw(st.sampled_from((f"{number:f}", f"{number.normalize():f}")))
    within = (low < number if opened[0] else low <= number) and (
        number < high if opened[1] else number <= high
    )
    assert machine.accepts(of_schema(schema), text) == within


plain = st.sampled_from(list('abcXYZ019 _-é漢"\\\n\t.*+?()[]{}^$|/#&~'))
atoms = st.one_of(
    plain.map(re.escape),
    st.sampled_from((".", r"\d", r"\w", r"\s", r"\D", r"\S", r"[^a]", r"[a-c\d_]", r"[\]\\^-]",
                     r"[^\W_]", r"[é-漢]", r"\x41", r"\u00e9", r"[\b]")),
)  # fmt: skip
counts = st.sampled_from(("*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}", "*?", "+?", "{,2}"))
patterns = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda these: f"(?:{'|'.join(these)})"),
        st.tuples(inner, counts).map(
            lambda pair: f"(?P<g>{pair[0]}){pair[1]}".replace("?P<g>", "")
        ),
    ),
    max_leaves=7,
)


@settings(parent=thorough, max_examples=100)
@given(pattern=patterns, data=st.data())
def test_a_regular_expression_takes_what_it_matches(machine, pattern, data):
    grammar = grammar_of(ResponseFormat.regex(pattern))
    text = data.draw(st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True))
    text = data.draw(st.sampled_from((text, text + "a", text[1:], text[:-1])))
    assume(not re.search("[\ud800-\udfff]", text) and machine.spells(text))
    assert machine.accepts(grammar, text) == full_match(pattern, text)


@thorough
@given(pattern=patterns, anchors=st.sampled_from((("", ""), ("^", ""), ("", "$"), ("^", "$"))),
       data=st.data())  # fmt: skip
def test_a_pattern_holds_in_a_string(machine, pattern, anchors, data):
    schema = {"type": "string", "pattern": f"{anchors[0]}(?:{pattern}){anchors[1]}"}
    text = data.draw(st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True))
    text = data.draw(st.sampled_from((text, text + "x", "x" + text)))
    assume(not re.search("[\ud800-\udfff]", text) and machine.spells(text))
    value = json.dumps(text, ensure_ascii=False)
    fits = full_match(f"{'' if anchors[0] else ANY}(?:{pattern}){'' if anchors[1] else ANY}", text)
    assert machine.accepts(of_schema(schema), value) == fits


ANY = r"[\s\S]*"


@pytest.mark.parametrize("most", [1, 2, 999, 1000, 1001, 1999, 2000, 2001, 3500, 10_000])
def test_any_bound_of_a_length_is_held(machine, most):
    grammar = of_schema({"type": "string", "minLength": most // 2, "maxLength": most})
    for count in {most // 2 - 1, most // 2, most, most + 1} - {-1}:
        text = json.dumps("é" * count, ensure_ascii=False)
        assert machine.accepts(grammar, text) == (most // 2 <= count <= most), count


@pytest.mark.parametrize("bounds", [(0, 2500), (2100, 2500), (1500, None)])
def test_any_bound_of_a_list_is_held(machine, bounds):
    low, high = bounds
    schema = {"type": "array", "items": {"enum": [1]}, "minItems": low}
    grammar = of_schema(schema | ({} if high is None else {"maxItems": high}))
    for count in (low - 1, low, 2500, 2501):
        if count >= 0:
            wanted = low <= count <= (high or 9999)
            assert machine.accepts(grammar, json.dumps([1] * count)) == wanted, count


@pytest.mark.parametrize(
    "text",
    ['{"a":  1}', '{"a":1 }  ', '{"a":\n' + " " * 17 + "1}", ' {"a":1}', '{"a":"\\ud800"}',
     '{"a":"\\ude00\\ud83d"}', '{"a":"\t"}', '{"a":00}', '{"a":1' + "0" * 16 + "}", '{"a":+1}',
     '{"a":.5}', '{"a":1.}', '{"a":1e999}', '{"a":NaN}', '{"a":1,}', "{'a':1}", '{"a":tru}', "[]",
     '{"a":"\\x"}', '{"a":"\\u12"}', '{"a" 1}'],
)  # fmt: skip
def test_any_json_is_no_place_to_get_lost_or_to_go_wrong(machine, text):
    assert not machine.accepts(grammar_of(ResponseFormat.json()), text)


def test_a_schema_is_a_part_of_a_larger_grammar(machine):
    grammar = Grammar()
    first, second = grammar.json({"type": "integer"}), grammar.json({"$ref": "#"} | TREE)
    mark = grammar.literal('<tool "x">\n')
    grammar.root(f"{mark} ({first} | {second})+")
    assert machine.accepts(str(grammar), '<tool "x">\n12{"next": {}}')
    assert not machine.accepts(str(grammar), '<tool "x">12')


TREE = {"$defs": {}, "$ref": "#/$defs/t"}
TREE["$defs"]["t"] = {"type": "object", "properties": {"next": {"$ref": "#/$defs/t"}}}


def test_hostile_patterns_stay_small(machine):
    for pattern in ("(?:(?:a?){50}){50}", "((a*)*)*", "(a|a)*b", "((a{0,900}){0,900}){0,900}"):
        grammar = grammar_of(ResponseFormat.regex(pattern))
        assert len(grammar) < 10_000
        assert machine.accepts(grammar, "aab" if pattern.endswith("b") else "aa")
