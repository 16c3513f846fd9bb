"""TripoSR on small networks of chance weights, by the published names."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import sys
from pathlib import Path

import pytest

import blazen
from blazen import Device, Image, Mesh, MeshOptions
from blazen import torch as shared
from blazen.bridge import Job, StreamJob
from blazen.errors import (
    BudgetError,
    InferenceError,
    LoadError,
    ModelNotFoundError,
    UnsupportedError,
    ValidationError,
)
from blazen.options.triposr import TripoSrOptions
from blazen.testing import ThreeDSuite
from blazen.testing.tiny_triposr import CONFIG, save_tiny_triposr
from tests.backends.briefly import Briefly
from tests.backends.isolated import ApartStreams
from tests.weights.servers import Hub, standing_in

pytestmark = pytest.mark.needs("triposr")
np = pytest.importorskip("numpy")
torch = pytest.importorskip("torch")
yaml = pytest.importorskip("yaml")
F = pytest.importorskip("torch.nn.functional")
pytest.importorskip("skimage")

import blazen_triposr.encoder as encoding  # noqa: E402
import blazen_triposr.surface as surfaces  # noqa: E402
import blazen_triposr.triplane as triplane  # noqa: E402
from blazen_triposr import TripoSr  # noqa: E402
from blazen_triposr.atlas import bake  # noqa: E402
from blazen_triposr.background import Cutter  # noqa: E402
from blazen_triposr.engine import open_engine  # noqa: E402
from blazen_triposr.field import Field, colors_at, in_chunks, sample  # noqa: E402
from blazen_triposr.files import model_files  # noqa: E402
from blazen_triposr.making import mesh_of  # noqa: E402
from blazen_triposr.names import Encoder, expected, read_encoder  # noqa: E402
from blazen_triposr.pace import Pace, Stopped  # noqa: E402
from blazen_triposr.parts import Part  # noqa: E402
from blazen_triposr.picture import centred, normalised, pixels_of  # noqa: E402
from blazen_triposr.settings import Settings, read_settings  # noqa: E402
from blazen_triposr.size import network_footprint  # noqa: E402

TINY = yaml.safe_load(CONFIG)
TINY_VIT = Encoder(channels=32, heads=2, layers=2, inner=64, patch=16, places=5)
PUBLISHED = {
    "cond_image_size": 512,
    "image_tokenizer": {"pretrained_model_name_or_path": "facebook/dino-vitb16"},
    "tokenizer": {"plane_size": 32, "num_channels": 1024},
    "backbone": {
        "in_channels": "${tokenizer.num_channels}",
        "num_attention_heads": 16,
        "attention_head_dim": 64,
        "num_layers": 16,
        "cross_attention_dim": 768,
    },
    "post_processor": {"in_channels": 1024, "out_channels": 40},
    "decoder": {"in_channels": 120, "n_neurons": 64, "n_hidden_layers": 9, "activation": "silu"},
    "renderer": TINY["renderer"],
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def settings_of(config, folder):
    (folder / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    return read_settings(folder / "config.yaml")


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory):
    return save_tiny_triposr(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def tiny(tiny_folder):
    settings = read_settings(tiny_folder / "config.yaml")
    return settings, torch.load(tiny_folder / "model.ckpt", weights_only=True)


def build(folder, **settings):
    return TripoSr(TripoSrOptions(folder, **{"device": "cpu", "threads": 1, **settings}))


@pytest.fixture(scope="module")
def loaded(tiny_folder):
    model = build(tiny_folder)
    yield model
    blazen.blocking(model).unload()


def engine_of(model):
    blazen.blocking(model).load()
    return model._loading.thread.engine


@pytest.fixture
def pace():
    job = StreamJob(lambda job: None)
    job.release()
    return Pace(job)


def a_picture():
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[10:40, 16:48] = (255, 30, 90)
    return pixels


class TestTripoSr(ThreeDSuite):
    """The shipped suite, whole."""

    concurrency = 6
    resolution = 16
    long_resolution = 56

    @pytest.fixture
    def model(self, loaded):
        return loaded

    @pytest.fixture
    def broken_model(self):
        def broken(path):
            if path.parent.is_dir():
                (path.parent / "config.yaml").write_text(yaml.safe_dump(TINY), "utf-8")
            return build(path)

        return broken


class TestTripoSrApart(Briefly, ApartStreams, TestTripoSr):
    """The same in a process of its own."""


# The checkpoint


def test_the_published_names_and_shapes(tmp_path):
    settings = settings_of(PUBLISHED, tmp_path)
    vit = Encoder(channels=768, heads=12, layers=12, inner=3072, patch=16, places=197)
    shapes = expected(settings, vit)
    assert len(shapes) == 549
    assert sum(math.prod(shape) for shape in shapes.values()) == 419_275_628
    assert sum(name.startswith("image_tokenizer.model.") for name in shapes) == 200
    assert sum(name.startswith("backbone.") for name in shapes) == 326
    assert sum(name.startswith("decoder.") for name in shapes) == 20
    block = "backbone.transformer_blocks.15"
    assert shapes["tokenizer.embeddings"] == (3, 1024, 32, 32)
    assert shapes[f"{block}.attn2.to_k.weight"] == (1024, 768)
    assert f"{block}.attn2.to_k.bias" not in shapes
    assert shapes[f"{block}.attn1.to_out.0.bias"] == (1024,)
    assert shapes[f"{block}.ff.net.0.proj.weight"] == (8192, 1024)
    assert shapes[f"{block}.ff.net.2.weight"] == (1024, 4096)
    assert shapes["post_processor.upsample.weight"] == (1024, 40, 2, 2)
    assert shapes["decoder.layers.0.weight"] == (64, 120)
    assert shapes["decoder.layers.16.weight"] == (64, 64)
    assert shapes["decoder.layers.18.weight"] == (4, 64)
    layer = "image_tokenizer.model.encoder.layer.11"
    assert shapes[f"{layer}.attention.attention.query.weight"] == (768, 768)
    assert shapes[f"{layer}.intermediate.dense.weight"] == (3072, 768)


def test_the_encoder_is_told_by_its_tensors(tmp_path):
    settings = settings_of(PUBLISHED, tmp_path)
    vit = Encoder(channels=768, heads=12, layers=12, inner=3072, patch=16, places=197)
    assert read_encoder(expected(settings, vit), settings, tmp_path) == vit


def test_every_number_is_read(tmp_path):
    published = settings_of(PUBLISHED, tmp_path)
    assert published == Settings(
        image_size=512,
        vit_heads=None,
        plane_size=32,
        channels=1024,
        heads=16,
        head_size=64,
        layers=16,
        context_channels=768,
        groups=32,
        plane_channels=40,
        neurons=64,
        hidden_layers=9,
        activation="silu",
        radius=0.87,
        density_bias=-1.0,
    )
    other = {
        **PUBLISHED,
        "image_tokenizer": {"num_attention_heads": 6},
        "backbone": {**PUBLISHED["backbone"], "norm_num_groups": 16},
        "decoder": {**PUBLISHED["decoder"], "activation": "relu", "n_hidden_layers": 1},
        "renderer": {**PUBLISHED["renderer"], "radius": 1, "density_bias": -3},
    }
    assert settings_of(other, tmp_path) == dataclasses.replace(
        published,
        vit_heads=6,
        groups=16,
        activation="relu",
        hidden_layers=1,
        radius=1.0,
        density_bias=-3.0,
    )
    names = expected(settings_of(other, tmp_path), TINY_VIT)
    assert [name for name in names if name.startswith("decoder.")] == [
        f"decoder.layers.{number}.{what}" for number in (0, 2) for what in ("weight", "bias")
    ]


async def test_parts_that_do_not_fit_are_refused(tiny, tmp_path):
    settings_of({**TINY, "backbone": {**TINY["backbone"], "cross_attention_dim": 48}}, tmp_path)
    seen = ("attn2.to_k.weight", "attn2.to_v.weight")
    tensors = {
        name: torch.zeros(64, 48) if name.endswith(seen) else t for name, t in tiny[1].items()
    }
    torch.save(tensors, tmp_path / "model.ckpt")
    with pytest.raises(LoadError, match=r"gives 32 channels, and config\.yaml expects 48"):
        await build(tmp_path).load()


def test_loading_stops_where_nobody_waits(tiny_folder):
    job = Job(lambda job: None)
    seen = []

    def report(progress):
        seen.append(progress)
        job.cancel()

    with pytest.raises(LoadError, match="loading was stopped"):
        open_engine(
            "tiny", model_files(tiny_folder), Device.Cpu, "auto", threads=1, job=job, report=report
        )
    assert len(seen) == 1


async def test_each_name_is_checked(tiny, tmp_path):
    settings_of(TINY, tmp_path)
    changed = dict(tiny[1])
    del changed["backbone.proj_in.bias"]
    changed["backbone.proj_in.extra"] = torch.zeros(3)
    changed["decoder.layers.0.bias"] = torch.zeros(17)
    torch.save(changed, tmp_path / "model.ckpt")
    with pytest.raises(LoadError) as refusal:
        await build(tmp_path).load()
    message = str(refusal.value)
    assert "1 missing: backbone.proj_in.bias" in message
    assert "1 unexpected: backbone.proj_in.extra" in message
    assert "1 of the wrong shape: decoder.layers.0.bias (17,) instead of (16,)" in message
    torch.save({"other": torch.zeros(3)}, tmp_path / "model.ckpt")
    with pytest.raises(LoadError, match="no image encoder by TripoSR's names"):
        await build(tmp_path).load()
    far = "image_tokenizer.model.encoder.layer.99999999999.odd"
    torch.save({**tiny[1], far: torch.zeros(3)}, tmp_path / "model.ckpt")
    with pytest.raises(LoadError, match=r"1 unexpected: image_tokenizer\.model\.enc.*999\.odd"):
        await build(tmp_path).load()


async def test_a_pickle_that_would_run_code_is_refused(tiny, tmp_path):
    class Harm:
        def __reduce__(self):
            return Path.touch, (tmp_path / "harm",)

    settings_of(TINY, tmp_path)
    torch.save({**tiny[1], "harm": Harm()}, tmp_path / "model.ckpt")
    with pytest.raises(LoadError, match="may run any code") as refusal:
        await build(tmp_path).load()
    assert "weights_only" not in str(refusal.value)  # torch's own advice is to run it
    assert "touch" in str(refusal.value) or "getattr" in str(refusal.value)
    assert not (tmp_path / "harm").exists()
    torch.save([1, 2], tmp_path / "model.ckpt")
    with pytest.raises(LoadError, match="holds list"):
        await build(tmp_path).load()
    torch.save({**tiny[1], "epoch": 7}, tmp_path / "model.ckpt")
    with pytest.raises(LoadError, match="epoch are no tensors"):
        await build(tmp_path).load()


async def test_safetensors_give_the_same_mesh(tiny, loaded, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    settings_of(TINY, tmp_path)
    safetensors.save_file(tiny[1], tmp_path / "model.safetensors")
    options = {"resolution": 16}
    async with build(tmp_path) as model:
        assert await model.image_to_mesh(a_picture(), options) == await loaded.image_to_mesh(
            a_picture(), options
        )
    async with build(tmp_path / "model.safetensors") as model:
        assert model.is_loaded
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(LoadError, match=r"model\.safetensors can't be read"):
        await build(tmp_path).load()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists what is mapped")
def test_weights_are_the_files_own_bytes(loaded, tiny_folder):
    """So there is one copy in memory at any time, and it is the page cache's."""
    engine = engine_of(loaded)
    mapped = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(str(tiny_folder / "model.ckpt")):
            start, end = line.split()[0].split("-")
            mapped.append(range(int(start, 16), int(end, 16)))
    assert engine.tensors
    for name, tensor in engine.tensors.items():
        assert any(tensor.data_ptr() in part for part in mapped), f"{name} is a copy"


