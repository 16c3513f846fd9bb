"""Pipelines of several families, single files, and what a load takes of RAM."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

pytest.importorskip("diffusers")
pytest.importorskip("accelerate")

import numpy as np
import torch
from safetensors.torch import save_file

from blazen import Image
from blazen.errors import LoadError, UnsupportedError
from blazen.options.diffusers import DiffusersOptions
from blazen.testing.tiny_diffusion import byte_tokenizer, save_tiny_pipeline
from blazen_diffusers import DiffusersImages
from tests.backends.ldm_names import save_single_file
from tests.weights.servers import Hub, standing_in

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning"),
]

SMALL = {"width": 64, "height": 64, "steps": 2, "seed": 7}
PROMPT = "a lighthouse in a storm"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return save_tiny_pipeline(tmp_path_factory.mktemp("pipelines") / "tiny")


def build(target, **settings):
    return DiffusersImages(DiffusersOptions(target, **{"device": "cpu", "threads": 1, **settings}))


def picture():
    across = np.linspace(0, 255, 64, dtype="uint8")[None, :, None]
    return Image.from_array(np.broadcast_to(across, (64, 64, 3)))


async def look(model, see):
    return await model._call(lambda engine, job: see(engine))


# Other families


def save_xl(folder, **vae):
    from diffusers import (
        AutoencoderKL,
        EulerDiscreteScheduler,
        StableDiffusionXLPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(0)
    tokenizer = byte_tokenizer(folder)
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=4,
        projection_dim=32,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
    )
    unet = UNet2DConditionModel(
        sample_size=32,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2),
        attention_head_dim=(2, 4),
        cross_attention_dim=64,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=80,
        norm_num_groups=4,
    )
    StableDiffusionXLPipeline(
        vae=AutoencoderKL(
            block_out_channels=(8, 16),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            norm_num_groups=4,
            sample_size=64,
            force_upcast=True,
        ),
        text_encoder=CLIPTextModel(text),
        text_encoder_2=CLIPTextModelWithProjection(text),
        tokenizer=tokenizer,
        tokenizer_2=byte_tokenizer(folder),
        unet=unet,
        scheduler=EulerDiscreteScheduler(),
        add_watermarker=False,
    ).save_pretrained(folder)
    return folder


@pytest.mark.filterwarnings(
    "ignore:`upcast_vae` is deprecated:FutureWarning"
)  # by diffusers itself
@pytest.mark.parametrize("vae_dtype", ["auto", "float16"])
async def test_xl_in_half_precision_whoever_widens_its_vae(tmp_path, vae_dtype):
    folder = save_xl(tmp_path / "xl")
    async with build(folder, dtype="float16", vae_dtype=vae_dtype) as model:
        text = await model.generate(PROMPT, SMALL)
        start = await model.generate(PROMPT, {"image": picture(), "steps": 4, "seed": 1})
        pieces = [piece async for piece in model.generate_stream(PROMPT, SMALL)]
    assert text.images[0].to_array().std() > 1
    assert start.images[0].size == (64, 64)
    assert pieces[-1].images == text.images
    assert all(piece.preview.size == (32, 32) for piece in pieces[:-1])


def save_flux(folder):
    from diffusers import (
        AutoencoderKL,
        FlowMatchEulerDiscreteScheduler,
        FluxPipeline,
        FluxTransformer2DModel,
    )
    from transformers import (
        CLIPTextConfig,
        CLIPTextModel,
        T5Config,
        T5EncoderModel,
        T5TokenizerFast,
    )

    torch.manual_seed(0)
    tokenizer = byte_tokenizer(folder)
    end = tokenizer.eos_token_id
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=37,
        num_hidden_layers=1,
        num_attention_heads=4,
        eos_token_id=end,
        pad_token_id=end,
    )
    letters = [(letter, -1.0) for letter in "▁abcdefghijklmnopqrstuvwxyz"]
    pieces = T5TokenizerFast(
        vocab=[("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *letters], model_max_length=512
    )
    wide = T5Config(vocab_size=len(pieces), d_model=32, d_kv=8, d_ff=37, num_layers=1, num_heads=4)
    FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=AutoencoderKL(
            block_out_channels=(8, 16),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=4,
            norm_num_groups=4,
            sample_size=64,
            use_quant_conv=False,
            use_post_quant_conv=False,
            shift_factor=0.1,
            scaling_factor=0.4,
        ),
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        text_encoder_2=T5EncoderModel(wide),
        tokenizer_2=pieces,
        transformer=FluxTransformer2DModel(
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            axes_dims_rope=(4, 4, 8),
        ),
    ).save_pretrained(folder)
    return folder


async def test_a_transformer_that_packs_its_latents(tmp_path):
    async with build(save_flux(tmp_path / "flux")) as model:
        answer = await model.generate(PROMPT, SMALL)
        again = await model.generate(PROMPT, SMALL)
        named = await model.generate(PROMPT, {**SMALL, "scheduler": "flow_euler"})
        pieces = [piece async for piece in model.generate_stream(PROMPT, SMALL)]
        with pytest.raises(UnsupportedError, match=r"takes no negative_prompt.*guided without"):
            await model.generate(PROMPT, {**SMALL, "negative_prompt": "rain"})
        with pytest.raises(UnsupportedError, match="does not fit this pipeline"):
            await model.generate(PROMPT, {**SMALL, "scheduler": "ddim"})
        long = await model.generate("a" * 90, SMALL)
    assert answer == again
    assert answer.images[0].to_array().std() > 1
    assert named.images == answer.images
    assert [piece.step for piece in pieces] == [1, 2, 2]
    assert [text.partition(" tokens")[0] for text in long.warnings] == ["the prompt has 92"]


# One file with all weights


@pytest.fixture
def single(tiny, tmp_path):
    return save_single_file(tiny, tmp_path / "all.safetensors")


async def test_a_single_file_is_the_pipeline_that_it_was(tiny, single):
    async with build(tiny) as model:
        expected = await model.generate(PROMPT, SMALL)
    sized = await build(tiny).footprint()
    async with build(single, config=tiny, vae_dtype="float32", dtype="bfloat16") as model:
        types = await look(model, lambda e: (e.own.unet.dtype, e.own.vae.dtype))
    assert types == (torch.bfloat16, torch.float32)
    async with build(single, config=tiny) as model:
        assert (await model.generate(PROMPT, SMALL)).images == expected.images
        assert await model.footprint() == sized


async def test_a_single_file_finds_its_settings_on_the_hub(tiny, single, tmp_path):
    checked = save_tiny_pipeline(tmp_path / "checked", flags=True)
    files = {
        path.relative_to(checked).as_posix(): path.read_bytes()
        for path in checked.rglob("*")
        if path.is_file()
    }
    hub = Hub({"stable-diffusion-v1-5/stable-diffusion-v1-5": files})
    with standing_in(hub):
        async with build(single, cache_dir=tmp_path / "cache") as model:
            answer = await model.generate(PROMPT, SMALL)
    # The checker that belongs to it comes along, and nothing else that is heavy.
    assert answer.flagged == (True,)
    fetched = [path for path in (asked.path for asked in hub.asked) if "safetensors" in path]
    assert fetched
    assert all("safety_checker" in path for path in fetched)


async def test_a_checker_is_never_left_out_of_a_single_file(single, tmp_path):
    checked = save_tiny_pipeline(tmp_path / "checked", flags=True)
    async with build(single, config=checked) as model:
        answer = await model.generate(PROMPT, SMALL)
        started = await model.generate(PROMPT, {"image": picture(), "steps": 4})
    sized = (await build(single, config=checked).footprint()).resident["cpu"]
    assert answer.flagged == started.flagged == (True,)
    (weights,) = (checked / "safety_checker").glob("*.safetensors")
    weights.unlink()
    with pytest.raises(LoadError, match=r"names a safety checker.*\[null, null\]"):
        await build(single, config=checked).load()
    index = json.loads((checked / "model_index.json").read_text())
    index["safety_checker"] = [None, None]
    (checked / "model_index.json").write_text(json.dumps(index))
    async with build(single, config=checked) as model:
        assert (await model.generate(PROMPT, SMALL)).flagged == ()
        assert (await model.footprint()).resident["cpu"] < sized


async def test_single_files_that_can_not_be_loaded(tiny, single, tmp_path):
    save_file({"some.weight": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    with pytest.raises(LoadError, match="holds no whole pipeline"):
        await build(tmp_path / "other.safetensors").load()
    (tmp_path / "empty").mkdir()
    with pytest.raises(LoadError, match="no folder of a pipeline"):
        await build(single, config=tmp_path / "empty").load()
    (tmp_path / "readme.md").write_text("no weights")
    with pytest.raises(LoadError, match="is no pipeline"):
        await build(tmp_path / "readme.md").load()
    flux = shutil.copytree(tiny, tmp_path / "copied")
    index = json.loads((flux / "model_index.json").read_text())
    (flux / "model_index.json").write_text(json.dumps(index | {"_class_name": "DDPMPipeline"}))
    with pytest.raises(UnsupportedError, match=r"DDPMPipeline.*not loaded from a single file"):
        await build(single, config=flux).load()


# What is seen from outside of a process

_PROGRAM = """
import asyncio, json, sys, threading
from pathlib import Path
from blazen import ImageGeneration
from blazen.options import LoraAdapter
from blazen.testing.tiny_diffusion import save_tiny_adapter, save_tiny_pipeline

