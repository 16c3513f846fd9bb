"""Which file is taken of several: of folders, and of repositories on a local hub."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazen.errors import BudgetError, DownloadError, ModelNotFoundError, ValidationError
from blazen.hardware import Device, Gpu
from blazen.weights import gguf_files
from blazen.weights.cache import cache_root
from blazen.weights.download import web
from blazen.weights.gguf import estimate_memory, read_gguf
from blazen.weights.gguf_choice import PREFERRED, Candidate, choose
from blazen.weights.gguf_files import list_gguf, locate_gguf
from blazen.weights.quantization import Quantization
from tests.weights.gguf_files import Tensor, small
from tests.weights.servers import Answer, Hub, standing_in

REPO = "org/tiny"
MIB = 2**20


def weights(rows: int = 64, file_type: int = 7, **metadata: object) -> bytes:
    """A whole model; the more rows, the larger."""
    tensors = [Tensor("token_embd.weight", (32, 4), "Q8_0"), Tensor("output_norm.weight", (32,))]
    tensors += [Tensor(f"blk.{i}.ffn_up.weight", (32, rows), "Q8_0") for i in range(2)]
    changes = {"general.file_type": file_type, **metadata}
    return small(metadata=changes, tensors=tensors).bytes()


FILES = {
    "tiny-Q2_K.gguf": weights(1_000, 10),
    "tiny-Q4_K_M.gguf": weights(10_000, 15),
    "tiny-Q5_K_M.gguf": weights(12_000, 17),
    "tiny-Q8_0.gguf": weights(20_000, 7),
    "mmproj-tiny-f16.gguf": b"GGUF",
    "tiny-lora-f16.gguf": b"GGUF",
    "tiny.imatrix.gguf": b"GGUF",
    "README.md": b"# tiny",
}


def fill(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


@pytest.fixture
def folder(tmp_path):
    return fill(tmp_path / "models", FILES)


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch):
    monkeypatch.setattr(gguf_files, "find_gpus", lambda: ())


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("BLAZEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(web, "FIRST_PAUSE", 0.0)
    for name in ("BLAZEN_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")


@pytest.fixture
def hub():
    with standing_in(Hub({REPO: dict(FILES)})) as hub:
        yield hub


def test_one_file_is_that_file(folder):
    path = folder / "tiny-Q4_K_M.gguf"
    assert locate_gguf(path) == locate_gguf(str(path), quantization="Q4_K_M") == path


def test_one_file_of_another_quantization_is_a_warning(folder, caplog):
    path = folder / "tiny-Q8_0.gguf"
    assert locate_gguf(path, quantization=Quantization.Q4KM) == path
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.name.split(".")[0] == "blazen"
    assert "Q4_K_M" in record.getMessage()
    assert "Q8_0" in record.getMessage()


def test_a_file_that_can_not_be_read_is_for_the_backend_to_refuse(tmp_path, caplog):
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"nothing")
    assert locate_gguf(path, quantization="Q4_K_M") == path
    assert not caplog.records


def test_a_recipe_that_the_file_does_not_name_is_no_warning(tmp_path, caplog):
    maker = small()
    assert isinstance(maker.metadata, dict)
    del maker.metadata["general.file_type"]
    maker.tensors = [Tensor("blk.0.ffn_up.weight", (256, 64), "Q4_K")]
    path = maker.write(tmp_path / "m.gguf")
    locate_gguf(path, quantization="Q4_K_M")
    assert not caplog.records
    locate_gguf(path, quantization="Q8_0")
    assert "Q4_K" in caplog.text


@pytest.mark.parametrize("kind", ["Q8_0", "q5km", Quantization.Q2K])
def test_the_quantization_that_is_asked_for(folder, kind):
    value = Quantization.of(kind).value
    assert locate_gguf(folder, quantization=kind).name == f"tiny-{value}.gguf"


def test_the_log_says_what_was_taken_and_why(folder, caplog):
    caplog.set_level(logging.INFO, "blazen")
    locate_gguf(folder, quantization="Q8_0")
    assert "tiny-Q8_0.gguf" in caplog.text
    assert "it is Q8_0" in caplog.text


def test_without_a_wish_four_bits_are_preferred(folder):
    assert locate_gguf(folder).name == "tiny-Q4_K_M.gguf"
    (folder / "tiny-Q4_K_M.gguf").unlink()
    assert locate_gguf(folder).name == "tiny-Q5_K_M.gguf"


def test_every_quantization_has_its_place_among_the_preferred():
    assert sorted(PREFERRED) == sorted(kind.value for kind in Quantization)


def test_the_only_model_needs_no_name(tmp_path):
    files = {"a.gguf": weights(), "mmproj.gguf": b"GGUF", "config.json": b"{}"}
    assert locate_gguf(fill(tmp_path, files)).name == "a.gguf"


def test_a_quantization_that_is_not_there_lists_what_is(folder):
    with pytest.raises(ModelNotFoundError) as caught:
        locate_gguf(folder, quantization="Q6_K")
    message = str(caught.value)
    for said in ("Q6_K", "tiny-Q2_K.gguf", "tiny-Q8_0.gguf", "mmproj-tiny-f16.gguf (mmproj)"):
        assert said in message


def test_a_projector_is_no_f16_model(folder):
    with pytest.raises(ModelNotFoundError, match="no file of quantization F16"):
        locate_gguf(folder, quantization="F16")
    assert locate_gguf(folder, file="mmproj-tiny-f16.gguf").name == "mmproj-tiny-f16.gguf"


def test_a_folder_without_models(tmp_path):
    fill(tmp_path, {"mmproj.gguf": b"GGUF", "model.safetensors": b""})
    with pytest.raises(ModelNotFoundError, match=r"no GGUF model; left out: mmproj\.gguf"):
        locate_gguf(tmp_path)
    assert list_gguf(tmp_path) == []


def test_two_of_one_quantization_are_not_guessed_between(folder):
    fill(folder, {"other-Q4_K_M.gguf": weights(9_000, 15)})
    for words in ({}, {"quantization": "Q4_K_M"}):
        with pytest.raises(ValidationError) as caught:
            locate_gguf(folder, **words)
        for said in ("other-Q4_K_M.gguf", "tiny-Q4_K_M.gguf", "file="):
            assert said in str(caught.value)
    assert locate_gguf(folder, quantization="Q8_0").name == "tiny-Q8_0.gguf"
    assert locate_gguf(folder, file="other-Q4_K_M.gguf").name == "other-Q4_K_M.gguf"


def test_names_that_tell_nothing_are_looked_into(tmp_path):
    fill(tmp_path, {"good.gguf": weights(100, 15), "better.gguf": weights(200, 7)})
    assert locate_gguf(tmp_path, quantization="Q8_0").name == "better.gguf"
    fill(tmp_path, {"broken.gguf": b"GGUF"})
    assert locate_gguf(tmp_path, quantization="Q8_0").name == "better.gguf"
    assert {c.name: c.quantization for c in list_gguf(tmp_path)} == {
        "broken.gguf": None,
        "good.gguf": "Q4_K_M",
        "better.gguf": "Q8_0",
    }


def test_an_adapter_with_a_silent_name_is_no_model(tmp_path):
    fill(tmp_path, {"a.gguf": weights(), "b.gguf": weights(**{"general.type": "adapter"})})
    assert locate_gguf(tmp_path).name == "a.gguf"
    with pytest.raises(ModelNotFoundError, match=r"left out: b\.gguf \(adapter\)"):
        locate_gguf(tmp_path, quantization="Q2_K")


def test_variants_that_no_one_prefers_must_be_named(tmp_path):
    files = {f"m-UD-{kind}.gguf": weights() for kind in ("Q4_K_XL", "Q2_K_XL")}
    with pytest.raises(ValidationError, match=r"file='m-UD-Q2_K_XL\.gguf'"):
        locate_gguf(fill(tmp_path, files))
    with pytest.raises(ModelNotFoundError):
        locate_gguf(tmp_path, quantization="Q4_K_M")


def test_a_folder_for_each_quantization_and_split_models(tmp_path):
    half = weights()
    files = {f"{kind}/m-{n:05}-of-00002.gguf": half for kind in ("Q4_K_M", "Q8_0") for n in (1, 2)}
    del files["Q4_K_M/m-00002-of-00002.gguf"]
    fill(tmp_path, files)
    assert locate_gguf(tmp_path) == tmp_path / "Q8_0" / "m-00001-of-00002.gguf"
    (candidate,) = list_gguf(tmp_path)
    assert (candidate.size, candidate.first_size) == (2 * len(half), len(half))
    assert len(candidate.parts) == 2
    with pytest.raises(ModelNotFoundError, match=r"m-00001-of-00002\.gguf \(1 of 2 parts\)"):
        locate_gguf(tmp_path, quantization="Q4_K_M")
    assert locate_gguf(tmp_path, file="Q8_0").parent.name == "Q8_0"


def need(path: Path, context: int = 128, **settings: object) -> int:
    gguf = read_gguf(path)
    estimate = estimate_memory(gguf, context_length=context, **settings)
    return estimate.total - estimate.ram.weights + gguf.size


def test_the_largest_that_fits_the_budget(folder):
    q5, q8 = (folder / f"tiny-{kind}.gguf" for kind in ("Q5_K_M", "Q8_0"))
    assert locate_gguf(folder, memory_budget="1GiB") == q8
    assert locate_gguf(folder, memory_budget=need(q8)) == q8
    assert locate_gguf(folder, memory_budget=need(q8) - 1) == q5


def test_context_conversations_and_cache_types_count(folder):
    q5, q8 = (folder / f"tiny-{kind}.gguf" for kind in ("Q5_K_M", "Q8_0"))
    long = need(q8, 65_536)
    assert long > need(q8) + MIB
    wide = {"memory_budget": long, "context_length": 65_536}
    assert locate_gguf(folder, **wide) == q8
    tight = {"memory_budget": long - 1, "context_length": 65_536}
    assert locate_gguf(folder, **tight) == q5
    assert locate_gguf(folder, **tight, kv_types=("q8_0", "q8_0")) == q8
    both = need(q8, 65_536, sequences=2)
    assert locate_gguf(folder, memory_budget=both, context_length=32_768, parallel=2) == q8
    assert locate_gguf(folder, memory_budget=both - 1, context_length=32_768, parallel=2) == q5


def test_a_gpu_may_need_the_shared_matrix_twice(folder, monkeypatch):
    q5, q8 = (folder / f"tiny-{kind}.gguf" for kind in ("Q5_K_M", "Q8_0"))
    gpu = Gpu(0, "some", "GPU-1", 8 * 2**30, 8 * 2**30)
    monkeypatch.setattr(gguf_files, "find_gpus", lambda: (gpu,))
    assert locate_gguf(folder, memory_budget=need(q8)) == q5
    assert locate_gguf(folder, memory_budget=need(q8), device=Device.Cpu) == q8


def test_nothing_that_fits_lists_sizes_and_the_budget(folder):
    with pytest.raises(BudgetError) as caught:
        locate_gguf(folder, memory_budget=1000)
    for said in ("0 MiB", "tiny-Q2_K.gguf", "tiny-Q8_0.gguf (1 MiB)", "context_length"):
        assert said in str(caught.value)


def test_what_was_named_must_fit_too(folder):
    q8 = folder / "tiny-Q8_0.gguf"
    for target, words in (
        (q8, {}),
        (folder, {"file": "tiny-Q8_0.gguf"}),
        (folder, {"quantization": "Q8_0"}),
    ):
        with pytest.raises(BudgetError, match=r"tiny-Q8_0\.gguf needs .* memory_budget is 1 MiB"):
            locate_gguf(target, memory_budget=MIB, **words)
        assert locate_gguf(target, memory_budget=need(q8), **words) == q8


def test_values_that_can_not_be_right(folder):
    for words in (
        {"quantization": "Q4KX"},
        {"memory_budget": "much"},
        {"memory_budget": 0},
        {"context_length": 0},
        {"parallel": 0},
        {"revision": "main"},
        {"file": "../x.gguf"},
    ):
        with pytest.raises(ValidationError):
            locate_gguf(folder, **words)
    with pytest.raises(ModelNotFoundError):
        locate_gguf(folder, file="tiny-Q3_K_M.gguf")


def test_of_a_repository_only_the_chosen_file_comes(hub):
    path = locate_gguf(REPO, quantization="Q5KM")
    assert path.read_bytes() == FILES["tiny-Q5_K_M.gguf"]
    assert len(hub.cdn.gets()) == 1
    assert locate_gguf(REPO).name == "tiny-Q4_K_M.gguf"
    assert len(hub.cdn.gets()) == 2
    count = len(hub.asked)
    assert locate_gguf(REPO, quantization="Q5_K_M") == path
    assert locate_gguf(f"hf:{REPO}/tiny-Q5_K_M.gguf") == locate_gguf(REPO, file=path.name) == path
    assert len(hub.asked) == count


def test_listing_a_repository_fetches_nothing(hub):
    models = list_gguf(REPO)
    assert [model.quantization for model in models] == ["Q2_K", "Q4_K_M", "Q5_K_M", "Q8_0"]
    assert models[0].size == len(FILES["tiny-Q2_K.gguf"])
    assert hub.cdn.gets() == []
    assert list_gguf("https://example.org/m.gguf") == []


def test_a_split_model_of_a_repository(hub):
    parts = {f"Q6_K/m-{n:05}-of-00002.gguf": weights(50 * n) for n in (1, 2)}
    hub.repos[REPO] |= parts
    path = locate_gguf(REPO, quantization="Q6_K")
    assert path.name == "m-00001-of-00002.gguf"
    for name, data in parts.items():
        assert (path.parent / Path(name).name).read_bytes() == data
    assert len(hub.cdn.gets()) == 2


def test_a_budget_is_kept_before_the_file_comes(hub, folder):
    q8 = need(folder / "tiny-Q8_0.gguf", 65_536)
    with pytest.raises(BudgetError, match="memory_budget"):
        locate_gguf(REPO, quantization="Q8_0", memory_budget=q8 - 1, context_length=65_536)
    with pytest.raises(BudgetError, match="memory_budget"):
        locate_gguf(REPO, file="tiny-Q8_0.gguf", memory_budget=q8 - 1, context_length=65_536)
    assert list(Path(hub_folder()).rglob("*.gguf")) == []
    path = locate_gguf(REPO, memory_budget=q8 - 1, context_length=65_536)
    assert path.name == "tiny-Q5_K_M.gguf"
    with pytest.raises(BudgetError, match="nothing of org/tiny fits"):
        locate_gguf(REPO, memory_budget=1000)


def hub_folder() -> Path:
    return cache_root(None) / "hub"


def test_of_a_file_that_is_looked_into_the_weights_stay_where_they_are(hub, monkeypatch):
    read: list[int] = []
    real = web.read

    def counted(response, size):
        data = real(response, size)
        read.append(len(data))
        return data

    large = {"m-Q8_0.gguf": weights(200_000), "m-Q4_0.gguf": weights(190_000, 2)}
    assert len(large["m-Q8_0.gguf"]) > 8 * MIB
    hub.repos[REPO] = large
    monkeypatch.setattr(web, "read", counted)
    with pytest.raises(BudgetError):
        locate_gguf(REPO, file="m-Q8_0.gguf", memory_budget=9 * MIB)
    assert 0 < sum(read) <= 2 * MIB


def test_a_connection_that_is_lost_while_a_header_comes(hub):
    locate_gguf(REPO, quantization="Q2_K")
    hub.cdn.next = [Answer(cut=100)]
    with pytest.raises(BudgetError):
        locate_gguf(REPO, quantization="Q8_0", memory_budget=MIB)
    hub.cdn.next = [Answer(cut=100)] * 3
    with pytest.raises(DownloadError, match="truncated: 100 of"):
        locate_gguf(REPO, quantization="Q8_0", memory_budget=MIB)


def test_offline_the_choice_is_among_what_is_here(hub, monkeypatch):
    path = locate_gguf(REPO, quantization="Q8_0")
    count = len(hub.asked)
    monkeypatch.setenv("BLAZEN_OFFLINE", "1")
    assert locate_gguf(REPO) == path
    assert locate_gguf(REPO, memory_budget="1GiB") == path
    with pytest.raises(ModelNotFoundError, match="offline"):
        locate_gguf(REPO, quantization="Q4_K_M")
    assert len(hub.asked) == count


def test_offline_without_any_file_of_it(hub, monkeypatch):
    list_gguf(REPO)
    monkeypatch.setenv("BLAZEN_OFFLINE", "1")
    count = len(hub.asked)
    with pytest.raises(DownloadError, match="offline"):
        locate_gguf(REPO)
    with pytest.raises(DownloadError, match="offline"):
        locate_gguf(REPO, memory_budget="1GiB")
    with pytest.raises(DownloadError, match="offline"):
        locate_gguf("org/never")
    assert len(hub.asked) == count


def test_a_cache_that_another_program_filled_serves_offline(hub):
    path = locate_gguf(REPO, quantization="Q8_0")
    for noted in (path.parents[2] / ".blazen").glob("*.json"):
        noted.unlink()
    assert locate_gguf(REPO, offline=True) == path


def test_when_the_hub_is_away_what_is_here_serves(hub, caplog):
    path = locate_gguf(REPO, file="tiny-Q8_0.gguf")
    hub.failing = [500] * 9
    assert locate_gguf(REPO) == path
    assert "what is here" in caplog.text


def test_a_cancelled_choice_fetches_nothing(hub):
    with pytest.raises(DownloadError, match="cancelled"):
        locate_gguf(REPO, memory_budget="1GiB", cancelled=lambda: True)
    assert not hub_folder().exists() or not list(hub_folder().rglob("*.gguf"))


def test_a_choice_from_sizes_alone():
    candidates = [Candidate(f"{n}", (f"{n}",), n, f"K{n}") for n in (5, 20, 10)]
    chosen, why = choose(candidates, where="x", budget=12)
    assert chosen.name == "10"
    assert "largest" in why
    asked: list[str] = []

    def needs(candidate: Candidate) -> int:
        asked.append(candidate.name)
        return candidate.size + 3

    assert choose(candidates, where="x", budget=12, need=needs)[0].name == "5"
    assert asked == ["10", "5"]


@given(
    sizes=st.lists(st.integers(1, 1000), unique=True, min_size=2, max_size=8),
    beside=st.integers(0, 300),
    budget=st.integers(1, 1500),
)
def test_no_other_is_larger_and_fits(sizes, beside, budget):
    kinds = list(Quantization)
    models = [
        Candidate(f"m-{kinds[i].value}.gguf", ("",), size, kinds[i].value)
        for i, size in enumerate(sizes)
    ]
    fitting = [size for size in sizes if size + beside <= budget]
    try:
        chosen, _ = choose(models, where="x", budget=budget, need=lambda c: c.size + beside)
    except BudgetError:
        assert not fitting
    else:
        assert chosen.size == max(fitting)


@pytest.mark.needs("starter:chat")
def test_a_starter_is_one_file(caplog):
    path = locate_gguf("starter:chat", quantization="Q4_K_M")
    assert read_gguf(path).quantization == "Q4_1"
    assert "Q4_K_M" in caplog.text