async def test_a_model_comes_from_the_hub(tiny_folder, tmp_path):
    files = {name: (tiny_folder / name).read_bytes() for name in ("config.yaml", "model.ckpt")}
    with standing_in(Hub({"org/shapes": {**files, "README.md": b"x" * 9}})):
        model = build("org/shapes", cache_dir=tmp_path)
        stages = []
        await model.load(on_progress=lambda progress: stages.append(progress.stage))
        await asyncio.sleep(0)
        assert {"download", "load"} <= set(stages)
        await model.unload()
    assert not list(tmp_path.rglob("README.md"))


async def test_what_is_no_model_is_told(tmp_path, tiny_folder):
    with pytest.raises(ModelNotFoundError, match=r"model\.safetensors and no model\.ckpt"):
        await build(tmp_path).load()
    (tmp_path / "model.ckpt").write_bytes(b"")
    with pytest.raises(ModelNotFoundError, match=r"no config\.yaml beside"):
        await build(tmp_path).load()
    with pytest.raises(LoadError, match="name the folder"):
        await build(tiny_folder / "config.yaml").load()


@pytest.mark.parametrize(
    ("change", "error", "what"),
    [
        ({"renderer": {"density_activation": "softplus"}}, UnsupportedError, "softplus"),
        ({"renderer": {"feature_reduction": "mean"}}, UnsupportedError, "mean"),
        ({"renderer": {"color_activation": "tanh"}}, UnsupportedError, "tanh"),
        ({"renderer": {"radius": "wide"}}, LoadError, "radius is 'wide'"),
        ({"renderer": {"radius": -1}}, LoadError, "radius"),
        ({"decoder": {"n_neurons": None}}, LoadError, "n_neurons is missing"),
        ({"decoder": {"in_channels": 25}}, LoadError, "must be 24"),
        ({"decoder": {"activation": "tanh"}}, UnsupportedError, "tanh"),
        ({"backbone": {"in_channels": "${backbone.in_channels}"}}, LoadError, "to itself"),
        ({"backbone": {"num_layers": 0}}, LoadError, "layers is 0"),
        ({"backbone": {"norm_num_groups": 7}}, LoadError, "7 groups"),
        ({"cond_image_size": 60}, LoadError, "does not fit images of 60"),
        ({"backbone": {"cross_attention_dim": 48}}, LoadError, "cross_attention_dim|wrong shape"),
    ],
)
async def test_a_config_that_can_not_be_is_refused(tiny, tmp_path, change, error, what):
    config = {
        key: {**value, **change.get(key, {})} if isinstance(value, dict) else change.get(key, value)
        for key, value in TINY.items()
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    torch.save(tiny[1], tmp_path / "model.ckpt")
    with pytest.raises(error, match=what):
        await build(tmp_path).load()


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "a: [", "\x00"])
async def test_a_config_that_is_none_is_refused(tiny_folder, tmp_path, text):
    (tmp_path / "config.yaml").write_text(text, "utf-8")
    (tmp_path / "model.ckpt").write_bytes((tiny_folder / "model.ckpt").read_bytes())
    with pytest.raises(LoadError, match=r"config\.yaml"):
        await build(tmp_path).load()


