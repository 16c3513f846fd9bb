"""What is told of GGUF files that are odd: tiny ones, written here."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading

import numpy as np
import pytest

from blazen.catalog import Listing
from blazen.errors import MissingExtraError, UnsupportedError, ValidationError
from blazen.server.apis.native.explorer import routes, tokens, vectors
from blazen.server.apis.ollama.models import _shown
from blazen.server.apis.ollama.names import details_of, header_or_none, modified_at
from blazen.server.headers import context_of, header_of, is_base_model, known_header, template_of
from blazen.weights.gguf import read_gguf

pytestmark = pytest.mark.needs("server", "clients", "xllamacpp")

THINKS = (
    "{% for t in tools or [] %}<tool>{{ t | tojson }}</tool>{% endfor %}"
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% if m.tool_calls %}"
    "{% for c in m.tool_calls %}<tool_call>"
    '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}'
    "</tool_call>{% endfor %}{% endif %}{% endfor %}<|assistant|>{# <think> and </think> #}<think>"
)
WORDS = ["<unk>", "\u2581heron", "s", "<0xE2>", "\u2581waits"]
ROWS = np.array([[0, 0, 0, 0], [1, 2, 3, 4], [2, 4, 6, 8.5], [-1, -2, -3, -4], [4, 3, 2, 1]], "f4")


def write(path, *, template=None, words=WORDS, rows=ROWS, endianess=None, model="llama"):
    import gguf

    writer = gguf.GGUFWriter(path, "llama", endianess=endianess or gguf.GGUFEndian.LITTLE)
    writer.add_context_length(128)
    writer.add_block_count(1)
    if words:
        writer.add_tokenizer_model(model)
        writer.add_token_list(words)
        writer.add_token_types([2, 1, 1, 6, 1][: len(words)])
    if template:
        writer.add_chat_template(template)
    if rows is not None:
        writer.add_tensor("token_embd.weight", rows)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def listing(path, **more):
    return Listing(
        **{"name": "m", "kind": "model", "spec": f"xllamacpp:{path}", "path": path, **more}
    )


def test_a_header_is_kept_while_its_file_stays_the_same(tmp_path):
    one = listing(write(tmp_path / "m.gguf"))
    first = header_of(one)
    assert header_of(one) is first
    write(tmp_path / "m.gguf", template=THINKS)
    os.utime(tmp_path / "m.gguf", (1, 1))
    assert header_of(one) is not first
    assert header_of(one).chat_template == THINKS


def test_what_has_no_file_here_is_known_by_its_listing(tmp_path):
    far = listing(None, spec="openai:gpt-x")
    gone = listing(tmp_path / "gone.gguf")
    other = tmp_path / "model.onnx"
    other.write_bytes(b"onnx")
    blob = write(tmp_path / "sha256-0123")  # a GGUF by its first bytes, as Ollama keeps them
    for one in (far, gone, listing(other), listing(None, spec="fastembed:starter:embed")):
        assert known_header(one) is None
        with pytest.raises(UnsupportedError, match="no GGUF file on this server's disk"):
            header_of(one)
        assert is_base_model(one) is False
        assert context_of(one, None) is None
    assert header_of(listing(blob)).architecture == "llama"
    assert details_of(far, None).format == "openai"
    assert modified_at(None) == "1970-01-01T00:00:00Z"


def test_a_broken_file_is_no_header(tmp_path):
    (tmp_path / "m.gguf").write_bytes(b"GGUF" + b"\xff" * 40)
    broken = listing(tmp_path / "m.gguf")
    with pytest.raises(ValidationError):
        header_of(broken)
    assert header_or_none(broken) is None
    assert is_base_model(broken) is False


def test_a_model_is_told_by_its_template(tmp_path):
    able = listing(write(tmp_path / "able.gguf", template=THINKS), options={"projector": "p.gguf"})
    shown = _shown(able, verbose=False)
    assert shown.capabilities == ["completion", "tools", "thinking", "vision"]
    assert shown.template == THINKS
    base = listing(write(tmp_path / "base.gguf"))
    assert is_base_model(base) is True
    assert template_of(base, header_of(base)) is None
    assert _shown(base, verbose=False).capabilities == ["completion"]
    given = listing(base.path, options={"chat_template": THINKS, "context_length": 64})
    assert is_base_model(given) is False
    assert _shown(given, verbose=False).parameters == "num_ctx 64"
    assert context_of(given, header_of(given)) == 64
    assert context_of(base, header_of(base)) == 128
    voice = listing(None, kind="tts", spec="piper:starter:speak")
    assert _shown(voice, verbose=True).capabilities == []
    broken = listing(base.path, options={"chat_template": "{% if %}"})
    assert _shown(broken, verbose=False).capabilities == ["completion"]


def test_tokens_are_written_for_people(tmp_path):
    header = read_gguf(write(tmp_path / "m.gguf"))
    told = [(one.text, one.kind) for one in (tokens.token_of(header, n) for n in range(5))]
    assert told == [
        ("<unk>", "unknown"),
        (" heron", "normal"),
        ("s", "normal"),
        ("<0xE2>", "byte"),
        (" waits", "normal"),
    ]
    assert tokens.find_token(header, " heron").id == 1
    letters = read_gguf(write(tmp_path / "b.gguf", words=["<s>", "Ġa", "â", "日"], model="gpt2"))
    assert [tokens.token_of(letters, n).text for n in range(4)] == ["<s>", " a", "<0xE2>", "日"]
    empty = read_gguf(write(tmp_path / "e.gguf", words=None))
    with pytest.raises(UnsupportedError, match="holds no vocabulary"):
        tokens.token_of(empty, 0)


def test_splitting_a_text_needs_an_engine(tmp_path, monkeypatch):
    header = read_gguf(write(tmp_path / "m.gguf", template=THINKS))
    one = listing(tmp_path / "m.gguf")
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *a: None if name == "llama_cpp" else find(name, *a),
    )
    with pytest.raises(MissingExtraError, match=r"pip install 'blazen\[llamacpp\]'"):
        tokens.tokenize(header, "x")
    assert routes._abilities(one, header) == ["vector", "neighbors", "prompt"]


def test_nearest_vectors_of_a_small_matrix(tmp_path, monkeypatch):
    monkeypatch.setattr(vectors, "BLOCK", 32)  # two rows at a time
    rows = vectors.Rows(read_gguf(write(tmp_path / "m.gguf")))
    near = rows.nearest(1, 10, threading.Event())
    assert [token for token, _ in near] == [2, 4, 3]  # not itself, and not the one of no length
    lengths = np.linalg.norm(ROWS, axis=1)
    for token, alike in near:
        cosine = float(ROWS[token] @ ROWS[1] / (lengths[token] * lengths[1]))
        assert alike == pytest.approx(cosine, abs=1e-6)
    assert rows.nearest(0, 3, threading.Event()) == []
    assert rows.nearest(1, 1, threading.Event())[0][0] == 2


def test_vectors_that_cannot_be_read_are_refused(tmp_path, monkeypatch):
    import gguf

    none = read_gguf(write(tmp_path / "none.gguf", rows=None))
    with pytest.raises(UnsupportedError, match="has no vectors of tokens"):
        vectors.Rows(none)
    big = read_gguf(write(tmp_path / "big.gguf", endianess=gguf.GGUFEndian.BIG))
    with pytest.raises(UnsupportedError, match="big-endian"):
        vectors.Rows(big)
    odd = read_gguf(write(tmp_path / "odd.gguf", rows=np.ones((5, 4), np.int32)))
    with pytest.raises(UnsupportedError, match="type I32 can't be read"):
        vectors.Rows(odd)
    assert not vectors.has_vectors(odd)
    path = write(tmp_path / "cut.gguf")
    cut = vectors.Rows(read_gguf(path))
    os.truncate(path, cut.tensor.offset + 20)
    with pytest.raises(UnsupportedError, match="cut short"):
        cut.row(4)
    fine = read_gguf(write(tmp_path / "fine.gguf"))
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(MissingExtraError, match=r"blazen\[server\]"):
        vectors.Rows(fine)
