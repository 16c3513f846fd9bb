"""What names say of how weights are stored."""

from __future__ import annotations

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from blazen.errors import ValidationError
from blazen.weights.gguf.types import FILE_TYPES
from blazen.weights.quantization import Quantization, quantization_in

KINDS = st.sampled_from(list(Quantization))
MARKS = st.sampled_from(["-", ".", "_"])
# A model's own name; a word in it that looks like a quantisation would be one.
STEMS = st.text(string.ascii_letters + string.digits + "-._", max_size=30).filter(
    lambda stem: quantization_in(f"{stem}-") is None and not stem.endswith("_")
)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Qwen2.5-7B-Instruct-Q4_K_M.gguf", "Q4_K_M"),
        ("model.q4_k_m.gguf", "Q4_K_M"),
        ("llama-3-IQ2_XXS", "IQ2_XXS"),
        ("Llama_3_Q8_0.gguf", "Q8_0"),
        ("m-q4km.gguf", "Q4_K_M"),
        ("m-Q6_K-00001-of-00003.gguf", "Q6_K"),
        ("BF16/m-00001-of-00002.gguf", "BF16"),
        ("Q8_0/m-Q4_0.gguf", "Q4_0"),
        ("m.bf16.gguf", "BF16"),
        ("m-f16.gguf", "F16"),
        ("m-fp16.gguf", "F16"),
        ("m-F32.gguf", "F32"),
        ("m-UD-IQ2_M.gguf", "IQ2_M"),
        ("Q4_K_M.gguf", "Q4_K_M"),
        ("m-f16-Q5_K_S.gguf", "Q5_K_S"),
    ],
)
def test_a_file_says_how_it_is_stored(name, said):
    assert quantization_in(name) == said
    assert Quantization.of(said).value == said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("m-UD-Q4_K_XL.gguf", "Q4_K_XL"),
        ("m-Q4_0_4_4.gguf", "Q4_0_4_4"),
        ("m.f16.q6.gguf", "Q6"),
        ("m-Q6_K_L.gguf", "Q6_K_L"),
        ("m-MXFP4_MOE.gguf", "MXFP4_MOE"),
        ("m-TQ1_0.gguf", "TQ1_0"),
        ("m-fp8.gguf", None),
        ("Qwen2.5-7B-Instruct.gguf", None),
        ("SQ4_0.gguf", None),
        ("m-Q9_0.gguf", None),
        ("", None),
    ],
)
def test_what_is_not_known_is_not_taken_for_what_is(name, said):
    assert quantization_in(name) == said
    if said is not None:
        with pytest.raises(ValidationError, match="quantization"):
            Quantization.of(said)


@given(
    stem=STEMS,
    mark=MARKS,
    kind=KINDS,
    upper=st.booleans(),
    part=st.sampled_from(["", "-00001-of-00009"]),
)
def test_whatever_stands_before_it(stem, mark, kind, upper, part):
    word = kind.value if upper else kind.value.lower()
    assert quantization_in(f"{stem}{mark}{word}{part}.gguf") == kind.value
    assert quantization_in(f"{word}/{stem}.gguf") == kind.value


@given(kind=KINDS, tail=st.text(string.ascii_letters + string.digits, min_size=1, max_size=4))
def test_a_longer_word_is_another(kind, tail):
    longer = f"{kind.value}_{tail}"
    assume(Quantization._read(longer) is None)
    assert quantization_in(f"m-{longer}.gguf") not in [member.value for member in Quantization]


@given(kind=KINDS, mark=st.sampled_from(["", "-", "_", "."]))
def test_a_name_is_read_however_it_is_written(kind, mark):
    for text in (kind.value, kind.name):
        assert Quantization.of(text.lower().replace("_", mark)) is kind


@given(name=st.text(max_size=60))
def test_any_text_is_a_name(name):
    said = quantization_in(name)
    assert said is None or said == said.upper()


def test_what_files_say_inside_is_read_the_same_way():
    known = {member.value for member in Quantization}
    assert known <= set(FILE_TYPES.values())
    for name in FILE_TYPES.values():
        assert quantization_in(f"m-{name}.gguf") == name