# The whole, beside a run of the published modules


def chance(count, number):
    """Numbers that look like chance, from -0.5 to 0.5, and are the same on every machine."""
    at = torch.arange(count, dtype=torch.float64)
    return (torch.sin(at * 12.9898 + number * 78.233) * 43758.5453).remainder(1) - 0.5


# The logarithm of the density, red, green and blue at twelve points: what the published modules
# gave with transformers 4.35, for the weights and the picture of this test.
PUBLISHED_FIELD = (
    (1.254987, 0.433805, 0.548584, 0.417167),
    (-1.098402, 0.491386, 0.503563, 0.425953),
    (-1.508718, 0.374121, 0.543488, 0.441519),
    (5.201436, 0.477151, 0.630547, 0.408610),
    (2.987310, 0.361105, 0.473521, 0.422242),
    (11.303479, 0.311604, 0.526719, 0.455097),
    (1.011947, 0.370947, 0.487720, 0.432310),
    (0.356285, 0.490985, 0.554239, 0.440448),
    (1.941898, 0.544349, 0.507240, 0.425601),
    (2.958347, 0.500134, 0.555090, 0.371052),
    (1.726231, 0.491008, 0.520969, 0.460667),
    (-0.956270, 0.444544, 0.497376, 0.394553),
)


async def test_it_equals_the_published_modules(tiny, tmp_path, pace):
    settings, _ = tiny
    settings_of(TINY, tmp_path)
    tensors = {}
    for number, (name, shape) in enumerate(sorted(expected(settings, TINY_VIT).items())):
        values = chance(math.prod(shape), number).reshape(shape)
        if "norm" in name and name.endswith("weight"):
            values += 1
        elif len(shape) > 1 and ".embeddings." not in name:
            values *= (12 / math.prod(shape[1:])) ** 0.5
        tensors[name] = values.float()
    tensors["decoder.layers.6.weight"][0] *= 8
    tensors["decoder.layers.6.bias"][0] += 3
    torch.save(tensors, tmp_path / "model.ckpt")
    y, x = np.mgrid[:30, :44]
    alpha = np.clip((13 - np.hypot(y - 14, (x - 25) * 0.7)) * 60, 0, 255)
    rgba = np.stack([x * 7 % 256, y * 11 % 256, x * y % 256, alpha], axis=2).astype(np.uint8)
    points = (torch.stack([chance(12, number) for number in range(3)], 1) * 1.7).float()
    async with build(tmp_path, axes="raw") as model:
        with torch.inference_mode():
            pixels = centred(pixels_of(Image.from_array(rgba)), None)
            field = engine_of(model).field(normalised(pixels, 64), pace)
            found = torch.cat([field.density(points).log()[:, None], field.colors(points)], 1)
        assert np.allclose(found.numpy(), PUBLISHED_FIELD, atol=1e-4)
        mesh = await model.image_to_mesh(rgba, {"resolution": 16, "threshold": 2})
    assert len(mesh.vertices) == 2397
    middle = mesh.vertices.mean(axis=0)
    assert np.allclose(middle, (-0.01171445, 0.02639359, -0.00217696), atol=1e-4)
    color = mesh.vertex_colors[:, :3].mean(axis=0) / 255
    assert np.allclose(color, (0.42291525, 0.51217425, 0.42400640), atol=1e-3)


# The encoder


def transformers_vit(tensors, vit, image_size):
    """The same weights in transformers' own class, whose names are others since its version 5."""
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=vit.channels,
        num_hidden_layers=vit.layers,
        num_attention_heads=vit.heads,
        intermediate_size=vit.inner,
        image_size=image_size,
        patch_size=vit.patch,
        layer_norm_eps=1e-12,
        hidden_act="gelu",
    )
    model = transformers.ViTModel(config, add_pooling_layer=False).eval()
    state = {}
    for name, tensor in tensors.items():
        if "pooler" in name:
            continue
        new = name.removeprefix("image_tokenizer.model.")
        if any(key.startswith("layers.") for key in model.state_dict()):
            new = new.replace("encoder.layer.", "layers.")
            for old, newer in (
                ("attention.attention.query", "attention.q_proj"),
                ("attention.attention.key", "attention.k_proj"),
                ("attention.attention.value", "attention.v_proj"),
                ("attention.output.dense", "attention.o_proj"),
                ("intermediate.dense", "mlp.fc1"),
                ("output.dense", "mlp.fc2"),
            ):
                new = new.replace(old, newer)
        state[new] = tensor
    model.load_state_dict(state, strict=True)
    return model


@pytest.mark.parametrize("size", [1, 1e-3])  # of small numbers, what a norm adds is a large part
def test_the_encoder_is_transformers_own(tiny, pace, size):
    _, tensors = tiny
    own = {
        name: t * size if ".embeddings." in name else t
        for name, t in tensors.items()
        if name.startswith("image_tokenizer.")
    }
    table = own["image_tokenizer.model.embeddings.position_embeddings"]
    stretched = encoding.positions(table, 4, 4)
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    theirs = transformers_vit(
        own | {"image_tokenizer.model.embeddings.position_embeddings": stretched}, TINY_VIT, 64
    )
    pace.begin("encode", 2)
    with torch.inference_mode():
        wanted = theirs(pixels).last_hidden_state
        found = encoding.encode(
            Part(own, "image_tokenizer.model."), pixels, layers=2, heads=2, rows=6, pace=pace
        )
    assert found.shape == (1, 17, 32)
    assert torch.allclose(found, wanted, atol=1e-5)


def bicubic(table, out, scale):
    """Stretch a row of numbers as Keys' kernel with a = -0.75 does, the borders repeated."""
    a = -0.75

    def near(x):
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x):
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    rows = []
    for place in range(out):
        at = (place + 0.5) / scale - 0.5
        low = math.floor(at)
        part = at - low
        weights = [far(part + 1), near(part), near(1 - part), far(2 - part)]
        taken = [table[min(max(low + k, 0), len(table) - 1)] for k in (-1, 0, 1, 2)]
        rows.append(sum(w * t for w, t in zip(weights, taken, strict=True)))
    return np.stack(rows)


def test_positions_are_stretched_by_the_published_factor():
    table = torch.randn(1, 197, 6, generator=torch.Generator().manual_seed(1))
    found = encoding.positions(table, 32, 32)
    assert found.shape == (1, 1025, 6)
    assert torch.equal(found[:, 0], table[:, 0])  # the first token keeps its own
    grid = table[0, 1:].reshape(14, 14, 6).double().numpy()
    scale = 32.1 / 14
    rows = bicubic(grid, 32, scale)
    wanted = bicubic(rows.transpose(1, 0, 2), 32, scale).transpose(1, 0, 2)
    assert np.allclose(found[0, 1:].numpy(), wanted.reshape(1024, 6), atol=1e-4)
    other = bicubic(bicubic(grid, 32, 32 / 14).transpose(1, 0, 2), 32, 32 / 14)
    assert not np.allclose(wanted, other.transpose(1, 0, 2), atol=1e-2)
    assert encoding.positions(table, 14, 14) is table


# The picture


