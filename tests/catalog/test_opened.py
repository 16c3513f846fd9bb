"""A catalogue in a manager: names become ids, and each model is there once."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import blazen.catalog
from blazen import hardware
from blazen.catalog import Catalog, OpenCatalog
from blazen.errors import BudgetError, ModelNotFoundError, ValidationError
from blazen.manager import State
from blazen.types.completion import CompletionOptions
from tests.catalog.files import chat_gguf

pytestmark = [pytest.mark.needs("xllamacpp", "starter:chat"), pytest.mark.usefixtures("home")]

SMALL = {"context_length": 256, "threads": 1}


@pytest.fixture
def write(home: Path) -> Any:
    def write(text: str) -> None:
        (home / "blazen.toml").write_text(text, encoding="utf-8")

    return write


async def test_whatever_it_is_called_a_model_has_one_id() -> None:
    async with Catalog.read().start(pools={"cpu": "4GiB"}) as models:
        asked = ("starter:chat", "chat", "CHAT", "xllamacpp:starter:chat", None)
        ids = await asyncio.gather(*(models.name_of(name, "model") for name in asked * 5))
        assert set(ids) == {"starter:chat"}
        assert len(models.manager) == 1
        assert models.listing_of("starter:chat").spec == "xllamacpp:starter:chat"
        assert [one.name for one in models.listings("model")][:1] == ["starter:chat"]


async def test_a_model_answers_through_the_manager_and_goes_at_the_end(write: Any) -> None:
    write(
        '[models.small]\nspec = "xllamacpp:starter:chat"\n'
        "options = { context_length = 256, threads = 1 }\npreload = true\nmemory = '300MiB'\n"
    )
    catalog = Catalog.read()
    async with catalog.start(pools={"cpu": "1GiB"}) as models:
        assert [one.id for one in models.manager.status().models] == ["small"]
        name = await models.name_of("small", "model")
        answer = await models.manager.complete(
            name, "Say hello.", CompletionOptions(max_tokens=4, temperature=0)
        )
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 4
        status = models.manager.status().models[0]
        assert (status.state, status.loads) == (State.Ready, 1)
        model = models.manager.get(name)
    assert not model.is_loaded
    gc.collect()


@pytest.mark.needs("llamacpp")
async def test_what_the_file_says_reaches_the_manager(write: Any) -> None:
    write(
        "[manager]\npools = { cpu = '3GiB' }\nkeep_alive = 120\ncores = 1\n"
        "policy = 'reload_cost'\nmeasure = false\n"
        "[models.a]\nspec = 'xllamacpp:starter:chat'\npinned = true\npriority = 2\n"
        "memory = { cpu = '200MiB' }\nfallback = 'b'\ndeadline = 3\n"
        "[models.b]\nspec = 'llamacpp:starter:chat'\nkeep_alive = 5\nfallback = 'a'\n"
    )
    async with Catalog.read().start() as models:
        pool = models.manager.status().pools[0]
        assert (pool.name, pool.budget) == ("cpu", 3 << 30)
        a, b = models.manager.status().models
        assert (a.pinned, a.priority, a.keep_alive, a.fallback) == (True, 2, 120, ("b",))
        assert a.footprint is not None
        assert a.footprint.resident == {"cpu": 200 << 20}
        assert (b.keep_alive, b.fallback) == (5, ("a",))
        assert models.manager.status().cores == 1
    async with Catalog.read().start(keep_alive=None, cores=2, pools={"cpu": 2 << 30}) as models:
        assert models.manager.status().models[0].keep_alive is None
        assert models.manager.status().pools[0].budget == 2 << 30


async def test_without_pools_the_machine_says_what_there_is(write: Any) -> None:
    write("[manager]\nram = '777MiB'\nreserve = '1MiB'\n")
    async with Catalog.read().start() as models:
        pools = {pool.name: pool.budget for pool in models.manager.status().pools}
        assert pools["cpu"] == 777 << 20


async def test_a_small_machine_keeps_a_quarter(monkeypatch: pytest.MonkeyPatch) -> None:
    small = hardware.Hardware(
        hardware.Cores(2, 2, 2, 2), hardware.Memory(total=2 << 30, available=1 << 30)
    )
    monkeypatch.setattr(hardware, "detect", lambda: small)
    async with Catalog.read().start() as models:
        assert models.manager.status().pools[0].budget == 3 << 28


async def test_a_fallback_that_is_no_model_is_named(write: Any) -> None:
    write("[models.a]\nspec = 'xllamacpp:starter:chat'\nfallback = 'gone'\n")
    with pytest.raises(ModelNotFoundError, match=r"blazen.toml: \[models.a\]: .*'gone'"):
        async with Catalog.read().start(pools={"cpu": "1GiB"}):
            pass


@pytest.mark.needs("llamacpp")
async def test_a_fallback_may_be_any_model(write: Any) -> None:
    write("[models.a]\nspec = 'llamacpp:starter:chat'\nfallback = 'starter:chat'\n")
    async with Catalog.read().start(pools={"cpu": "1GiB"}) as models:
        assert [one.id for one in models.manager.status().models] == ["a", "starter:chat"]


async def test_a_client_reaches_only_what_is_listed(tmp_path: Path) -> None:
    secret = chat_gguf(tmp_path / "secret" / "own.gguf")
    async with Catalog.read().start(pools={"cpu": "1GiB"}) as models:
        for text in (str(secret), f"xllamacpp:{secret}", "org/name", "openai:gpt", "nope"):
            with pytest.raises(ModelNotFoundError, match="there is no model for chat"):
                await models.name_of(text, "model")
        assert len(models.manager) == 0
        assert await models.name_of(str(secret), "model", given=True) == "own"
        assert await models.name_of("own", "model") == "own"
    async with Catalog.read(given=[str(secret)]).start(pools={"cpu": "1GiB"}) as models:
        assert await models.name_of("own", "model") == "own"
        assert await models.name_of(None, "model") == "own"


async def test_one_name_opened_in_two_ways_gets_two_ids() -> None:
    import dataclasses

    async with Catalog.read().start(pools={"cpu": "1GiB"}) as models:
        one = models.catalog.find("chat")
        other = dataclasses.replace(one, options=dict(SMALL))
        assert await models.register(one) == "starter:chat"
        assert await models.register(other) == "starter:chat#2"
        assert await models.register(other) == "starter:chat#2"


async def test_a_model_that_can_not_be_built_leaves_nothing_behind(write: Any) -> None:
    write("[models.a]\nspec = 'xllamacpp:starter:chat'\noptions = { contxt_length = 5 }\n")
    catalog = Catalog.read()
    with pytest.raises(ValidationError, match="did you mean 'context_length'"):
        async with catalog.start(pools={"cpu": "1GiB"}):
            pass
    write("")
    async with Catalog.read().start(pools={"cpu": "1GiB"}) as models:
        good = models.catalog.find("chat")
        import dataclasses

        bad = dataclasses.replace(good, options={"nope": 1})
        for _ in range(2):
            with pytest.raises(ValidationError, match="'nope'"):
                await models.register(bad)
        assert await models.register(good) == "starter:chat"


async def test_who_waits_may_leave_and_the_others_still_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Catalog.read().start(pools={"cpu": "1GiB"}) as models:
        go, builds = asyncio.Event(), 0
        real = OpenCatalog._enter

        async def slow(self: OpenCatalog, *given: Any) -> None:
            nonlocal builds
            builds += 1
            await go.wait()
            await real(self, *given)

        monkeypatch.setattr(OpenCatalog, "_enter", slow)
        first = asyncio.create_task(models.name_of("chat", "model"))
        while not builds:
            await asyncio.sleep(0.01)
        leaves = asyncio.create_task(models.name_of("starter:chat", "model"))
        stays = asyncio.create_task(models.name_of("chat", "model"))
        await asyncio.sleep(0.05)
        leaves.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaves
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        go.set()
        assert await stays == "starter:chat"
        assert builds == 2


async def test_a_model_that_came_later_is_found_after_another_look(home: Path) -> None:
    (home / "models").mkdir()
    async with Catalog.read().start(pools={"cpu": "1GiB"}) as models:
        with pytest.raises(ModelNotFoundError):
            await models.name_of("late", "model")
        chat_gguf(home / "models" / "late.gguf")
        await models.refresh()
        assert await models.name_of("late", "model") == "late"


async def test_a_model_that_came_later_is_found_by_itself(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "models").mkdir()
    monkeypatch.setattr("blazen.catalog.catalog._OLD", 0.0)
    async with Catalog.read().start(pools={"cpu": "1GiB"}) as models:
        with pytest.raises(ModelNotFoundError):
            await models.name_of("late", "model")
        chat_gguf(home / "models" / "late.gguf")
        assert await models.name_of("late", "model") == "late"


async def test_a_model_that_was_unregistered_is_taken_again() -> None:
    async with Catalog.read().start(pools={"cpu": "1GiB"}) as models:
        name = await models.name_of("chat", "model")
        await models.manager.unregister(name)
        assert await models.name_of("chat", "model") == name
        assert name in models.manager


async def test_names_are_not_remembered_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blazen.catalog.opened._REMEMBERED", 3)
    async with Catalog.read().start(pools={"cpu": "1GiB"}) as models:
        for name in ("chat", "Chat", "cHat", "chAt", "chaT"):
            assert await models.name_of(name, "model") == "starter:chat"
        assert len(models._named) <= 3


def test_reading_a_catalogue_imports_no_engine_and_no_manager() -> None:
    code = (
        "import sys\nfrom blazen.catalog import Catalog\n"
        "catalog = Catalog.read()\ncatalog.find('starter:chat', 'model')\ncatalog.listings()\n"
        "heavy = {'xllamacpp', 'llama_cpp', 'mistralrs', 'torch', 'onnxruntime', 'fastembed',\n"
        "         'numpy', 'blazen.manager.manager'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = blazen.catalog.Nothing


@pytest.mark.parametrize(
    ("text", "pools", "words"),
    [
        ("[manager]\nram = '1MiB'\n", ..., r"\(as \[manager\] of .*blazen.toml has it\)"),
        ("[manager]\nram = '1MiB'\n", {"cpu": "2MiB"}, r"2\.0 MiB of cpu \(as start\(\) was told"),
        ("", ..., "what was free at the start, less a reserve"),
    ],
)
async def test_a_model_that_never_fits_says_where_the_budget_is_from(
    write: Any, monkeypatch: pytest.MonkeyPatch, text: str, pools: Any, words: str
) -> None:
    write(text)
    memory = hardware.Memory(total=2 << 20, available=2 << 20)
    small = hardware.Hardware(hardware.Cores(2, 2, 2, 2), memory)
    monkeypatch.setattr(hardware, "detect", lambda: small)
    async with Catalog.read().start(pools=pools) as models:
        name = await models.name_of("starter:chat", "model")
        with pytest.raises(BudgetError, match=words):
            await models.manager.complete(name, "Hello")
