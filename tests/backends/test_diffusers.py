"""diffusers on a small random Stable Diffusion, built here, saved, and loaded from its folder."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import shutil
import sys
import weakref
from dataclasses import replace
from types import SimpleNamespace

import pytest

pytest.importorskip("diffusers")
pytest.importorskip("accelerate")
pytest.importorskip("peft")

import diffusers
import numpy as np
import torch
from safetensors.torch import load_file, save_file

from blazen import Device, Image, ImageGeneration
from blazen import torch as blazen_torch
from blazen.errors import (
    BudgetError,
    InferenceError,
    LoadError,
    ModelNotFoundError,
    UnsupportedError,
    ValidationError,
)
from blazen.options import LoraAdapter
from blazen.options.diffusers import DiffusersOptions
from blazen.testing import ImageSuite
from blazen.testing.tiny_diffusion import save_tiny_adapter, save_tiny_pipeline
from blazen_diffusers import DiffusersImages, drawing, opening
from blazen_diffusers.choosing import choose_files
from blazen_diffusers.files import PipelineFiles, stored_type
from blazen_diffusers.plan import Plan, Sizes, choose_plan
from blazen_diffusers.precision import number_types
from blazen_diffusers.previews import Previews
from blazen_diffusers.schedulers import NAMES, fresh_scheduler
from blazen_diffusers.size import pipeline_sizes
from tests.backends.briefly import Briefly
from tests.backends.isolated import ApartStreams
from tests.weights.servers import Hub, standing_in

pytestmark = [
    # torch's arrays as NumPy 2 sees them, inside the schedulers of diffusers.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning"),
]

SMALL = {"width": 64, "height": 64, "steps": 2, "seed": 7}
PROMPT = "a lighthouse in a storm"
FITTING = sorted(set(NAMES) - {"flow_euler", "flow_heun", "lcm", "tcd"})


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return save_tiny_pipeline(tmp_path_factory.mktemp("diffusers") / "tiny")


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    return save_tiny_pipeline(tmp_path_factory.mktemp("diffusers") / "checked", flags=True)


@pytest.fixture
def copied(tiny, tmp_path):
    return shutil.copytree(tiny, tmp_path / "copied")


def build(target, **settings):
    return DiffusersImages(DiffusersOptions(target, **{"device": "cpu", "threads": 1, **settings}))


def picture(width=64, height=64):
    across = np.linspace(0, 255, width, dtype="uint8")[None, :, None]
    return Image.from_array(np.broadcast_to(across, (height, width, 3)))


def left_half(width=64, height=64):
    mask = np.zeros((height, width), "uint8")
    mask[:, : width // 2] = 255
    return Image.from_array(mask)


async def look(model, see):
    """Give what a function sees of the loaded engine, on its own thread."""
    return await model._call(lambda engine, job: see(engine))


class TestDiffusers(ImageSuite):
    """The shipped suite, whole."""

    concurrency = 6
    long_steps = 60

    @pytest.fixture
    def model(self, shared):
        return shared

    @pytest.fixture
    def broken_model(self):
        return build


class TestDiffusersApart(Briefly, ApartStreams, TestDiffusers):
    """The same in a process of its own."""

    like = "shared"


@pytest.fixture(scope="module")
def shared(tiny):
    return build(tiny)


async def test_it_is_stopped_at_step_two_and_runs_again(tiny):
    async with build(tiny) as model:
        whole = await model.generate(PROMPT, {**SMALL, "steps": 6})
        seen = []
        async with model.generate_stream(PROMPT, {**SMALL, "steps": 6}) as stream:
            async for chunk in stream:
                seen.append(chunk.step)
                if chunk.step == 2:
                    break
        assert seen == [1, 2]
        assert stream.response.images == ()
        assert await model.generate(PROMPT, {**SMALL, "steps": 6}) == whole
    assert not model.is_loaded


async def test_an_image_that_is_cancelled_ends_in_its_middle(tiny, monkeypatch):
    model = build(tiny)
    begun, steps = asyncio.Event(), []
    async with model:
        loop = asyncio.get_running_loop()
        pipeline = await look(model, lambda engine: engine.pipeline("text"))
        step = type(pipeline.scheduler).step

        def counted(self, *args, **kwargs):
            steps.append(1)
            loop.call_soon_threadsafe(begun.set)
            return step(self, *args, **kwargs)

        monkeypatch.setattr(type(pipeline.scheduler), "step", counted)
        task = asyncio.create_task(model.generate(PROMPT, {**SMALL, "steps": 900}))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(steps) < 900
        assert (await model.generate(PROMPT, SMALL)).images[0].size == (64, 64)


async def test_every_step_has_a_preview_and_only_the_last_piece_has_images(shared):
    pieces = [piece async for piece in shared.generate_stream(PROMPT, {**SMALL, "steps": 3})]
    assert [(piece.step, piece.steps) for piece in pieces] == [(1, 3), (2, 3), (3, 3), (3, 3)]
    assert all(piece.preview.size == (32, 32) for piece in pieces[:-1])
    assert pieces[0].preview != pieces[2].preview
    assert pieces[-1].preview is None
    assert len(pieces[-1].images) == 1


async def test_steps_of_several_images_count_on(shared):
    stream = shared.generate_stream(PROMPT, {**SMALL, "count": 2})
    pieces = [(piece.step, piece.steps) async for piece in stream]
    assert pieces == [(1, 4), (2, 4), (3, 4), (4, 4), (4, 4)]


class LinearVae:
    """A VAE that halves an image and mixes its colours: so it is known what a preview must show."""

    config = SimpleNamespace(block_out_channels=(1, 1), scaling_factor=0.5, shift_factor=0.1)
    dtype = torch.float32

    def encode(self, pixels):
        mix = torch.tensor([[1.0, 0, 0], [0, 2.0, 0], [0, 0, -1.0], [0.3, 0.3, 0.3]])
        halved = torch.nn.functional.avg_pool2d(pixels, 2)
        return SimpleNamespace(latents=torch.einsum("lc,bchw->blhw", mix, halved) + 0.2)


def test_a_preview_finds_the_colours_again():
    vae = LinearVae()
    previews = Previews(SimpleNamespace(vae=vae), wanted=None)
    wanted = np.kron(np.random.default_rng(0).integers(0, 256, (8, 12, 3)), np.ones((2, 2, 1)))
    pixels = torch.from_numpy(wanted).float().permute(2, 0, 1)[None] / 127.5 - 1
    latents = (vae.encode(pixels).latents - 0.1) * 0.5
    preview = previews.of(latents).to_array().astype(int)
    assert abs(preview - wanted[::2, ::2].round()).max() <= 2
    assert previews.of(latents[:, :3]) is None
    assert previews.of(latents.flatten(2)) is None
    assert previews.of(latents * float("nan")) is None
    assert Previews(SimpleNamespace(vae=vae), wanted=False).of(latents) is None


async def test_a_seed_gives_the_same_image_alone_and_in_company(shared):
    both = await shared.generate(PROMPT, {**SMALL, "count": 2})
    assert both.seeds == (7, 8)
    assert both.images[0] != both.images[1]
    alone = await shared.generate(PROMPT, {**SMALL, "seed": 8})
    assert alone.images[0] == both.images[1]


async def test_seeds_are_drawn_anew_each_time(shared):
    drawn = [(await shared.generate(PROMPT, {**SMALL, "seed": None})).seeds for _ in range(3)]
    assert len(set(drawn)) == 3


async def test_the_largest_seed_works_and_a_larger_one_is_refused(shared):
    answer = await shared.generate(PROMPT, {**SMALL, "seed": 2**64 - 1, "count": 2})
    assert answer.seeds == (2**64 - 1, 0)
    with pytest.raises(ValidationError, match="below 2\\*\\*64"):
        await shared.generate(PROMPT, {**SMALL, "seed": 2**64})


async def test_images_can_be_made_in_batches(tiny, shared):
    async with build(tiny, batch_size=2) as model:
        stream = model.generate_stream(PROMPT, {**SMALL, "count": 3})
        pieces = [piece async for piece in stream]
        again = await model.generate(PROMPT, {**SMALL, "count": 3})
    assert [(piece.step, piece.steps) for piece in pieces][-2:] == [(4, 4), (4, 4)]
    assert again == stream.response
    assert again.seeds == (7, 8, 9)
    alone = await shared.generate(PROMPT, {**SMALL, "count": 3})
    for mine, theirs in zip(again.images, alone.images, strict=True):
        difference = mine.to_array().astype(int) - theirs.to_array().astype(int)
        assert abs(difference).max() <= 2


async def test_what_is_asked_for_changes_the_image(shared):
    plain = (await shared.generate(PROMPT, SMALL)).images
    for change in (
        {"seed": 8},
        {"steps": 3},
        {"guidance": 2.0},
        {"negative_prompt": "rain"},
        {"scheduler": "euler"},
    ):
        assert (await shared.generate(PROMPT, {**SMALL, **change})).images != plain, change
    assert (await shared.generate("a boat", SMALL)).images != plain
    assert (await shared.generate(PROMPT, SMALL)).images == plain


async def test_without_guidance_the_negative_prompt_plays_no_part(shared):
    plain = await shared.generate(PROMPT, {**SMALL, "guidance": 0})
    other = await shared.generate(PROMPT, {**SMALL, "guidance": 0, "negative_prompt": "rain"})
    assert plain.images == other.images
    assert other.warnings == (
        "the negative prompt plays no part: guidance is 0, and must be above 1",
    )
    heard = await shared.generate(PROMPT, {**SMALL, "guidance": 2, "negative_prompt": "rain"})
    assert heard.warnings == ()


@pytest.mark.parametrize("name", FITTING)
async def test_schedulers_by_name(shared, name):
    answer = await shared.generate(PROMPT, {**SMALL, "steps": 3, "scheduler": name})
    assert answer.images[0].size == (64, 64)
    assert answer.warnings == ()


async def test_a_scheduler_is_named_for_the_model_or_the_request(tiny, shared):
    wanted = await shared.generate(PROMPT, {**SMALL, "scheduler": "EulerDiscreteScheduler"})
    async with build(tiny, scheduler="euler") as model:
        assert (await model.generate(PROMPT, SMALL)).images == wanted.images
        own = await model.generate(PROMPT, {**SMALL, "scheduler": "ddim"})
    assert own.images == (await shared.generate(PROMPT, SMALL)).images


async def test_each_call_has_a_scheduler_of_its_own(shared):
    await shared.generate(PROMPT, {**SMALL, "steps": 3})
    first = await look(shared, lambda engine: engine.pipeline("text").scheduler)
    await shared.generate(PROMPT, {**SMALL, "steps": 3})
    second = await look(shared, lambda engine: engine.pipeline("text").scheduler)
    untouched = await look(shared, lambda engine: engine.scheduler_model)
    assert first is not second
    assert untouched is not second
    assert untouched.num_inference_steps is None


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(FITTING)))
def test_schedulers_for_pipelines_made_for_them(name):
    import diffusers

    kind = NAMES[name][0]
    own = getattr(diffusers, kind)()
    assert type(fresh_scheduler(own, name)).__name__ == kind
    assert fresh_scheduler(own, None) is not own


async def test_unknown_and_unfitting_schedulers_are_refused(tiny, shared):
    with pytest.raises(ValidationError, match="did you mean 'euler'"):
        await shared.generate(PROMPT, {**SMALL, "scheduler": "eular"})
    with pytest.raises(UnsupportedError, match=r"does not fit this pipeline.*dpm"):
        await shared.generate(PROMPT, {**SMALL, "scheduler": "flow_euler"})
    with pytest.raises(ValidationError, match="no scheduler 'nonsense'"):
        await build(tiny, scheduler="nonsense").load()


async def test_an_image_is_the_start_of_another(shared):
    start = picture(80, 64)
    low = await shared.generate(PROMPT, {"image": start, "steps": 4, "strength": 0.3, "seed": 1})
    high = await shared.generate(PROMPT, {"image": start, "steps": 4, "strength": 1, "seed": 1})
    assert low.images[0].size == (80, 64)
    assert low.images != high.images
    sized = await shared.generate(
        PROMPT, {"image": start, "width": 64, "height": 96, "steps": 4, "seed": 1}
    )
    assert sized.images[0].size == (64, 96)
    odd = {"image": picture(77, 67), "width": 72, "height": 64, "steps": 2, "seed": 1}
    assert (await shared.generate(PROMPT, odd)).images[0].size == (72, 64)
    stream = shared.generate_stream(PROMPT, {"image": start, "steps": 4, "strength": 0.5})
    assert [piece.step async for piece in stream] == [1, 2, 2]


async def test_what_starts_from_an_image_shares_the_weights(shared):
    def see(engine):
        pipelines = [engine.pipeline(task) for task in ("text", "image", "mask")]
        return [
            len({id(getattr(one, part)) for one in pipelines})
            for part in ("unet", "vae", "text_encoder")
        ], len({type(one) for one in pipelines})

    assert await look(shared, see) == ([1, 1, 1], 3)


async def test_a_mask_says_where_to_paint(shared):
    start = picture()
    options = {"image": start, "mask": left_half(), "steps": 3, "seed": 1}
    answer = await shared.generate(PROMPT, options)
    made, before = answer.images[0].to_array(), start.to_array()
    assert (made[:, 32:] == before[:, 32:]).all()
    assert (made[:, :32] != before[:, :32]).any()
    assert (await shared.generate(PROMPT, options)).images == answer.images


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"width": 70}, "multiple of 8.*such as 72"),
        ({"image": picture(), "height": 70}, "multiple of 8"),
        ({"image": picture(), "steps": 2, "strength": 0.2}, "leaves none"),
        ({"image": picture(), "strength": 0}, "leaves none"),
        ({"image": picture(4, 64)}, "multiples of 8: scale or crop it to 8×64, or"),
        ({"image": picture(77, 67)}, "to 72×64 or 80×72, or give width= and height="),
        ({"image": picture(77, 67), "width": 72}, "to 72×64 or 80×72"),
        ({"image": picture(72, 67), "mask": left_half(72, 67)}, "72×64 or 72×72, and the mask"),
        ({"image": picture(), "mask": left_half(), "width": 72}, "keeps its size, 64×64"),
        ({"mask": left_half()}, "give image="),
        ({"image": picture(), "mask": left_half(32, 64)}, "as large as the image, 64×64"),
        ({"negative_prompt": "half \ud83d"}, "half a character"),
    ],
)
async def test_what_can_not_be_is_refused(shared, options, problem):
    with pytest.raises(ValidationError, match=problem):
        await shared.generate(PROMPT, options)


async def test_a_strength_without_an_image_is_refused(shared):
    with pytest.raises(UnsupportedError, match="an image to start from"):
        await shared.generate(PROMPT, {**SMALL, "strength": 0.5})


async def test_a_long_prompt_says_where_it_is_cut(shared, caplog):
    short = await shared.generate("a" * 70, SMALL)
    assert short.warnings == ()
    with caplog.at_level(logging.WARNING, "blazen.diffusers"):
        answer = await shared.generate("a" * 75 + "CUT HERE", SMALL)
    (warning,) = answer.warnings
    assert warning == (
        "the prompt has 84 tokens, and tokenizer reads 77: what comes from character 75 on "
        "is not seen, 'CUT HERE'"
    )
    assert "character 75" in caplog.text
    assert answer.images == (await shared.generate("a" * 75 + "cut there", SMALL)).images
    negative = await shared.generate(PROMPT, {**SMALL, "negative_prompt": "b" * 90})
    assert "the negative prompt has 92 tokens" in negative.warnings[0]


async def test_what_the_checker_withholds_is_flagged_and_black(checked, tmp_path):
    async with build(checked) as model:
        text = await model.generate(PROMPT, {**SMALL, "count": 2})
        start = await model.generate(PROMPT, {"image": picture(), "steps": 4})
        mask = await model.generate(PROMPT, {"image": picture(), "mask": left_half(), "steps": 4})
        pieces = [piece async for piece in model.generate_stream(PROMPT, SMALL)]
    assert text.flagged == (True, True)
    for answer in (text, start, mask):
        assert all(answer.flagged)
        assert not any(image.to_array().any() for image in answer.images)
        assert answer.warnings == ()
    # What would be withheld must not be seen on the way either.
    assert not any(piece.preview for piece in pieces)
    lenient = save_tiny_pipeline(tmp_path / "lenient", flags=False)
    async with build(lenient, previews=True) as model:
        stream = model.generate_stream(PROMPT, SMALL)
        assert all([piece.preview async for piece in stream][:-1])
        assert stream.response.flagged == (False,)
        assert stream.response.images[0].to_array().any()


async def test_a_model_without_a_checker_flags_nothing(shared):
    assert (await shared.generate(PROMPT, SMALL)).flagged == ()


def change_weights(folder, part, change):
    (path,) = (folder / part).glob("*.safetensors")
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


async def test_numbers_that_overflow_are_an_error_not_a_black_image(copied):
    def spoil(weights):
        weights["decoder.conv_in.weight"][0, 0, 0, 0] = float("nan")

    change_weights(copied, "vae", spoil)
    with pytest.raises(InferenceError, match=r"seed 7.*NaN.*bfloat16"):
        await build(copied).generate(PROMPT, SMALL)


async def test_a_black_image_is_told_of(copied):
    change_weights(copied, "vae", lambda weights: weights["decoder.conv_out.bias"].fill_(-1e4))
    answer = await build(copied).generate(PROMPT, SMALL)
    assert "seed 7 is all black" in answer.warnings[0]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
async def test_number_types(tiny, dtype):
    async with build(tiny, dtype=dtype) as model:
        answer = await model.generate(PROMPT, SMALL)
        again = await model.generate(PROMPT, SMALL)
        painted = await model.generate(
            PROMPT, {"image": picture(), "mask": left_half(), "steps": 3, "seed": 1}
        )
        types = await look(model, lambda e: (e.own.unet.dtype, e.own.vae.dtype))
    assert answer.images == again.images
    assert answer.images[0].to_array().any()
    assert painted.images[0].size == (64, 64)
    vae = torch.float32 if dtype == "float16" else torch.bfloat16
    assert types == (getattr(torch, dtype), vae)


@pytest.mark.parametrize(
    ("stored", "new_gpu", "expected"),
    [
        ("F32", True, ("bfloat16", "bfloat16")),
        ("F16", True, ("float16", "float32")),
        ("BF16", True, ("bfloat16", "bfloat16")),
        ("BF16", False, ("float16", "float32")),
        (None, False, ("float16", "float32")),
    ],
)
def test_a_gpu_keeps_the_half_precision_of_the_weights(monkeypatch, stored, new_gpu, expected):
    monkeypatch.setattr(torch.cuda, "device", lambda index: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda emulated: new_gpu)
    options = DiffusersOptions("x")
    assert number_types(options, Device.parse("cuda:0"), stored) == expected
    assert number_types(options, Device.Cpu, stored) == ("float32", "float32")


@pytest.mark.parametrize(("dtype", "stored"), [(torch.float16, "F16"), (torch.float32, "F32")])
def test_how_weights_are_stored_is_read_off_their_headers(tmp_path, dtype, stored):
    folder = save_tiny_pipeline(tmp_path / "tiny")
    pipeline = diffusers.DiffusionPipeline.from_pretrained(str(folder), dtype=dtype)
    pipeline.save_pretrained(str(tmp_path / "saved"))
    assert stored_type(PipelineFiles(tmp_path / "saved")) == stored


async def test_a_vae_may_have_a_number_type_of_its_own(tiny):
    async with build(tiny, dtype="bfloat16", vae_dtype="float32") as model:
        types = await look(model, lambda e: (e.own.unet.dtype, e.own.vae.dtype))
        started = await model.generate(PROMPT, {"image": picture(), "steps": 4, "seed": 1})
    assert types == (torch.bfloat16, torch.float32)
    assert started.images[0].to_array().any()


async def test_slices_and_tiles_give_an_image(tiny):
    async with build(tiny, attention_slicing=True, vae_tiling=True) as model:
        answer = await model.generate(PROMPT, {**SMALL, "width": 128})
        tiled = await look(model, lambda engine: engine.own.vae.use_tiling)
        ways = await look(model, lambda engine: engine.own.unet.attn_processors.values())
    assert tiled
    assert {type(way).__name__ for way in ways} == {"SlicedAttnProcessor"}
    assert answer.images[0].size == (128, 64)


def test_tiles_are_no_larger_than_they_were_counted():
    vae = SimpleNamespace(tile_sample_min_size=1024, tile_latent_min_size=128)
    opening._set_tiles(vae)
    assert (vae.tile_sample_min_size, vae.tile_latent_min_size) == (512, 64)
    opening._set_tiles(vae)
    small = SimpleNamespace(tile_sample_min_size=64, tile_latent_min_size=32)
    opening._set_tiles(small)
    assert (vae.tile_latent_min_size, small.tile_sample_min_size) == (64, 64)


async def test_pickles_are_refused_unless_asked_for(tmp_path):
    risky = save_tiny_pipeline(tmp_path / "risky", safe=False)
    assert list(risky.rglob("*.bin"))
    with pytest.raises(LoadError, match=r"pickle.*allow_pickle=True"):
        await build(risky).load()
    async with build(risky, allow_pickle=True) as model:
        assert (await model.generate(PROMPT, SMALL)).images[0].size == (64, 64)
    single = tmp_path / "all.ckpt"
    single.write_bytes(b"\x80\x02no weights")
    with pytest.raises(LoadError, match=r"all\.ckpt is a pickle"):
        await build(single).load()


async def test_a_pickle_beside_safetensors_is_left_alone(copied, tmp_path):
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (marker.write_text, ("it ran",))

    torch.save(Evil(), copied / "unet" / "diffusion_pytorch_model.bin")
    async with build(copied) as model:
        await model.generate(PROMPT, SMALL)
    assert not marker.exists()


async def test_code_that_a_pipeline_brings_is_not_run(copied, tmp_path):
    marker = tmp_path / "ran"
    (copied / "unet" / "my_unet.py").write_text(f"open({str(marker)!r}, 'w')")
    index = json.loads((copied / "model_index.json").read_text())
    index["unet"] = ["my_unet", "MyUNet"]
    (copied / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(UnsupportedError, match="code of its own for unet"):
        await build(copied).load()
    assert not marker.exists()


async def test_what_is_missing_or_cut_off_is_named(copied):
    unet = copied / "unet" / "diffusion_pytorch_model.safetensors"
    unet.write_bytes(unet.read_bytes()[:-100])
    with pytest.raises(LoadError, match="incomplete"):
        await build(copied).load()
    shutil.rmtree(copied / "unet")
    with pytest.raises(ModelNotFoundError, match="no unet/"):
        await build(copied).load()
    (copied / "model_index.json").write_text("{")
    with pytest.raises(LoadError, match="model_index"):
        await build(copied).load()


async def test_weights_of_another_shape_are_refused(copied):
    config = json.loads((copied / "unet" / "config.json").read_text())
    config["block_out_channels"] = [8, 32]
    (copied / "unet" / "config.json").write_text(json.dumps(config))
    with pytest.raises(LoadError, match="could not be loaded"):
        await build(copied).load()


@pytest.fixture(scope="module")
def adapter(tiny, tmp_path_factory):
    from diffusers import StableDiffusionPipeline
    from peft import LoraConfig, get_peft_model_state_dict

    torch.manual_seed(3)
    pipeline = StableDiffusionPipeline.from_pretrained(tiny, local_files_only=True)
    layers = ["to_q", "to_k", "to_v"]
    pipeline.unet.add_adapter(
        LoraConfig(r=2, target_modules=layers, init_lora_weights=False, lora_alpha=2)
    )
    folder = tmp_path_factory.mktemp("adapter")
    layers = get_peft_model_state_dict(pipeline.unet)
    layers = {name: value * 20 for name, value in layers.items()}
    StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=layers)
    return folder / "pytorch_lora_weights.safetensors"


async def test_adapters_are_applied_as_strongly_as_asked(tiny, shared, adapter):
    plain = (await shared.generate(PROMPT, SMALL)).images
    made = {}
    for scale in (0.0, 0.5, 1.0):
        async with build(tiny, loras=[LoraAdapter(adapter, scale)]) as model:
            made[scale] = (await model.generate(PROMPT, SMALL)).images
    async with build(tiny, loras=[adapter]) as model:
        whole = await model.generate(PROMPT, SMALL)
        started = await model.generate(PROMPT, {"image": picture(), "steps": 4, "seed": 1})
    assert made[0.0] == plain
    assert made[0.5] != plain
    assert made[1.0] not in (plain, made[0.5])
    assert whole.images == made[1.0]
    without = await shared.generate(PROMPT, {"image": picture(), "steps": 4, "seed": 1})
    assert started.images != without.images
    async with build(tiny, loras=[LoraAdapter(adapter, 0.5), LoraAdapter(adapter, 0.5)]) as model:
        both = (await model.generate(PROMPT, SMALL)).images[0].to_array().astype(int)
    assert abs(both - made[1.0][0].to_array().astype(int)).max() <= 2


async def test_a_tiny_adapter_changes_the_tiny_pipeline(tiny, shared, tmp_path):
    plain = (await shared.generate(PROMPT, SMALL)).images
    async with build(tiny, loras=[save_tiny_adapter(tmp_path / "style")]) as model:
        assert (await model.generate(PROMPT, SMALL)).images != plain


async def test_adapters_that_do_not_fit_are_refused(tiny, tmp_path):
    foreign = tmp_path / "foreign.safetensors"
    save_file({"some.other.weight": torch.zeros(4, 4)}, foreign)
    with pytest.raises(LoadError, match="foreign"):
        await build(tiny, loras=[foreign]).load()
    pickled = tmp_path / "adapter.bin"
    torch.save({}, pickled)
    with pytest.raises(LoadError, match="no safetensors file"):
        await build(tiny, loras=[pickled]).load()
    with pytest.raises(ModelNotFoundError):
        await build(tiny, loras=[tmp_path / "missing.safetensors"]).load()


async def test_an_image_is_enlarged_where_the_pipeline_can(tiny, tmp_path):
    from diffusers import (
        DDIMScheduler,
        DDPMScheduler,
        StableDiffusionPipeline,
        StableDiffusionUpscalePipeline,
        UNet2DConditionModel,
    )

    parts = StableDiffusionPipeline.from_pretrained(tiny, local_files_only=True).components
    config = dict(parts["unet"].config, in_channels=7, num_class_embeds=1000)
    parts["vae"].register_to_config(scaling_factor=0.08333)
    StableDiffusionUpscalePipeline(
        vae=parts["vae"],
        text_encoder=parts["text_encoder"],
        tokenizer=parts["tokenizer"],
        unet=UNet2DConditionModel.from_config(config),
        low_res_scheduler=DDPMScheduler(),
        scheduler=DDIMScheduler.from_config(parts["scheduler"].config),
        max_noise_level=350,
    ).save_pretrained(tmp_path / "upscale")
    async with build(tmp_path / "upscale") as model:
        answer = await model.generate(PROMPT, {"image": picture(32, 24), "steps": 2, "seed": 1})
        again = await model.generate(PROMPT, {"image": picture(32, 24), "steps": 2, "seed": 1})
        with pytest.raises(UnsupportedError, match="give image="):
            await model.generate(PROMPT, SMALL)
        with pytest.raises(UnsupportedError, match="takes no strength"):
            await model.generate(PROMPT, {"image": picture(32, 24), "strength": 0.5})
        with pytest.raises(UnsupportedError, match="mask"):
            await model.generate(PROMPT, {"image": picture(), "mask": left_half()})
    # This VAE doubles where that of the published upscaler quadruples.
    assert answer.images[0].size == (64, 48)
    assert answer == again


async def test_modules_are_built_one_model_at_a_time(tiny, monkeypatch):
    load, held = opening._loaded, []

    def loaded(*args):
        held.append(blazen_torch.construction.locked())
        return load(*args)

    monkeypatch.setattr(opening, "_loaded", loaded)
    models = [build(tiny) for _ in range(3)]
    await asyncio.gather(*(model.load() for model in models))
    answers = [await model.generate(PROMPT, SMALL) for model in models]
    assert held == [True] * 3
    assert not blazen_torch.construction.locked()
    assert answers[0] == answers[1] == answers[2]
    for model in models:
        await model.unload()
    assert models[0].loads_alone == "torch"


async def test_an_unload_lets_go_of_all_weights(tiny, monkeypatch):
    model = build(tiny, dtype="bfloat16", vae_dtype="float32")
    await model.generate(PROMPT, SMALL)
    await model.generate(PROMPT, {"image": picture(), "steps": 3})
    watched = await look(
        model, lambda e: [weakref.ref(e.own), weakref.ref(e.own.unet), weakref.ref(e.own.vae)]
    )
    left, release = [], blazen_torch.release

    def seen_at_release():
        release()
        left.extend(one() for one in watched)

    # It is then that a GPU's memory goes back: what is dropped later would stay torch's.
    monkeypatch.setattr(blazen_torch, "release", seen_at_release)
    await model.unload()
    assert left == [None] * 3


@pytest.mark.parametrize(("free", "given"), [(30, []), (20, ["given"])])
def test_a_gpu_that_is_nearly_full_has_back_what_torch_keeps(monkeypatch, free, given):
    calls = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 100))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append("given"))
    drawing._give_back("cuda:0")
    assert calls == given


@pytest.mark.skipif(sys.platform != "linux", reason="torch can do it on Linux alone")
@pytest.mark.parametrize(("settings", "set_to"), [("", ["expandable_segments:True"]), ("x:1", [])])
def test_a_gpus_memory_grows_in_place_unless_someone_chose(monkeypatch, settings, set_to):
    calls = []
    monkeypatch.setattr(torch._C, "_accelerator_setAllocatorSettings", calls.append)
    for name in ("PYTORCH_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", settings)
    blazen_torch.grow_in_place()
    assert calls == set_to


async def test_a_failed_request_leaves_the_model_usable(shared, monkeypatch):
    expected = await shared.generate(PROMPT, SMALL)
    pipeline = await look(shared, lambda engine: engine.pipeline("text"))

    held = []

    def fail(sample, *args, **kwargs):
        work = sample.clone()
        held.append(weakref.ref(work))
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(pipeline.unet, "forward", fail)
        with pytest.raises(BudgetError, match="memory_budget") as caught:
            await shared.generate(PROMPT, SMALL)
    assert caught.value.__cause__ is not None
    assert held[0]() is None  # who keeps the error keeps none of the memory that it ran out of
    assert await shared.generate(PROMPT, SMALL) == expected


async def test_the_footprint_counts_the_weights_by_their_number_type(tiny):
    whole = (await build(tiny).footprint()).resident["cpu"]
    half = (await build(tiny, dtype="bfloat16").footprint()).resident["cpu"]
    stored = sum(path.stat().st_size for path in tiny.rglob("*.safetensors"))
    assert 0.4 * stored < whole - half < 0.6 * stored


async def test_libraries_count_once_with_the_first_that_brought_them(tiny, monkeypatch):
    monkeypatch.setattr(blazen_torch, "_first", {})
    first, second = build(tiny), build(tiny)
    alone = await first.footprint()
    assert await second.footprint() == alone
    async with second:
        assert await second.footprint() == alone
        other = await first.footprint()
    assert alone.resident["cpu"] - other.resident["cpu"] > 500 << 20
    assert await second.footprint() == alone, "it counts what it brought when it is loaded again"
    async with first:
        assert await first.footprint() == other


SD15 = {
    "model_index.json": {"_class_name": "StableDiffusionPipeline"},
    "unet/config.json": {
        "sample_size": 64,
        "block_out_channels": [320, 640, 1280, 1280],
        "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
        "attention_head_dim": 8,
    },
    "vae/config.json": {"block_out_channels": [128, 256, 512, 512], "force_upcast": True},
}
SDXL = {
    "model_index.json": {"_class_name": "StableDiffusionXLPipeline"},
    "unet/config.json": {
        "sample_size": 128,
        "block_out_channels": [320, 640, 1280],
        "down_block_types": ["DownBlock2D"] + ["CrossAttnDownBlock2D"] * 2,
        "attention_head_dim": [5, 10, 20],
    },
    "vae/config.json": {"block_out_channels": [128, 256, 512, 512], "force_upcast": True},
}
# As torch counted them on an H200, in MiB: a step, the same in slices, and the VAE.
SEEN = [
    (SD15, 1, "float16", 131, 318, 609),
    (SD15, 4, "bfloat16", 520, None, 609),
    (SD15, 1, "float32", 131, None, 1218),
    (SDXL, 1, "bfloat16", 326, 498, 2434),
    (SDXL, 1, "float16", 326, None, 4882),  # which its pipeline widens by itself
    (SDXL, 2, "float32", 646, None, 4882),
]


@pytest.mark.parametrize(("files", "batch", "vae_dtype", "step", "sliced", "decode"), SEEN)
def test_the_estimate_of_a_step_is_what_was_measured(
    tmp_path, files, batch, vae_dtype, step, sliced, decode
):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content))
    settings = {"dtype": "bfloat16", "vae_dtype": vae_dtype, "batch_size": batch}
    sizes = pipeline_sizes(PipelineFiles(tmp_path), Device("cuda", 0), **settings)
    assert sizes.denoise / 2**20 == pytest.approx(step, rel=0.05)
    assert sizes.decode / 2**20 == pytest.approx(decode, rel=0.02)
    assert sizes.scores == 0
    if sliced is not None:
        assert (sizes.denoise + sizes.sliced) / 2**20 == pytest.approx(sliced, rel=0.2)
    metal = pipeline_sizes(PipelineFiles(tmp_path), Device("metal"), **settings)
    assert metal.scores > 2 * metal.sliced


SIZES = Sizes(
    {"unet": 1000, "vae": 100, "text_encoder": 300},
    fixed=10,
    denoise=200,
    sliced=50,
    decode=800,
    decode_tiled=100,
)
# Where a device holds all scores of attention at once, slices of them take less.
SCORES_SEEN = replace(SIZES, scores=300)


@pytest.mark.parametrize(
    ("sizes", "budget", "plan"),
    [
        (SIZES, None, Plan()),
        (SIZES, 2210, Plan()),
        (SIZES, 2209, Plan(tiling=True)),
        (SIZES, 1610, Plan(tiling=True)),
        (SIZES, 1609, Plan("model")),
        (SIZES, 1210, Plan("model")),
        (SIZES, 1209, Plan("sequential", tiling=True)),
        (SIZES, 272, Plan("sequential", tiling=True)),
        (SCORES_SEEN, 1910, Plan(tiling=True)),
        (SCORES_SEEN, 1909, Plan(slicing=True, tiling=True)),
        (SCORES_SEEN, 1659, Plan("model")),
        (SCORES_SEEN, 1509, Plan("model", slicing=True, tiling=True)),
        (SCORES_SEEN, 572, Plan("sequential", tiling=True)),
        (SCORES_SEEN, 322, Plan("sequential", slicing=True, tiling=True)),
    ],
)
def test_the_quickest_plan_that_fits_is_chosen(sizes, budget, plan):
    options = DiffusersOptions("x", memory_budget=budget)
    assert choose_plan(options, sizes, on_gpu=True) == plan
    if budget is not None:  # what is free counts as a budget does
        assert choose_plan(DiffusersOptions("x"), sizes, on_gpu=True, free=budget) == plan


def test_a_budget_that_nothing_fits_is_refused():
    with pytest.raises(BudgetError, match="memory_budget allows"):
        choose_plan(DiffusersOptions("x", memory_budget=100), SIZES, on_gpu=True)
    with pytest.raises(BudgetError, match="on the CPU nothing can be offloaded"):
        choose_plan(DiffusersOptions("x", memory_budget=1300), SIZES, on_gpu=False)
    smallest = choose_plan(DiffusersOptions("x"), SIZES, on_gpu=True, free=100)
    assert smallest.offload == "sequential"


def test_wishes_go_before_the_plan():
    wish = DiffusersOptions("x", offload="model", vae_tiling=False, attention_slicing=True)
    assert choose_plan(wish, SIZES, on_gpu=True) == Plan("model", slicing=True)


async def test_a_budget_that_is_too_small_is_an_error_before_the_load(tiny):
    with pytest.raises(BudgetError, match=r"MiB.*libraries not counted.*allows 1\.0 KiB"):
        await build(tiny, memory_budget="1KiB").load()


INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "safety_checker": [None, None],
}
NAMES_ON_A_HUB = [
    "README.md",
    "all.ckpt",
    "all.safetensors",
    "model_index.json",
    "scheduler/scheduler_config.json",
    "unet/config.json",
    "unet/diffusion_flax_model.msgpack",
    "unet/diffusion_pytorch_model.bin",
    "unet/diffusion_pytorch_model.fp16.bin",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.non_ema.safetensors",
    "unet/diffusion_pytorch_model.safetensors",
    "unet/model.onnx",
]


def test_only_what_is_needed_of_a_repository_is_chosen():
    chosen, variant = choose_files("x", NAMES_ON_A_HUB, INDEX, variant=None, allow_pickle=False)
    assert variant is None
    assert sorted(chosen) == [
        "model_index.json",
        "scheduler/scheduler_config.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
    ]
    chosen, variant = choose_files("x", NAMES_ON_A_HUB, INDEX, variant="fp16", allow_pickle=True)
    assert variant == "fp16"
    assert [name for name in chosen if "pytorch" in name] == [
        "unet/diffusion_pytorch_model.fp16.safetensors"
    ]
    only = [name for name in NAMES_ON_A_HUB if "pytorch" not in name or ".fp16.safe" in name]
    assert choose_files("x", only, INDEX, variant=None, allow_pickle=False)[1] == "fp16"
    with pytest.raises(ModelNotFoundError, match="int8"):
        choose_files("x", NAMES_ON_A_HUB, INDEX, variant="int8", allow_pickle=False)


async def test_a_pipeline_comes_from_the_hub_without_what_is_not_needed(tiny, tmp_path, shared):
    files = {p.relative_to(tiny).as_posix(): p.read_bytes() for p in tiny.rglob("*") if p.is_file()}
    extra = {"all.ckpt": b"pickle", "unet/diffusion_pytorch_model.bin": b"pickle", "a.md": b"x"}
    hub = Hub({"acme/tiny": {**files, **extra}})
    with standing_in(hub):
        model = build("acme/tiny", cache_dir=tmp_path / "cache")
        reports = []
        await model.load(on_progress=reports.append)
        answer = await model.generate(PROMPT, SMALL)
        await model.unload()
    assert answer == await shared.generate(PROMPT, SMALL)
    asked = " ".join(asked.path for asked in hub.asked)
    assert not any(name in asked for name in ("ckpt", ".bin", "a.md"))
    assert {"load"} < {report.stage for report in reports}


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"dtype": "int3"}, "dtype"),
        ({"vae_dtype": "double"}, "dtype"),
        ({"offload": "disk"}, "offload"),
        ({"batch_size": 0}, "batch_size"),
        ({"memory_budget": "lots"}, "memory_budget"),
        ({"loras": "one.safetensors"}, "list of adapters"),
        ({"loras": [("one.safetensors", 0.5)]}, r"LoraAdapter\('style.safetensors', 0.6\)"),
        ({"threads": 0}, "threads"),
        ({"device": "tpu"}, "tpu"),
        ({"config": ""}, "config"),
    ],
)
def test_bad_options_are_refused(settings, problem):
    with pytest.raises(ValidationError, match=problem):
        DiffusersOptions("x", **settings)


async def test_both_names_of_the_factory_build_it(tiny):
    settings = {"device": "cpu", "threads": 1}
    for factory in (ImageGeneration.diffusers, ImageGeneration.diffusion):
        model = factory(tiny, **settings)
        assert isinstance(model, DiffusersImages)
        assert model.options == DiffusersOptions(tiny, **settings)