def reference_square(rgba, ratio):
    """The steps of the published code, with loops."""
    rows = [y for y in range(rgba.shape[0]) if rgba[y, :, 3].any()]
    columns = [x for x in range(rgba.shape[1]) if rgba[:, x, 3].any()]
    cut = rgba[rows[0] : rows[-1], columns[0] : columns[-1]]
    height, width = cut.shape[:2]
    size = max(height, width)
    square = np.zeros((size, size, 4), np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    square[top : top + height, left : left + width] = cut
    side = int(size / ratio)
    whole = np.zeros((side, side, 4), np.uint8)
    start = (side - size) // 2
    whole[start : start + size, start : start + size] = square
    out = np.empty((side, side, 3), np.uint8)
    for y in range(side):
        for x in range(side):
            alpha = np.float32(whole[y, x, 3]) / np.float32(255)
            rgb = whole[y, x, :3].astype(np.float32) / np.float32(255)
            on_grey = rgb * alpha + np.float32(0.5) * (1 - alpha)
            out[y, x] = np.floor(on_grey * np.float32(255))
    return out


@pytest.mark.parametrize("ratio", [None, 0.85, 0.6, 1.0])
def test_the_object_is_centred_on_grey(ratio):
    chance = np.random.default_rng(5)
    rgba = np.zeros((40, 50, 4), np.uint8)
    rgba[7:30, 12:26] = chance.integers(0, 256, (23, 14, 4))
    rgba[7, 12:26, 3] = rgba[29, 12:26, 3] = 9
    rgba[7:30, 12, 3] = rgba[7:30, 25, 3] = 9
    found = centred(pixels_of(Image.from_array(rgba)), ratio)
    assert np.array_equal(found, reference_square(rgba, ratio or 0.85))
    assert tuple(found[0, 0]) == ((127, 127, 127) if ratio != 1.0 else tuple(found[0, 0]))


def test_pictures_of_every_kind():
    opaque = np.full((8, 9, 4), 255, np.uint8)
    opaque[..., 1] = 3
    assert np.array_equal(centred(pixels_of(Image.from_array(opaque)), None), opaque[..., :3])
    grey = np.full((8, 9), 77, np.uint8)
    assert (pixels_of(Image.from_array(grey)) == 77).all()
    assert pixels_of(Image.from_array(grey)).shape == (8, 9, 3)
    with pytest.raises(ValidationError, match="foreground_ratio needs to know"):
        centred(opaque[..., :3], 0.5)
    empty = np.zeros((8, 9, 4), np.uint8)
    with pytest.raises(ValidationError, match="transparent everywhere"):
        centred(empty, None)
    empty[3, 2:7, 3] = 255
    with pytest.raises(ValidationError, match="single line"):
        centred(empty, None)
    large = np.zeros((1001, 1001, 4), np.uint8)
    large[..., 3] = 255
    large[0, 0, 3] = 0
    with pytest.raises(ValidationError, match="square of 10,000×10,000 is more than"):
        centred(large, 0.1)


def test_the_picture_is_resized_and_normalised():
    from PIL import Image as Pillow

    pixels = np.random.default_rng(2).integers(0, 256, (90, 70, 3)).astype(np.uint8)
    found = normalised(pixels, 32)
    assert found.shape == (1, 3, 32, 32)
    assert found.dtype == torch.float32
    for channel, (mean, deviation) in enumerate(
        zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)
    ):
        # Pillow smooths what it shrinks in the same way: antialias, corners not aligned.
        plane = Pillow.fromarray((pixels[..., channel] / 255).astype(np.float32))
        small = np.asarray(plane.resize((32, 32), Pillow.Resampling.BILINEAR))
        assert np.allclose(found[0, channel].numpy(), (small - mean) / deviation, atol=1e-4)