def status(name):
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith(name + ":"))
    return int(line.split()[1]) * 1024

def build(folder, **settings):
    return ImageGeneration.diffusers(folder, device="cpu", threads=1, **settings)

async def paint(tiny, folder):
    pickled = save_tiny_pipeline(folder / "pickled", safe=False)
    adapter = LoraAdapter(save_tiny_adapter(folder), 0.5)
    asked = {"width": 64, "height": 64, "steps": 2, "seed": 1}
    for model, settings in (
        (tiny, {"loras": [adapter]}),
        (tiny, {"dtype": "float16"}),
        (pickled, {"allow_pickle": True}),
    ):
        async with build(model, **settings) as painter:
            answer = await painter.generate("a long prompt" * 20, asked)
            assert "is not seen" in answer.warnings[0]

async def measure(folder, dtype):
    over, own = threading.Event(), [before := status("RssAnon")]
    def watch():
        while not over.wait(0.001):
            own.append(status("RssAnon"))
    watcher = threading.Thread(target=watch)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # from here on counts the most that it takes
    whole = status("VmRSS")
    watcher.start()
    model = build(folder, dtype=dtype)
    await model.load()
    over.set()
    watcher.join()
    peak = status("VmHWM") - whole
    await model.unload()
    return {"peak": peak, "own": max(own) - before, "left": status("RssAnon") - before}

