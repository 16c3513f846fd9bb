"""The manager as its users see it: names, pools, requests, and what they are told."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import re
from pathlib import Path

import pytest

import blazen
from blazen import (
    EmbeddingResponse,
    Footprint,
    LoadError,
    ModelManager,
    ProviderError,
    UnsupportedError,
    Vectors,
)
from blazen.errors import BlazenError, BudgetError, ValidationError
from blazen.manager import EventKind, LearnedFootprints, State
from blazen.middleware import with_fallback
from blazen.testing import (
    EchoEmbedding,
    EchoImage,
    EchoImageEmbedding,
    EchoMesh,
    EchoModel,
    EchoOptions,
    EchoReranker,
    EchoSparse,
    EchoTokens,
    EchoTranscription,
    EchoTTS,
)

GIB = 1 << 30


class Remote:
    """A model that runs elsewhere: no lifecycle, no memory."""

    def __init__(self, says="from afar", error=None):
        self.says, self.error = says, error

    async def complete(self, messages, options=None):
        if self.error is not None:
            raise self.error
        return blazen.ModelResponse(content=self.says)

    def complete_stream(self, messages, options=None):
        async def pieces():
            if self.error is not None:
                raise self.error
            for word in self.says.split(" "):
                yield blazen.InferenceChunk(content=word + " ")

        return blazen.InferenceChunkStream.of(pieces())


def manager(gib=2, **settings):
    return ModelManager(gib, **{"measure": False, **settings})


def echo(name="echo", **settings):
    return EchoModel(EchoOptions(name, **settings))


async def filled(count=3, gib=2, **settings):
    """A manager of models of one GiB each, of which so many fit."""
    whole = manager(gib, **settings)
    for number in range(count):
        await whole.register(f"m{number}", echo(f"m{number}"), memory_estimate_bytes=GIB)
    return whole


def loaded(whole):
    return [model.id for model in whole.status().models if model.state is State.Ready]


# Names and values


async def test_a_name_that_is_not_there_says_which_are():
    whole = await filled(1)
    with pytest.raises(ValidationError, match="there is no model 'm'; did you mean 'm0'"):
        await whole.complete("m", "Hello")
    for use in (whole.lease, whole.get):
        with pytest.raises(ValidationError, match="known are: m0"):
            use("nobody")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "needs a budget"),
        ({"cpu_ram_gb": -1}, "cpu_ram_gb must be at least 0"),
        ({"cpu_ram_gb": 1, "pools": {"cpu": "1GiB"}}, "not both"),
        ({"pools": {"ram": "1GiB"}}, "a pool is 'cpu' or 'gpu:N', not 'ram'"),
        ({"pools": {"gpu:01": "1GiB"}}, "a pool is"),
        ({"pools": {"cpu": "much"}}, "not 'much'"),
        ({"cpu_ram_gb": 1, "cores": 0}, "cores must be at least 1"),
        ({"cpu_ram_gb": 1, "max_waiting": 0}, "max_waiting must be at least 1"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(settings, words):
    with pytest.raises(ValidationError, match=words):
        ModelManager(**settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"memory_estimate_bytes": 1, "footprint": {"cpu": 1}}, "not both"),
        ({"memory_estimate_bytes": "lots"}, "memory_estimate_bytes must be bytes"),
        ({"memory_estimate_bytes": -5}, "at least"),
        ({"footprint": {"gpu:3": "1GiB"}}, "no budget for it: add it to pools, which has cpu"),
        ({"footprint": {"disk": "1GiB"}}, "a pool is"),
        ({"memory_estimate_bytes": 1, "keep_alive": -1}, "keep_alive must be at least 0"),
        ({"memory_estimate_bytes": 1, "priority": 1.5}, "priority must be a whole number"),
        ({"memory_estimate_bytes": 1, "deadline": 1}, "no fallback"),
        ({"memory_estimate_bytes": 1, "fallback": "a"}, "its own fallback"),
    ],
)
async def test_a_registration_that_makes_no_sense_is_refused(settings, words):
    whole = manager()
    with pytest.raises(ValidationError, match=words):
        await whole.register("a", echo(), **settings)
    assert "a" not in whole


async def test_one_name_and_one_model_are_registered_once():
    whole, model = manager(), echo()
    await whole.register("a", model, memory_estimate_bytes=GIB)
    with pytest.raises(ValidationError, match="there is a model 'a' already"):
        await whole.register("a", echo(), memory_estimate_bytes=GIB)
    with pytest.raises(ValidationError, match="registered already, as 'a'"):
        await whole.register("b", model, memory_estimate_bytes=GIB)
    assert len(whole) == 1
    await whole.unregister("a")
    await whole.register("b", model, memory_estimate_bytes=GIB)
    assert "b" in whole
    assert "a" not in whole


async def test_what_is_no_model_is_refused():
    class Half:
        is_loaded = False

        async def complete(self, messages, options=None): ...

    whole = manager()
    with pytest.raises(ValidationError, match="is no model: it has none of"):
        await whole.register("a", object())
    with pytest.raises(ValidationError, match="has is_loaded but not all of"):
        await whole.register("a", Half(), memory_estimate_bytes=1)


async def test_a_size_that_nobody_knows_is_asked_for():
    whole = manager()
    await whole.register("a", echo())
    with pytest.raises(ValidationError, match="give memory_estimate_bytes"):
        await whole.load("a")


# Pools


async def test_bytes_are_counted_in_the_pool_that_was_named():
    whole = ModelManager(pools={"cpu": "2GiB", "gpu:0": "3GiB", "gpu:1": "1GiB"}, measure=False)
    both = {"cpu": "1GiB", "gpu:0": "2GiB"}
    await whole.register("both", echo("both"), footprint=both)
    await whole.register("other", echo("other"), footprint={"gpu:1": "1GiB"})
    await whole.load("both")
    await whole.ensure_loaded("other")
    assert await whole.used_bytes() == GIB
    assert await whole.used_bytes(pool="gpu:0") == 2 * GIB
    assert await whole.available_bytes(pool="gpu:0") == GIB
    assert await whole.available_bytes(pool="gpu:1") == 0
    with pytest.raises(ValidationError, match="there is no pool 'gpu:2'"):
        await whole.used_bytes(pool="gpu:2")
    async with whole:
        pass
    assert await whole.used_bytes(pool="gpu:0") == 0
    assert loaded(whole) == []


async def test_models_of_different_pools_never_evict_each_other():
    whole = ModelManager(pools={"cpu": "1GiB", "gpu:0": "1GiB"}, measure=False)
    for name, pool in (("a", "cpu"), ("b", "gpu:0"), ("c", "gpu:0")):
        await whole.register(name, echo(name), footprint={pool: "1GiB"})
        await whole.load(name)
    assert loaded(whole) == ["a", "c"]


async def test_the_least_recently_used_goes_and_no_more_than_must():
    whole = await filled(4, gib=3)
    for name in ("m0", "m1", "m2", "m0", "m3"):
        await whole.complete(name, "Hello")
    assert loaded(whole) == ["m0", "m2", "m3"]


async def test_what_can_never_fit_evicts_nothing():
    whole = await filled(2)
    await whole.load("m0")
    await whole.register("huge", echo("huge"), memory_estimate_bytes=9 * GIB)
    with pytest.raises(BudgetError, match=r"needs 9\.0 GiB of cpu, and the whole budget is 2\.0 G"):
        await whole.load("huge")
    assert loaded(whole) == ["m0"]


async def test_detect_takes_what_the_machine_has_less_a_reserve():
    machine = blazen.ModelManager.detect(reserve="1GiB").status().pools
    least = blazen.ModelManager.detect(reserve={"cpu": "3GiB"}).status().pools
    assert {pool.name for pool in machine} >= {"cpu"}
    assert machine[0].budget > least[0].budget + GIB
    with pytest.raises(ValidationError, match="nothing is left of cpu"):
        blazen.ModelManager.detect(reserve="900TiB")
    with pytest.raises(ValidationError, match="there is no pool on this machine 'gpu:77'"):
        blazen.ModelManager.detect(reserve={"gpu:77": 1})


async def test_a_model_that_is_loaded_already_is_counted_at_once():
    whole, model = manager(), echo()
    async with model:
        await whole.register("a", model, memory_estimate_bytes=GIB)
        assert loaded(whole) == ["a"]
        other = echo()
        async with other:
            with pytest.raises(BudgetError, match="is loaded already"):
                await whole.register("b", other, memory_estimate_bytes=2 * GIB)
        assert "b" not in whole
    await whole.unload("a")


# Requests of every kind


async def test_every_kind_of_model_is_asked_by_name(tmp_path):
    pytest.importorskip("numpy")
    whole = manager(8)
    image = tmp_path / "image.png"
    for name, model in {
        "chat": EchoModel,
        "embed": EchoEmbedding,
        "rerank": EchoReranker,
        "say": EchoTTS,
        "hear": EchoTranscription,
        "draw": EchoImage,
        "shape": EchoMesh,
        "sparse": EchoSparse,
        "tokens": EchoTokens,
        "see": EchoImageEmbedding,
    }.items():
        await whole.register(name, model(EchoOptions(name)), memory_estimate_bytes=GIB)
    assert (await whole.complete("chat", "Hello you")).content == "Hello you"
    pieces = []
    whole_answer = await whole.stream("chat", "one two", lambda chunk: pieces.append(chunk.content))
    assert "".join(filter(None, pieces)) == whole_answer.content == "one two"
    async with whole.complete_stream("chat", "three four") as stream:
        assert "".join([chunk.content or "" async for chunk in stream]) == "three four"
    assert len((await whole.embed("embed", ["a", "b"])).embeddings) == 2
    assert len((await whole.embed_query("embed", "a")).embeddings) == 1
    async for some in whole.embed_stream("embed", (str(number) for number in range(3))):
        assert len(some.embeddings) == 3
    async for some in whole.embed_stream("embed", ["a", "b", "c"], window=1):
        assert len(some.embeddings) == 1
        assert whole.status().models[1].leases == 1
    for name, verb in (("sparse", "embed_sparse"), ("tokens", "embed_tokens")):
        for method in (getattr(whole, verb), getattr(whole, f"{verb}_query")):
            assert len((await method(name, ["a cat", "a dog"])).embeddings) == 2
    ranked = await whole.rerank("rerank", "cat", ["dog", "cat"], top=1)
    assert ranked.results[0].document == "cat"
    sound = await whole.speak("say", "Hello")
    assert len(sound.samples) > 0
    assert [piece async for piece in whole.speak_stream("say", "Hello")]
    assert (await whole.transcribe("hear", sound)).text
    assert [piece async for piece in whole.transcribe_stream("hear", sound)]
    pytest.importorskip("PIL")
    pictures = await whole.generate_image("draw", "a cat")
    assert [step async for step in whole.generate_image_stream("draw", "a cat")]
    assert len((await whole.embed_images("see", pictures.images)).embeddings) == 1
    pictures.images[0].save(image)
    assert len((await whole.image_to_mesh("shape", image)).faces) > 0
    await whole.unload_all()


async def test_a_model_that_only_embeds_is_asked_for_queries_and_streams_too():
    class Duck:
        async def embed(self, texts):
            return EmbeddingResponse(Vectors.of([[len(text), 1.0] for text in texts]))

    whole = manager()
    await whole.register("duck", Duck())
    assert (await whole.embed_query("duck", ["four"])).embeddings.tolist() == [[4.0, 1.0]]
    pieces = [piece async for piece in whole.embed_stream("duck", ["a", "bc"])]
    assert pieces[0].embeddings.tolist() == [[1.0, 1.0], [2.0, 1.0]]
    pieces = [piece async for piece in whole.embed_stream("duck", ["a", "bc", "d"], window=2)]
    assert [len(piece.embeddings) for piece in pieces] == [2, 1]
    with pytest.raises(ValidationError, match="window"):
        await whole.embed_stream("duck", ["a"], window=0).collect()


async def test_what_a_model_cannot_do_names_what_it_can():
    whole = manager()
    await whole.register("embed", EchoEmbedding(), memory_estimate_bytes=GIB)
    with pytest.raises(UnsupportedError, match="'embed' can't complete: it can be asked to embed"):
        await whole.complete("embed", "Hello")
    with pytest.raises(UnsupportedError, match="can't complete stream"):
        whole.complete_stream("embed", "Hello")
    with pytest.raises(UnsupportedError, match="'embed' can't make a mesh of an image: it can"):
        await whole.image_to_mesh("embed", b"")
    with pytest.raises(UnsupportedError, match="can't make a mesh of an image as a stream: it"):
        whole.image_to_mesh_stream("embed", b"")
    assert loaded(whole) == []


async def test_remote_models_pass_straight_through_and_cost_nothing():
    whole = manager()
    await whole.register("cloud", Remote())
    assert (await whole.complete("cloud", "Hello")).content == "from afar"
    await whole.load("cloud")
    await whole.unload("cloud")
    assert await whole.used_bytes() == 0
    assert whole.status().models[0].state is State.Remote
    with pytest.raises(ValidationError, match="takes no memory here"):
        await whole.register("more", Remote(), memory_estimate_bytes=5)
    await whole.unregister("cloud")
    assert len(whole) == 0


async def test_an_error_of_the_model_comes_through_and_gives_the_lease_back():
    whole = manager()
    await whole.register("cloud", Remote(error=ProviderError("no", provider="x")))
    await whole.register("bad", echo(fail_at=0), memory_estimate_bytes=GIB)
    with pytest.raises(ProviderError):
        await whole.complete("cloud", "Hello")
    with pytest.raises(blazen.InferenceError):
        await whole.complete("bad", "Hello")
    async with whole.complete_stream("bad", "Hello") as stream:
        with pytest.raises(blazen.InferenceError):
            await stream.__anext__()
        assert whole.status().models[1].leases == 0
    await whole.unload("bad")


# Leases


async def test_a_leased_model_stays_and_others_say_who_has_it():
    whole = await filled(3)
    async with whole.lease("m0"), whole.lease("m1"):
        with pytest.raises(BudgetError, match=r"would wait for itself.*'m0', 'm1'"):
            await whole.complete("m2", "Hello")

        async def stranger():
            with pytest.raises(
                blazen.TimeoutError, match=r"'m2' was not ready within 0\.01 s.*in use"
            ):
                await whole.complete("m2", "Hello", timeout=0.01)

        await contextvars.Context().run(asyncio.ensure_future, stranger())
        with pytest.raises(BlazenError, match="can't be unloaded by a task that has a lease"):
            await whole.unload("m0")
        assert loaded(whole) == ["m0", "m1"]
    assert (await whole.complete("m2", "Hello")).content == "Hello"


async def test_a_stream_holds_its_lease_until_it_ends_is_closed_or_dropped():
    whole = await filled(1)

    def leases():
        return whole.status().models[0].leases

    stream = whole.complete_stream("m0", "one two three")
    assert leases() == 0
    async for _ in stream:
        assert leases() == 1
    assert leases() == 0

    stream = await whole.complete_stream("m0", "one two three")
    assert leases() == 1
    await stream.aclose()
    assert leases() == 0

    stream = await whole.complete_stream("m0", "one two three")
    del stream
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert leases() == 0

    async for _ in whole.complete_stream("m0", "one two three"):
        break
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert leases() == 0
    await whole.unload("m0")


async def test_progress_of_a_load_is_reported():
    whole = await filled(1)
    seen = []
    await whole.load("m0", on_progress=seen.append)
    await asyncio.sleep(0)
    assert seen[-1].fraction == 1
    await whole.unload("m0")


async def test_preloading_and_keep_alive():
    whole = manager(4)
    await whole.register("kept", echo("kept"), memory_estimate_bytes=GIB, preload=True)
    await whole.register("brief", echo("brief"), memory_estimate_bytes=GIB, keep_alive=0)
    await whole.register("short", echo("short"), memory_estimate_bytes=GIB, keep_alive=0.05)
    heard = whole.events()
    await whole.complete("brief", "Hello")
    await whole.complete("short", "Hello")
    gone = set()
    async for event in heard:
        if event.kind is EventKind.Unloaded:
            gone.add(event.id)
        if gone == {"brief", "short"}:
            break
    await whole.load("kept")
    assert loaded(whole) == ["kept"]
    await whole.unload_all()


async def test_what_holds_a_model_can_be_changed():
    whole = await filled(2, gib=1)
    heard = whole.events()
    await whole.complete("m0", "Hello")
    whole.adjust("m0", pinned=True, priority=3)
    with pytest.raises(BudgetError, match=r"\(pinned\)"):
        await whole.load("m1")
    held = next(model for model in whole.status().models if model.id == "m0")
    assert (held.pinned, held.priority, held.keep_alive) == (True, 3, None)
    whole.adjust("m0", pinned=False, keep_alive=0)
    words = []
    async for event in heard:
        if event.kind is EventKind.Adjusted:
            words.append(event.detail)
        if event.kind is EventKind.Unloaded:
            break
    assert words == ["pinned, stays for ever, priority 3", "not pinned, stays 0 s, priority 3"]
    assert loaded(whole) == []
    await whole.load("m1")
    await whole.unload_all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pinned": 2}, "pinned must be one of True, False, None, not 2"),
        ({"keep_alive": -1}, "keep_alive must be at least 0"),
        ({"keep_alive": "5m"}, "keep_alive must be a number"),
        ({"priority": 0.5}, "priority must be a whole number"),
    ],
)
async def test_a_change_that_makes_no_sense_changes_nothing(changes, words):
    whole = await filled(1)
    before = whole.status()
    with pytest.raises(ValidationError, match=words):
        whole.adjust("m0", **{"priority": 1, **changes})
    with pytest.raises(ValidationError, match="there is no model 'absent'; known are: m0"):
        whole.adjust("absent", pinned=True)
    assert whole.status() == before


async def test_pinned_models_are_never_evicted():
    whole = manager(1)
    await whole.register("pinned", echo("pinned"), memory_estimate_bytes=GIB, pinned=True)
    await whole.register("other", echo("other"), memory_estimate_bytes=GIB)
    await whole.load("pinned")
    with pytest.raises(BudgetError, match=r"'pinned' holds 1\.0 GiB of cpu \(pinned\)"):
        await whole.load("other")
    await whole.unload("pinned")
    await whole.load("other")
    await whole.unload_all()


# Spill-over


async def spilling(local, **settings):
    whole = manager(1)
    await whole.register(
        "assistant", local, memory_estimate_bytes=GIB, fallback="cloud", **settings
    )
    await whole.register("cloud", Remote())
    return whole


async def test_a_failed_load_goes_to_the_fallback_and_the_answer_says_so():
    whole = await spilling(echo(load_error=RuntimeError("broken weights")))
    answer = await whole.complete("assistant", "Hello")
    assert answer.content == "from afar"
    assert answer.route.asked == "assistant"
    assert answer.route.answered == "cloud"
    assert "broken weights" in answer.route.reasons[0]
    stream = whole.complete_stream("assistant", "Hello")
    assert "".join([chunk.content or "" async for chunk in stream]) == "from afar "
    assert stream.route.answered == stream.response.route.answered == "cloud"


async def test_the_way_within_a_wrapped_model_is_told_too():
    inner = with_fallback(Remote(error=ProviderError("busy", provider="a")), Remote())
    whole = manager(1)
    await whole.register("wrapped", inner)
    await whole.register(
        "broken", echo(load_error=RuntimeError("broken weights")), memory_estimate_bytes=GIB,
        fallback="wrapped",
    )  # fmt: skip
    for name, asked in (("wrapped", "Remote (1)"), ("broken", "broken")):
        answer = await whole.complete(name, "Hello")
        stream = whole.complete_stream(name, "Hello")
        async for _ in stream:
            pass
        left = whole.complete_stream(name, "Hello")
        await anext(aiter(left))
        await left.aclose()
        assert answer.route == stream.route == stream.response.route == left.route
        assert (answer.route.asked, answer.route.answered) == (asked, "Remote (2)")
        assert "busy" in answer.route.reasons[-1]
        assert ("broken weights" in answer.route.reasons[0]) is (name == "broken")


async def test_a_model_that_starts_answers_itself():
    whole = await spilling(echo(), deadline=60)
    answer = await whole.complete("assistant", "Hello")
    assert answer.content == "Hello"
    assert answer.route == blazen.Route("assistant", "assistant")
    await whole.unload_all()


async def test_a_deadline_sends_the_request_on_and_the_model_loads_for_the_next():
    whole = await spilling(echo(load_delay=0.2), deadline=0.01)
    heard = whole.events()
    assert (await whole.complete("assistant", "Hello")).route.answered == "cloud"
    async for event in heard:
        if event.kind is EventKind.Loaded:
            break
    assert (await whole.complete("assistant", "Hello")).route.answered == "assistant"
    await whole.unload_all()


async def test_a_full_pool_sends_the_request_on():
    whole = await spilling(echo())
    await whole.register("pinned", echo("pinned"), memory_estimate_bytes=GIB, pinned=True)
    await whole.load("pinned")
    answer = await whole.complete("assistant", "Hello")
    assert answer.route.answered == "cloud"
    assert "can't be had" in answer.route.reasons[0]
    await whole.unload_all()


async def test_an_error_after_the_start_is_not_hidden_by_the_fallback():
    whole = await spilling(echo(fail_at=0))
    with pytest.raises(blazen.InferenceError):
        await whole.complete("assistant", "Hello")
    await whole.unload_all()


async def test_where_the_last_one_fails_too_its_error_comes_with_the_first():
    whole = manager(1)
    bad = echo(load_error=RuntimeError("broken weights"))
    await whole.register("a", bad, memory_estimate_bytes=GIB, fallback=["nobody", "b"])
    worse = echo(load_error=RuntimeError("worse"))
    await whole.register("b", worse, memory_estimate_bytes=GIB)
    with pytest.raises(LoadError, match="worse") as caught:
        await whole.complete("a", "Hello")
    assert "there is no model 'nobody'" in str(caught.value.__cause__)


# To see it


async def test_explain_tells_what_would_happen_and_does_nothing():
    whole = await filled(3)
    first = await whole.explain("m0")
    assert (first.ready, first.possible, first.evicts, first.needs) == (
        False,
        True,
        (),
        {"cpu": GIB},
    )
    await whole.load("m0")
    await whole.load("m1")
    assert (await whole.explain("m0")).ready
    third = await whole.explain("m2")
    assert third.evicts == ("m0",)
    assert third.waits_for == ()
    assert "'m0' would go" in third.reason
    async with whole.lease("m0"), whole.lease("m1"):
        busy = await whole.explain("m2")
        assert busy.waits_for == ("m0",)
        assert busy.possible
    await whole.register("huge", echo("huge"), memory_estimate_bytes=9 * GIB)
    assert not (await whole.explain("huge")).possible
    assert loaded(whole) == ["m0", "m1"]
    await whole.unload_all()


async def test_events_tell_the_story_of_an_eviction():
    whole = await filled(3, gib=1)
    heard = whole.events()
    await whole.load("m0")
    await whole.load("m1")
    story = []
    async for event in heard:
        story.append((event.kind, event.id, event.by))
        if event.kind is EventKind.Loaded and event.id == "m1":
            break
    assert [step for step in story if step[0] is not EventKind.Waiting] == [
        (EventKind.Loading, "m0", ""),
        (EventKind.Loaded, "m0", ""),
        (EventKind.Evicting, "m0", "m1"),
        (EventKind.Unloaded, "m0", ""),
        (EventKind.Loading, "m1", ""),
        (EventKind.Loaded, "m1", ""),
    ]
    await whole.unload_all()


async def test_status_counts_what_happened():
    whole = await filled(2)
    for _ in range(3):
        await whole.complete("m0", "Hello")
    status = whole.status()
    first, second = status.models
    assert (first.state, first.loads, first.uses, first.charges) == (
        State.Ready,
        1,
        3,
        {"cpu": GIB},
    )
    assert (first.footprint, first.footprint_source) == (Footprint({"cpu": GIB}), "declared")
    assert first.load_seconds > 0
    assert (second.state, second.loads) == (State.Unloaded, 0)
    assert status.pools[0].available == GIB
    assert type(status).from_dict(status.to_dict()) == status
    await whole.unload_all()


async def test_a_load_error_is_kept_for_the_status():
    whole = manager()
    bad = echo(load_error=RuntimeError("broken weights"))
    await whole.register("bad", bad, memory_estimate_bytes=GIB)
    with pytest.raises(LoadError, match="broken weights"):
        await whole.load("bad")
    assert "broken weights" in whole.status().models[0].problem
    assert await whole.used_bytes() == 0


def test_it_serves_blocking_callers_too():
    whole = blazen.blocking(manager())
    whole.register("a", echo(), memory_estimate_bytes=GIB)
    assert whole.complete("a", "Hello").content == "Hello"
    with whole.lease("a") as model:
        assert model.is_loaded
    whole.unload_all()


# What models take


class Level:
    """A meter that a test moves."""

    def __init__(self, used=0, available=None):
        self.now, self.left = used, available

    def used(self, pool):
        return self.now

    def available(self, pool):
        return self.left


class Grower:
    """A model whose load and first use take what a test says."""

    device = "cpu"

    def __init__(self, level, load, first=0, keeps=0):
        self.level, self.takes, self.first, self.keeps = level, load, first, keeps
        self.is_loaded, self.holds = False, 0

    async def load(self):
        self.level.now += self.takes
        self.holds, self.is_loaded = self.takes, True

    async def unload(self):
        if self.is_loaded:
            self.level.now -= self.holds - self.keeps
        self.holds, self.is_loaded = 0, False

    async def complete(self, messages, options=None):
        self.level.now += self.first
        self.holds, self.first = self.holds + self.first, 0
        return blazen.ModelResponse(content="ok")


async def test_the_account_follows_what_is_measured_and_a_wrong_size_is_told(tmp_path, caplog):
    level = Level()
    learned = LearnedFootprints(tmp_path / "learned.json")
    whole = ModelManager(8, measure=level, learn=learned)
    await whole.register("small", Grower(level, 3 * GIB), memory_estimate_bytes=GIB)
    with caplog.at_level(logging.WARNING, "blazen.manager"):
        await whole.load("small")
    assert await whole.used_bytes() == 3 * GIB
    assert "3,072 MiB of cpu, and 1,024 MiB declared" in caplog.text
    caplog.clear()
    await whole.register("late", Grower(level, GIB, first=GIB), memory_estimate_bytes=4 * GIB)
    with caplog.at_level(logging.WARNING, "blazen.manager"):
        await whole.complete("late", "Hello")
    assert whole.status().models[1].charges == {"cpu": 2 * GIB}
    assert whole.status().models[1].footprint_source == "measured"
    assert "2,048 MiB of cpu, and 4,096 MiB declared" in caplog.text
    await whole.unload_all()


class Sized(Grower):
    """A model that says itself what it will take, and is wrong."""

    asked = 0

    async def footprint(self):
        self.asked += 1
        return Footprint({"cpu": GIB})


async def test_what_was_learned_serves_the_next_run(tmp_path):
    level, place = Level(), tmp_path / "learned.json"
    first = ModelManager(8, measure=level, learn=LearnedFootprints(place))
    model = Sized(level, GIB, first=GIB)
    await first.register("a", model)
    await first.complete("a", "Hello")
    assert model.asked == 1
    await first.unload_all()
    while not place.exists():
        await asyncio.sleep(0.001)
    second = ModelManager(8, measure=level, learn=LearnedFootprints(place))
    again = Sized(level, GIB, first=GIB)
    await second.register("a", again)
    assert (await second.explain("a")).needs == {"cpu": 2 * GIB}
    assert second.status().models[0].footprint_source == "learned"
    assert again.asked == 0
    LearnedFootprints(place).clear()
    third = ModelManager(8, measure=level, learn=LearnedFootprints(place))
    await third.register("a", again)
    assert (await third.explain("a")).needs == {"cpu": GIB}


async def test_memory_that_does_not_come_back_is_quarantined_until_it_does(monkeypatch):
    from blazen.manager import accounts, effects

    monkeypatch.setattr(effects, "SETTLE_SECONDS", 0.02)
    monkeypatch.setattr(accounts, "RECLAIM_SECONDS", 0.01)
    level = Level()
    whole = ModelManager(4, measure=level, learn=False)
    await whole.register("a", Grower(level, 2 * GIB, keeps=GIB), memory_estimate_bytes=2 * GIB)
    await whole.register("b", Grower(level, 3 * GIB), memory_estimate_bytes=3 * GIB)
    await whole.complete("a", "Hello")
    await whole.unload("a")
    pool = whole.status().pools[0]
    assert (pool.used, pool.quarantined) == (GIB, GIB)
    await whole.load("b")
    assert await whole.used_bytes() == 4 * GIB
    await whole.unload("b")
    heard = whole.events()
    level.now -= GIB
    async for event in heard:
        if event.kind is EventKind.Reclaimed:
            assert (event.id, event.bytes) == ("a", {"cpu": GIB})
            break
    assert await whole.used_bytes() == 0


async def test_memory_that_other_programs_took_is_noticed_before_a_load():
    level = Level(available=int(1.5 * GIB))
    whole = ModelManager(8, measure=level, learn=False)
    await whole.register("a", Grower(level, GIB), memory_estimate_bytes=GIB, pinned=True)
    await whole.register("b", Grower(level, 2 * GIB), memory_estimate_bytes=2 * GIB)
    await whole.load("a")
    with pytest.raises(BudgetError, match="other programs took"):
        await whole.load("b")
    assert whole.status().pools[0].foreign > 0
    level.left = 3 * GIB
    await whole.load("b")
    await whole.unload_all()


async def test_a_model_far_over_its_size_and_the_budget_goes_again():
    level = Level()
    whole = ModelManager(2, measure=level, learn=False)
    await whole.register("a", Grower(level, 3 * GIB), memory_estimate_bytes=GIB)
    with pytest.raises(BudgetError, match="far more than it was down for"):
        await whole.complete("a", "Hello")
    await whole.unload_all()
    assert await whole.used_bytes() == 0
    assert level.now == 0


# Cores


class Spinner(Grower):
    """A model that keeps cores busy, and can do with any number of them."""

    def __init__(self, level, threads):
        super().__init__(level, 0)
        self.threads, self.shares = threads, []

    def share_threads(self, threads):
        self.shares.append(threads)

    async def complete(self, messages, options=None):
        await messages.wait()
        return blazen.ModelResponse(content="ok")


async def test_engines_that_run_at_once_share_the_cores():
    level, gate = Level(), asyncio.Event()
    whole = ModelManager(1, measure=False, cores=4)
    first, second = Spinner(level, 4), Spinner(level, 4)
    await whole.register("first", first, memory_estimate_bytes=1)
    await whole.register("second", second, memory_estimate_bytes=1)
    alone = asyncio.ensure_future(whole.complete("first", gate))
    while not first.shares:
        await asyncio.sleep(0)
    assert first.shares == [4]
    beside = asyncio.ensure_future(whole.complete("second", gate))
    while not second.shares:
        await asyncio.sleep(0)
    assert (first.shares, second.shares) == ([4, 2], [2])
    assert whole.status().cores_used == 2
    gate.set()
    await asyncio.gather(alone, beside)
    assert whole.status().cores_used == 0


class Fixed(Spinner):
    share_threads = None


async def test_engines_whose_threads_are_fixed_take_turns_rather_than_collapse():
    level, gate, other = Level(), asyncio.Event(), asyncio.Event()
    whole = ModelManager(1, measure=False, cores=4)
    await whole.register("first", Fixed(level, 3), memory_estimate_bytes=1)
    await whole.register("second", Fixed(level, 3), memory_estimate_bytes=1)
    running = asyncio.ensure_future(whole.complete("first", gate))
    while not whole.status().cores_used:
        await asyncio.sleep(0)
    waiting = asyncio.ensure_future(whole.complete("second", other))
    while not whole.status().waiting:
        await asyncio.sleep(0)
    assert whole.status().cores_used == 3
    # A lease alone keeps no core busy.
    async with whole.lease("second"):
        pass
    gate.set()
    await running
    other.set()
    await waiting


@pytest.mark.needs("mistralrs", "fastembed", "starter:chat", "starter:embed")
def test_the_first_documentation_runs_with_a_stand_in_for_the_cloud(snippets, monkeypatch, capsys):
    class OpenAiProvider(Remote):
        def __init__(self, options):
            super().__init__()

    monkeypatch.setattr(blazen, "OpenAiProvider", OpenAiProvider, raising=False)
    monkeypatch.setattr(blazen, "ProviderOptions", dict, raising=False)
    path = Path(__file__).parents[1] / "seed" / "model_manager.py"
    snippets(path.read_text("utf-8") + "\nprint(cloud.content, '/', local.content)\n", path)
    assert re.search(r"from afar / \S", capsys.readouterr().out)


# What strangers stumbled over


def test_blocking_callers_are_told_too_that_they_would_wait_for_themselves():
    whole = blazen.blocking(manager(2))
    for name in ("a", "b", "c"):
        whole.register(name, echo(name), memory_estimate_bytes=GIB)
    with whole.lease("a"), whole.lease("b"):
        with pytest.raises(BudgetError, match="would wait for itself"):
            whole.complete("c", "Hello")
        with pytest.raises(BlazenError, match="has a lease on it"):
            whole.unload("a")
    assert whole.complete("c", "Hello").content == "Hello"
    assert "a" in whole
    assert len(whole) == 3
    whole.unload_all()


def test_blocking_callers_hear_events():
    whole = blazen.blocking(manager())
    whole.register("a", echo(), memory_estimate_bytes=GIB)
    heard = whole.events()
    whole.load("a")
    kinds = []
    for event in heard:
        kinds.append(event.kind)
        if event.kind is EventKind.Loaded:
            break
    assert EventKind.Loading in kinds
    whole.unload_all()


async def test_a_chat_model_of_one_method_has_the_other():
    class Whole:
        async def complete(self, messages, options=None):
            return blazen.ModelResponse(content="in one piece")

    class Pieces:
        def complete_stream(self, messages, options=None):
            return Remote("in two").complete_stream(messages, options)

    whole = manager()
    await whole.register("whole", Whole())
    await whole.register("pieces", Pieces())
    stream = whole.complete_stream("whole", "Hello")
    assert [chunk.content async for chunk in stream] == ["in one piece"]
    assert (await whole.complete("pieces", "Hello")).content == "in two "


async def test_a_loaded_model_with_a_part_for_each_request_is_not_passed_over():
    whole = manager(4)
    parts = Footprint({"cpu": GIB}, per_request={"cpu": GIB})
    await whole.register("a", echo(load_delay=0.05), footprint=parts, fallback="b", deadline=0.01)
    await whole.register("b", Remote())
    await whole.load("a")
    assert (await whole.complete("a", "Hello")).route.answered == "a"
    await whole.unload_all()


async def test_what_is_held_counts_whatever_ended_in_between():
    whole = await filled(4, gib=3)
    async with whole.lease("m0"):
        stream = await whole.complete_stream("m1", "one two")
        async with whole.lease("m2"):
            await stream.aclose()
            with pytest.raises(BlazenError, match="has a lease on it"):
                await whole.unload("m0")
    await whole.unload_all()


async def test_an_unload_that_takes_too_long_says_who_holds_the_model():
    whole = await filled(1)
    async with whole.lease("m0"):
        late = contextvars.Context().run(asyncio.ensure_future, whole.unload("m0", timeout=0.01))
        with pytest.raises(blazen.TimeoutError, match=r"'m0' was not unloaded.*in use by 1"):
            await late
    await whole.unload_all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"policy": "lru"}, "policy takes a function"),
        ({"learn": "fp.json"}, "learn takes True, False or LearnedFootprints"),
        ({"measure": "yes"}, "measure takes True, False or a Meter"),
    ],
)
def test_parts_of_the_wrong_kind_are_refused_at_once(settings, words):
    with pytest.raises(ValidationError, match=words):
        ModelManager(1, **settings)


async def test_a_request_with_odd_settings_is_refused():
    whole = await filled(1)
    with pytest.raises(ValidationError, match="fallback takes the names of models"):
        await whole.register("x", echo(), memory_estimate_bytes=1, fallback=Remote())
    with pytest.raises(ValidationError, match="timeout must be a number"):
        await whole.complete("m0", "Hello", timeout="5")
    with pytest.raises(ValidationError, match="priority must be a whole number"):
        await whole.complete("m0", "Hello", priority="high")