def mask_network(path, side=320, weights=(1, 0, 0)):
    """A network that calls red pixels the object: as a U²-Net does, it wants normalised colours."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    shape = [1, len(weights), side, side]
    weight = onnx.numpy_helper.from_array(np.array(weights, np.float32).reshape(1, -1, 1, 1), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["z"]), helper.make_node("Sigmoid", ["z"], ["y"])],
        "mask",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 1, side, side])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return path


def reference_cut(picture, weights=(1, 0, 0)):
    """What the cutter does that TripoSR is run with, for `mask_network`."""
    from PIL import Image as Pillow

    whole = Pillow.fromarray(picture)
    values = np.array(whole.resize((320, 320), Pillow.Resampling.LANCZOS)).astype(float)
    colors = (values / values.max() - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    found = 1 / (1 + np.exp(-(colors * weights).sum(axis=2)))
    found = ((found - found.min()) / (found.max() - found.min()) * 255).astype(np.uint8)
    mask = Pillow.fromarray(found).resize(whole.size, Pillow.Resampling.LANCZOS)
    shares = np.array(mask).astype(float)[..., None] / 255
    opaque = np.dstack([picture, np.full(picture.shape[:2], 255)])
    return np.rint(opaque * shares).astype(np.uint8)


async def test_the_background_is_taken_away(tiny_folder, tmp_path):
    pytest.importorskip("onnxruntime")
    picture = np.zeros((64, 80, 3), np.uint8)
    picture[20:44, 30:60] = (255, 30, 90)
    options = {"resolution": 16, "remove_background": True}
    path = mask_network(tmp_path / "mask.onnx")
    async with build(tiny_folder, background_model=path) as model:
        rgba = model._loading.thread.engine.cutter.cut(picture)
        assert rgba.shape == (64, 80, 4)
        assert (rgba[25:40, 35:55, 3] > 250).all()
        assert (rgba[:15, :, 3] < 5).all()
        assert np.array_equal(rgba[25:40, 35:55, :3], picture[25:40, 35:55])
        assert rgba[:15].max() < 5
        assert np.abs(rgba.astype(int) - reference_cut(picture)).max() <= 2
        removed = await model.image_to_mesh(picture, options)
        assert removed == await model.image_to_mesh(rgba, {"resolution": 16})
        assert removed != await model.image_to_mesh(picture, {"resolution": 16})
        # What is transparent already says where the object is.
        assert await model.image_to_mesh(rgba, options) == removed
        assert (await model.footprint()).resident["cpu"] > path.stat().st_size
    (tmp_path / "mask.onnx").write_bytes(b"none")
    with pytest.raises(LoadError, match=r"mask\.onnx"):
        await build(tiny_folder, background_model=path).load()
    with pytest.raises(ValidationError, match="names one ONNX file"):
        await build(tiny_folder, background_model=tmp_path).load()


def test_what_finds_the_object_sees_what_it_was_trained_on(tmp_path):
    pytest.importorskip("onnxruntime")
    weights = (0.6, -0.4, 0.3)
    shades = np.random.default_rng(4).integers(0, 200, (6, 8, 3)).astype(np.uint8)
    picture = shades.repeat(10, axis=0).repeat(10, axis=1)
    found = Cutter(mask_network(tmp_path / "mask.onnx", weights=weights), 1).cut(picture)
    assert np.abs(found.astype(int) - reference_cut(picture, weights)).max() <= 2
    flat = Cutter(mask_network(tmp_path / "flat.onnx", weights=(0, 0, 0)), 1).cut(picture)
    assert not flat.any()
    odd = Cutter(mask_network(tmp_path / "odd.onnx", weights=(math.nan, 0, 0)), 1)
    with pytest.raises(UnsupportedError, match="no mask"):
        odd.cut(picture)
    with pytest.raises(LoadError, match="does not take one picture"):
        Cutter(mask_network(tmp_path / "grey.onnx", weights=(1,)), 1)


async def test_no_background_is_left_in_silence(loaded):
    with pytest.raises(UnsupportedError, match="background_model"):
        await loaded.image_to_mesh(a_picture(), {"remove_background": True})


# The backbone


def reference_backbone(tensors, embeddings, context, settings):
    """The published formulas, spelled out."""
    t = {k.removeprefix("backbone."): v.double() for k, v in tensors.items() if "backbone." in k}
    planes, channels, side, _ = embeddings.shape
    tokens = torch.empty(planes * side * side, channels, dtype=torch.float64)
    for plane in range(planes):
        for h in range(side):
            for w in range(side):
                tokens[(plane * side + h) * side + w] = embeddings[plane, :, h, w].double()

    groups = tokens.reshape(len(tokens), settings.groups, channels // settings.groups)
    mean = groups.mean(dim=(0, 2), keepdim=True)
    var = ((groups - mean) ** 2).mean(dim=(0, 2), keepdim=True)
    x = ((groups - mean) / (var + 1e-6).sqrt()).reshape(tokens.shape)
    x = (x * t["norm.weight"] + t["norm.bias"]) @ t["proj_in.weight"].T + t["proj_in.bias"]

    def layer_norm(name, y):
        centre = y - y.mean(-1, keepdim=True)
        spread = (centre**2).mean(-1, keepdim=True)
        return centre / (spread + 1e-5).sqrt() * t[f"{name}.weight"] + t[f"{name}.bias"]

    def attention(name, y, seen):
        q, k, v = (
            y @ t[f"{name}.to_q.weight"].T,
            *(seen @ t[f"{name}.to_{n}.weight"].T for n in "kv"),
        )
        out = []
        for head in range(settings.heads):
            part = slice(head * settings.head_size, (head + 1) * settings.head_size)
            scores = q[:, part] @ k[:, part].T / settings.head_size**0.5
            out.append(torch.softmax(scores, -1) @ v[:, part])
        return torch.cat(out, -1) @ t[f"{name}.to_out.0.weight"].T + t[f"{name}.to_out.0.bias"]

    for number in range(settings.layers):
        block = f"transformer_blocks.{number}"
        normed = layer_norm(f"{block}.norm1", x)
        x = x + attention(f"{block}.attn1", normed, normed)
        x = x + attention(f"{block}.attn2", layer_norm(f"{block}.norm2", x), context[0].double())
        wide = layer_norm(f"{block}.norm3", x) @ t[f"{block}.ff.net.0.proj.weight"].T
        wide = wide + t[f"{block}.ff.net.0.proj.bias"]
        value, gate = wide[:, : wide.shape[1] // 2], wide[:, wide.shape[1] // 2 :]
        gated = value * gate * 0.5 * (1 + torch.erf(gate / math.sqrt(2)))
        x = x + gated @ t[f"{block}.ff.net.2.weight"].T + t[f"{block}.ff.net.2.bias"]
    x = x @ t["proj_out.weight"].T + t["proj_out.bias"] + tokens
    return x.reshape(planes, side, side, channels).permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    ("rows", "size", "groups"), [(7, 1, 32), (48, 1, 16), (1000, 1, 32), (48, 1e-3, 32)]
)
def test_the_backbone_is_the_published_formulas(tiny, pace, rows, size, groups):
    settings, tensors = tiny
    settings = dataclasses.replace(settings, groups=groups)
    # Small numbers before and after the first norm: what a norm adds is a large part of them.
    small = ("tokenizer.embeddings", "backbone.proj_in.weight", "backbone.proj_in.bias")
    tensors = {name: t * size if name in small else t for name, t in tensors.items()}
    context = torch.randn(1, 17, 32, generator=torch.Generator().manual_seed(9))
    embeddings = tensors["tokenizer.embeddings"]
    before = embeddings.clone()
    pace.begin("triplane", 2)
    with torch.inference_mode():
        found = triplane.transform(
            Part(tensors, "backbone."), embeddings, context, settings, rows=rows, pace=pace
        )
        wanted = reference_backbone(tensors, embeddings, context, settings)
    assert torch.allclose(found.double(), wanted, atol=1e-4)
    assert torch.equal(embeddings, before)


def test_planes_are_doubled(tiny):
    _, tensors = tiny
    planes = torch.randn(3, 64, 4, 4, generator=torch.Generator().manual_seed(4))
    weight = tensors["post_processor.upsample.weight"]
    bias = tensors["post_processor.upsample.bias"]
    found = triplane.upsample(Part(tensors, "post_processor.upsample."), planes)
    assert found.shape == (3, 8, 8, 8)
    assert torch.allclose(found, F.conv_transpose2d(planes, weight, bias, stride=2), atol=1e-5)
    # One pixel by hand: where input and kernel meet there is one of each.
    wanted = (planes[1, :, 2, 3] * weight[:, 5, 1, 0]).sum() + bias[5]
    assert torch.isclose(found[1, 5, 5, 6], wanted, atol=1e-5)


# The field


def hand_sampled(planes, point, radius):
    """Bilinear by hand: what lies outside of a plane counts as zero."""
    size = planes.shape[-1]
    out = []
    for plane, (across, down) in zip(planes, ((0, 1), (0, 2), (1, 2)), strict=True):
        x = ((point[across] / radius + 1) * size - 1) / 2
        y = ((point[down] / radius + 1) * size - 1) / 2
        total = np.zeros(planes.shape[1])
        for row in (math.floor(y), math.floor(y) + 1):
            for column in (math.floor(x), math.floor(x) + 1):
                if 0 <= row < size and 0 <= column < size:
                    share = (1 - abs(x - column)) * (1 - abs(y - row))
                    total += share * plane[:, row, column]
        out.append(total)
    return np.concatenate(out)


def test_planes_are_sampled_as_by_hand():
    chance = np.random.default_rng(7)
    planes = chance.normal(size=(3, 5, 8, 8))
    points = chance.uniform(-0.95, 0.95, (60, 3))
    points[0] = (0.87, -0.87, 0.0)
    points[1] = (0.0, 0.3, 2.0)
    found = sample(torch.from_numpy(planes).float(), torch.from_numpy(points).float(), 0.87).numpy()
    wanted = np.stack([hand_sampled(planes, point, 0.87) for point in points])
    assert np.allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("activation", "radius", "bias"),
    [("silu", 0.87, -1.0), ("relu", 0.87, -1.0), ("silu", 1.3, 0.5)],
)
def test_the_field_is_the_published_formulas(tiny, activation, radius, bias):
    settings, tensors = tiny
    settings = dataclasses.replace(
        settings, activation=activation, radius=radius, density_bias=bias
    )
    planes = torch.randn(3, 8, 8, 8, generator=torch.Generator().manual_seed(11))
    points = torch.rand(40, 3, generator=torch.Generator().manual_seed(12)) * 2 * radius - radius
    field = Field(planes, Part(tensors, "decoder."), settings)
    x = np.stack([hand_sampled(planes.numpy(), point, radius) for point in points.numpy()])
    for number in (0, 2, 4):
        x = x @ tensors[f"decoder.layers.{number}.weight"].numpy().T
        x = x + tensors[f"decoder.layers.{number}.bias"].numpy()
        x = x / (1 + np.exp(-x)) if activation == "silu" else x.clip(0)
    x = x @ tensors["decoder.layers.6.weight"].numpy().T + tensors["decoder.layers.6.bias"].numpy()
    assert np.allclose(field.density(points).numpy(), np.exp(x[:, 0] + bias), rtol=1e-4)
    assert np.allclose(field.colors(points).numpy(), 1 / (1 + np.exp(-x[:, 1:])), atol=1e-5)


async def test_the_mesh_does_not_depend_on_the_chunks(loaded, monkeypatch):
    sizes = []
    density = Field.density

    def counted(self, points):
        sizes.append(len(points))
        return density(self, points)

    monkeypatch.setattr(Field, "density", counted)
    options = {"resolution": 24}
    whole = await loaded.image_to_mesh(a_picture(), options)
    assert sizes == [8192, 24**3 - 8192]
    sizes.clear()
    parts = await loaded.image_to_mesh(a_picture(), {**options, "chunk_size": 1000})
    assert max(sizes) == 1000
    assert np.array_equal(parts.faces, whole.faces)
    assert np.allclose(parts.vertices, whole.vertices, atol=1e-4)


async def test_chunks_shrink_where_memory_is_short(loaded, monkeypatch, caplog):
    sizes = []
    density = Field.density

    def short(self, points):
        sizes.append(len(points))
        if len(points) > 3000:
            raise torch.OutOfMemoryError("CUDA out of memory: tried to allocate 20 GiB")
        return density(self, points)

    options = {"resolution": 24}
    expected_mesh = await loaded.image_to_mesh(a_picture(), options)
    monkeypatch.setattr(Field, "density", short)
    mesh = await loaded.image_to_mesh(a_picture(), options)
    assert sizes[:4] == [8192, 4096, 2048, 2048]
    assert max(sizes[2:]) == 2048
    assert np.array_equal(mesh.faces, expected_mesh.faces)
    assert "2048 from here on" in caplog.text


def test_memory_that_is_too_short_is_an_error():
    tried = []

    def work(start, end):
        tried.append(end - start)
        raise MemoryError

    with pytest.raises(MemoryError):
        list(in_chunks(10_000, 1024, work))
    assert tried == [1024, 512, 256]

    def broken(start, end):
        tried.append(end - start)
        raise RuntimeError("shapes do not fit")

    tried.clear()
    with pytest.raises(RuntimeError, match="shapes"):
        list(in_chunks(10_000, 1024, broken))
    assert tried == [1024]


# The surface


class Ball:
    """A field that can be worked out: a ball off the middle, coloured by place."""

    radius = 0.87
    device = torch.device("cpu")
    centre = (0.1, 0.2, -0.15)
    size = 0.45

    def density(self, points):
        distance = (points - torch.tensor(self.centre)).norm(dim=1)
        return 25 + 100 * (self.size - distance)

    def colors(self, points):
        return (points / self.radius + 1) / 2


def test_a_ball_comes_out_as_a_ball(pace):
    mesh = mesh_of(Ball(), MeshOptions(resolution=64), "raw", pace)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(4 / 3 * math.pi * 0.45**3, rel=0.01)  # outward: over 0
    distance = np.linalg.norm(mesh.vertices - np.float32(Ball.centre), axis=1)
    assert np.allclose(distance, 0.45, atol=2e-3)
    corners = mesh.vertices[mesh.faces].astype(float)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    outward = ((corners.mean(axis=1) - Ball.centre) * normals).sum(axis=1)
    assert (outward[np.linalg.norm(normals, axis=1) > 1e-9] > 0).all()
    wanted = np.rint((mesh.vertices / 0.87 + 1) / 2 * 255)
    assert np.abs(mesh.vertex_colors[:, :3] - wanted).max() <= 1
    assert (mesh.vertex_colors[:, 3] == 255).all()


def test_a_ball_in_a_wider_volume_stays_where_it_is(pace):
    class Wider(Ball):
        radius = 1.1

    mesh = mesh_of(Wider(), MeshOptions(resolution=40), "raw", pace)
    distance = np.linalg.norm(mesh.vertices - np.float32(Ball.centre), axis=1)
    assert np.allclose(distance, 0.45, atol=5e-3)
    wanted = np.rint((mesh.vertices / 1.1 + 1) / 2 * 255)
    assert np.abs(mesh.vertex_colors[:, :3] - wanted).max() <= 1


def test_colours_are_rounded():
    class Shades:
        device = torch.device("cpu")

        def colors(self, points):
            return points

    shades = np.float32([[0.4, 100.4, 254.4], [0.6, 100.6, 254.6]]) / 255
    done = []
    found = colors_at(Shades(), shades, 1, done.append)
    assert found.tolist() == [[0, 100, 254], [1, 101, 255]]
    assert done == [1, 2]


def test_the_viewer_is_at_positive_z_and_y_is_up(pace):
    raw = mesh_of(Ball(), MeshOptions(resolution=32), "raw", pace)
    mesh = mesh_of(Ball(), MeshOptions(resolution=32), "gltf", pace)
    assert np.array_equal(mesh.vertices, raw.vertices[:, [1, 2, 0]])
    assert np.array_equal(mesh.vertex_colors, raw.vertex_colors)
    assert mesh.volume == pytest.approx(raw.volume)  # turned, not mirrored


def waves(resolution=20):
    side = np.linspace(-3, 3, resolution, dtype=np.float32)
    x, y, z = np.meshgrid(side, side, side, indexing="ij")
    return np.sin(x * 1.3) * np.cos(y * 1.7) + np.sin(z * 2.1) * np.cos(x) * 0.7 + 0.1 * x


@pytest.mark.parametrize("cells", [1, 900, 10**9])
def test_slabs_join_to_the_whole_surface(pace, monkeypatch, cells):
    from skimage.measure import marching_cubes

    grid = waves()
    whole, whole_faces, _, _ = marching_cubes(grid, 0.2, gradient_direction="ascent")
    monkeypatch.setattr(surfaces, "_CELLS", cells)
    vertices, faces = surfaces.surface(grid, 0.2, pace)
    assert len(vertices) == len(whole)  # what two slabs share is there once
    assert len(faces) == len(whole_faces)

    def in_order(points):
        return points[np.lexsort(np.round(points, 4).T)]

    assert np.allclose(in_order(vertices), in_order(whole), atol=1e-3)
    area = np.cross(
        vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]]
    )
    wanted = np.cross(
        whole[whole_faces[:, 1]] - whole[whole_faces[:, 0]],
        whole[whole_faces[:, 2]] - whole[whole_faces[:, 0]],
    )
    assert np.allclose(area.sum(axis=0), wanted.sum(axis=0), atol=1e-2)


def test_slabs_without_a_surface_lie_between(pace, monkeypatch):
    grid = np.zeros((12, 8, 8), np.float32)
    grid[2:4, 3:5, 3:5] = grid[8:10, 3:5, 3:5] = 50
    monkeypatch.setattr(surfaces, "_CELLS", 64)
    vertices, faces = surfaces.surface(grid, 25.0, pace)
    mesh = Mesh(vertices, faces)
    assert mesh.is_watertight
    assert mesh.volume > 0
    assert mesh.bounds[0][0] == pytest.approx(1.5)
    assert mesh.bounds[1][0] == pytest.approx(9.5)


@pytest.mark.parametrize("cells", [1, 10**9])
@pytest.mark.parametrize("inside", [None, 5e7, 3.4e38])
def test_vertices_that_meet_are_one(pace, monkeypatch, cells, inside):
    """Where the surface passes through the points of the grid, all their edges end there."""
    r = np.arange(14)
    x, y, z = np.meshgrid(r, r, r, indexing="ij")
    if inside is None:  # the threshold itself
        grid = 5 - abs(x - 6) - abs(y - 7) - abs(z - 6)
        threshold, volume = 0, 4 / 3 * 5**3
    else:
        grid = np.where((x - 6) ** 2 + (y - 7) ** 2 + (z - 6) ** 2 < 20, inside, 0)
        threshold, volume = 25, None
    monkeypatch.setattr(surfaces, "_CELLS", cells)
    vertices, faces = surfaces.surface(grid.astype(np.float32), threshold, pace)
    assert len(np.unique(np.round(vertices, 3), axis=0)) == len(vertices)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    ways, counts = np.unique(edges, axis=0, return_counts=True)
    assert (counts == 1).all()
    assert {tuple(way) for way in ways} == {tuple(way[::-1]) for way in ways}  # it is closed
    mesh = Mesh(vertices, faces)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(volume or mesh.volume, rel=1e-4)
    assert mesh.volume > 0


async def test_densities_beyond_all_numbers_are_solid(tiny, tmp_path):
    settings_of(TINY, tmp_path)
    tensors = dict(tiny[1])
    tensors["decoder.layers.6.weight"] = tensors["decoder.layers.6.weight"] * 60
    tensors["decoder.layers.6.bias"] = tensors["decoder.layers.6.bias"] + 200
    torch.save(tensors, tmp_path / "model.ckpt")
    async with build(tmp_path) as model:
        points = torch.rand(2000, 3, generator=torch.Generator().manual_seed(8)) * 1.74 - 0.87
        job = StreamJob(lambda job: None)
        job.release()
        with torch.inference_mode():
            field = engine_of(model).field(normalised(a_picture(), 64), Pace(job))
            dense = field.density(points)
        assert (dense == torch.finfo(torch.float32).max).any()
        mesh = await model.image_to_mesh(a_picture(), {"resolution": 16})
        assert len(mesh.faces) > 50


async def test_no_surface_says_how_dense_it_is(loaded, pace):
    with pytest.raises(InferenceError, match=r"no surface at the threshold 1e\+06: .* go from"):
        await loaded.image_to_mesh(a_picture(), {"resolution": 16, "threshold": 1e6})
    with pytest.raises(InferenceError, match="no surface"):
        surfaces.surface(np.full((8, 8, 8), np.nan, np.float32), 25.0, pace)
    with pytest.raises(InferenceError, match="no surface at the threshold 0:"):
        await loaded.image_to_mesh(a_picture(), {"resolution": 16, "threshold": 0})


async def test_a_volume_beyond_the_memory_is_refused(loaded, monkeypatch):
    from blazen.hardware import Memory

    monkeypatch.setattr("blazen.hardware.memory", lambda: Memory(2**30, 2**20))
    with pytest.raises(BudgetError, match=r"resolution of 256 takes 0\.1 GiB"):
        await loaded.image_to_mesh(a_picture())


# The texture


@pytest.mark.parametrize("size", [None, 777])
def test_a_texture_shows_the_colours_of_the_surface(pace, size):
    plain = mesh_of(Ball(), MeshOptions(resolution=24), "raw", pace)
    options = MeshOptions(resolution=24, texture=True, texture_size=size)
    mesh = mesh_of(Ball(), options, "raw", pace)
    assert mesh.vertex_colors is None
    assert len(mesh.faces) == len(plain.faces)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(plain.volume, rel=1e-4)
    picture = mesh.texture.to_array().astype(float)
    side = picture.shape[0]
    assert picture.shape == (size or side, size or side, 3)
    chance = np.random.default_rng(3)
    shares = chance.dirichlet((0.5, 0.5, 0.5), len(mesh.faces))  # near edges and corners too
    points = (shares[:, :, None] * mesh.vertices[mesh.faces]).sum(axis=1)
    u, v = (shares[:, :, None] * mesh.uv[mesh.faces]).sum(axis=1).T
    x, y = u * side - 0.5, (1 - v) * side - 0.5
    left, above = np.floor(x + 1e-4).astype(int), np.floor(y + 1e-4).astype(int)
    seen = np.zeros((len(points), 3))
    for row, down in ((above, 1 - (y - above)), (above + 1, y - above)):
        for column, across in ((left, 1 - (x - left)), (left + 1, x - left)):
            inside = picture[row.clip(0, side - 1), column.clip(0, side - 1)]
            seen += (down * across)[:, None] * inside
    wanted = (points / 0.87 + 1) / 2 * 255
    assert np.abs(seen - wanted).max() < 3  # nothing of a neighbour runs in


def test_a_texture_is_of_points_on_the_surface_alone(pace):
    asked = []

    def colors(points):
        asked.append(points)
        return np.zeros((len(points), 3), np.uint8)

    corners = np.float32([[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    bake(corners, np.int64([[0, 1, 2], [2, 1, 0]]), 32, colors, pace)
    points = np.concatenate(asked)
    assert len(points) > 800
    assert (points >= -1e-6).all()
    assert (points[:, 0] + points[:, 1] <= 1 + 1e-6).all()


def test_a_texture_that_is_too_small_is_refused(pace):
    vertices = np.zeros((3, 3), np.float32)
    faces = np.tile([[0, 1, 2]], (200, 1))
    with pytest.raises(ValidationError, match="texture_size must be 40 at least"):
        bake(vertices, faces, 32, lambda points: points, pace)


def test_the_size_of_no_texture_is_refused():
    with pytest.raises(ValidationError, match="texture=True"):
        MeshOptions(texture_size=512)
    with pytest.raises(ValidationError, match="texture=True"):
        MeshOptions.of({"texture_size": 512, "texture": False})


async def test_a_textured_mesh_goes_into_a_file(loaded, tmp_path):
    options = MeshOptions(resolution=16, texture=True)
    mesh = await loaded.image_to_mesh(a_picture(), options)
    again = Mesh.from_file(mesh.save(tmp_path / "mesh.glb"))
    assert again.texture == mesh.texture
    assert len(again.faces) == len(mesh.faces)
    for name in ("mesh.obj", "mesh.ply"):
        assert len(Mesh.from_file(mesh.save(tmp_path / name)).faces) == len(mesh.faces)


# Requests


async def test_options_reach_the_picture(loaded, monkeypatch):
    seen = []

    def watched(pixels, side):
        seen.append((pixels, side))
        return normalised(pixels, side)

    monkeypatch.setattr("blazen_triposr.making.normalised", watched)
    rgba = np.dstack([a_picture(), a_picture()[..., 0]])
    for ratio in (None, 0.5):
        await loaded.image_to_mesh(rgba, {"resolution": 16, "foreground_ratio": ratio})
    assert [pixels.shape for pixels, _ in seen] == [(36, 36, 3), (62, 62, 3)]  # 31 wide
    assert {side for _, side in seen} == {64}
    assert np.array_equal(seen[1][0], reference_square(rgba, 0.5))


async def test_every_stage_is_told(loaded):
    seen = []
    async with loaded.image_to_mesh_stream(a_picture(), {"resolution": 24}) as stream:
        with pytest.raises(InferenceError, match="no mesh yet"):
            _ = stream.response
        seen = [chunk async for chunk in stream]
    stages = list(dict.fromkeys(chunk.stage for chunk in seen))
    assert stages == ["prepare", "encode", "triplane", "query", "surface", "color", "mesh"]
    for stage, total in (
        ("encode", 2),
        ("triplane", 2),
        ("query", 24**3),
        ("surface", 1),
        ("color", len(stream.response.vertices)),
    ):
        done = [chunk.done for chunk in seen if chunk.stage == stage]
        assert done[0] == 0
        assert done[-1] == total
    assert stream.response == seen[-1].mesh
    texture = loaded.image_to_mesh_stream(a_picture(), {"resolution": 16, "texture": True})
    painted = [chunk async for chunk in texture if chunk.stage == "texture"]
    assert painted[0].done == 0
    assert painted[-1].done == painted[-1].total == len(texture.response.faces)
    many = loaded.image_to_mesh_stream(a_picture(), {"resolution": 32, "chunk_size": 32})
    assert len([chunk async for chunk in many if chunk.stage == "query"]) <= 66


async def test_leaving_stops_at_the_next_chunk(loaded, monkeypatch):
    calls = []
    density = Field.density

    def counted(self, points):
        calls.append(len(points))
        return density(self, points)

    monkeypatch.setattr(Field, "density", counted)
    stream = loaded.image_to_mesh_stream(a_picture(), {"resolution": 64, "chunk_size": 64})
    async for chunk in stream:
        if chunk.stage == "query":
            break
    await stream.aclose()
    ended = len(calls)
    assert ended < 64**3 // 64
    await loaded.image_to_mesh(a_picture(), {"resolution": 16})
    assert len(calls) == ended + 1


def test_cancelling_stops_within_a_block(tiny, monkeypatch):
    settings, tensors = tiny
    job = StreamJob(lambda job: None)
    job.release()
    pace = Pace(job)
    gates = []
    gelu = F.gelu

    def watched(x):
        gates.append(len(x))
        if len(gates) == 2:
            job.cancel()
        return gelu(x)

    monkeypatch.setattr(F, "gelu", watched)
    context = torch.zeros(1, 17, 32)
    pace.begin("triplane", 2)
    with pytest.raises(Stopped):
        triplane.transform(
            Part(tensors, "backbone."),
            tensors["tokenizer.embeddings"],
            context,
            settings,
            rows=8,
            pace=pace,
        )
    assert len(gates) == 2  # of 6 for the first block alone


def test_cancelling_stops_within_a_layer_of_the_encoder(tiny, monkeypatch):
    _, tensors = tiny
    job = StreamJob(lambda job: None)
    job.release()
    pace = Pace(job)
    pieces = []
    gelu = F.gelu

    def watched(x):
        pieces.append(len(x))
        job.cancel()
        return gelu(x)

    monkeypatch.setattr(F, "gelu", watched)
    part = Part(tensors, "image_tokenizer.model.")
    pixels = torch.zeros(1, 3, 64, 64)
    pace.begin("encode", 2)
    with torch.inference_mode(), pytest.raises(Stopped):
        encoding.encode(part, pixels, layers=2, heads=2, rows=6, pace=pace)
    assert len(pieces) == 1  # of 3 for the first layer alone


async def test_a_cpu_takes_few_tokens_at_once(loaded, monkeypatch):
    """So that leaving never waits for a whole layer."""
    monkeypatch.setattr("blazen_triposr.engine._ROWS", 7)
    widths = []
    gelu = F.gelu

    def watched(x):
        widths.append(x.shape[1])
        return gelu(x)

    monkeypatch.setattr(F, "gelu", watched)
    await loaded.image_to_mesh(a_picture(), {"resolution": 16})
    assert max(widths) == 7
    assert sum(widths) == 2 * 17 + 2 * 48


async def test_each_request_sets_its_threads(loaded, monkeypatch):
    seen = []
    density = Field.density

    def meddling(self, points):
        seen.append(torch.get_num_threads())
        torch.set_num_threads(2)
        return density(self, points)

    monkeypatch.setattr(Field, "density", meddling)
    for _ in range(2):
        await loaded.image_to_mesh(a_picture(), {"resolution": 16})
    monkeypatch.undo()
    await loaded.image_to_mesh(a_picture(), {"resolution": 16})
    assert seen == [1, 1]


async def test_numbers_that_are_none_are_told(tiny, tmp_path):
    settings_of(TINY, tmp_path)
    tensors = dict(tiny[1])
    tensors["backbone.proj_out.bias"] = torch.full((64,), float("nan"))
    torch.save(tensors, tmp_path / "model.ckpt")
    async with build(tmp_path, dtype="bfloat16") as model:
        with pytest.raises(InferenceError, match=r"bfloat16: dtype='float32' has more room"):
            await model.image_to_mesh(a_picture(), {"resolution": 16})
    tensors = dict(tiny[1])
    tensors["decoder.layers.2.weight"] = torch.full((16, 16), float("nan"))
    torch.save(tensors, tmp_path / "model.ckpt")
    async with build(tmp_path) as model:
        with pytest.raises(InferenceError, match=r"numbers that are none, in float32$"):
            await model.image_to_mesh(a_picture(), {"resolution": 16})


async def test_half_precision_is_near(loaded, tiny_folder, pace):
    pixels = normalised(a_picture(), 64)
    points = torch.rand(200, 3, generator=torch.Generator().manual_seed(8)) * 1.74 - 0.87
    with torch.inference_mode():
        exact = engine_of(loaded).field(pixels, pace).density(points).log()
        for dtype in ("float16", "bfloat16"):
            async with build(tiny_folder, dtype=dtype) as model:
                half = model._loading.thread.engine.field(pixels, pace).density(points).log()
                assert half.dtype == torch.float32
                assert (half - exact).abs().mean() < 0.1 * exact.std()
                assert await model.image_to_mesh(a_picture(), {"resolution": 16})


async def test_the_footprint_grows_with_the_numbers(tiny_folder):
    exact = await build(tiny_folder).footprint()
    half = await build(tiny_folder, dtype="bfloat16").footprint()
    stored = (tiny_folder / "model.ckpt").stat().st_size
    assert exact.resident["cpu"] - half.resident["cpu"] == pytest.approx(stored / 2, abs=2)
    assert half.load_peak["cpu"] > exact.load_peak["cpu"]  # the file and its copy, for a while
    assert exact.per_request["cpu"] >= 256**3 * 4


def test_a_gpu_holds_the_weights_in_half(tiny_folder):
    files = model_files(tiny_folder)
    stored = files.weights.stat().st_size
    for dtype, part in (("auto", 2), ("float32", 1)):
        taken = network_footprint(files, Device.parse("cuda:1"), dtype)
        assert taken.resident["gpu:1"] == stored // part
        assert taken.per_request["gpu:1"] >= 1 << 16
        assert taken.per_request["cpu"] >= 256**3 * 4


def test_what_torch_backends_share(monkeypatch):
    gpu = Device.parse("cuda:1")
    assert shared.pick_dtype(gpu) == torch.float16
    assert shared.pick_dtype(Device.Cpu) == torch.float32
    assert shared.pick_dtype(gpu, "bf16") == torch.bfloat16
    assert shared.torch_device(gpu) == torch.device("cuda:1")
    assert shared.torch_device(Device.Metal) == torch.device("mps")
    assert shared.pick_device("cpu") == Device.Cpu
    with pytest.raises(ValidationError, match="int8"):
        shared.pick_dtype(gpu, "int8")
    assert shared.is_out_of_memory(torch.OutOfMemoryError("no room"))
    assert shared.is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    assert not shared.is_out_of_memory(RuntimeError("shapes do not fit"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UnsupportedError, match="torch that is installed sees no GPU"):
        shared.pick_device("cuda")
    assert shared.pick_device("auto") == Device.Cpu


@pytest.mark.parametrize(
    "settings", [{"axes": "up"}, {"dtype": "int8"}, {"device": "tpu"}, {"threads": 0}]
)
def test_options_that_can_not_be(settings):
    with pytest.raises(ValidationError):
        TripoSrOptions("x", **settings)


def test_it_is_built_by_name(tiny_folder):
    model = blazen.ThreeD.triposr(tiny_folder, device="cpu")
    assert isinstance(model, TripoSr)
    assert isinstance(blazen.ThreeD.triposr(), TripoSr)  # the published one