async def main(tiny, large, folder):
    await paint(tiny, Path(folder))
    if not Path("/proc/self/clear_refs").exists():
        return []
    for dtype in ("float32", "bfloat16"):  # brings all code that a load needs
        async with build(tiny, dtype=dtype):
            pass
    return [await measure(large, dtype) for dtype in ("float32", "bfloat16")]

print(json.dumps(asyncio.run(main(*sys.argv[1:]))))
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    yield save_tiny_pipeline(folder / "pipeline", widths=(192, 384))
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def program(tiny, large, tmp_path_factory):
    """What a program of its own has said; one for both tests, since its imports take seconds."""
    arguments = (tiny, large, tmp_path_factory.mktemp("program"))
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_only_what_is_for_the_user_is_said(program):
    assert program.returncode == 0, program.stderr
    said = [line for line in program.stderr.splitlines() if "is not seen" not in line]
    assert said == []
    assert len(program.stdout.splitlines()) == 1  # which is its own


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="Linux counts the peak")
def test_a_load_makes_no_second_copy_of_the_weights(program, large):
    weights = sum(path.stat().st_size for path in large.rglob("*.safetensors"))
    assert 200 << 20 < weights < 320 << 20
    assert program.returncode == 0, program.stderr
    same, other = json.loads(program.stdout)
    assert 0.9 * weights < same["peak"] <= 1.15 * weights
    # Half as wide: the file's own pages, which the system may take back, are no copy of ours.
    assert 0.9 * weights / 2 < other["own"] <= 1.15 * weights / 2
    assert max(same["left"], other["left"]) < 0.1 * weights
