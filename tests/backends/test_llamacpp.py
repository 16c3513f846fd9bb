"""llama.cpp through its low-level functions, on real weights."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
from pathlib import Path

import pytest

import blazen
from blazen import ChatMessage, CompletionOptions, FinishReason, Model, Prompt, Tool
from blazen.bridge import StreamJob
from blazen.errors import (
    BudgetError,
    ContextLengthError,
    LoadError,
    ModelNotFoundError,
    UnsupportedError,
    ValidationError,
)
from blazen.testing import ModelSuite, TextModelSuite
from blazen.types.response_format import ResponseFormat
from blazen.weights.gguf import read_gguf
from blazen_llamacpp.library import load_library
from blazen_llamacpp.line import Line
from blazen_llamacpp.loading import kv_settings, open_context, open_model
from blazen_llamacpp.request import Request
from blazen_llamacpp.sampling import Candidates, Sampler
from blazen_llamacpp.speculation import LookupDrafter
from blazen_llamacpp.vocabulary import Vocabulary
from tests.backends.briefly import Briefly, OneByOne, OneWay
from tests.backends.isolated import ApartStreams
from tests.backends.quick import write_quick
from tests.gguf_lora import write_lora
from tests.programs import check_footprint, run_python

pytestmark = pytest.mark.needs("llamacpp", "starter:chat")

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360000002000001e221bc330000000049454e44ae426082"
)
COLD = CompletionOptions(max_tokens=12, temperature=0)
STORY = "Write a short story about a lighthouse, a storm and a very old boat."


def build(target="starter:chat", **settings):
    return Model.llamacpp(
        target, **{"context_length": 1024, "threads": 1, "device": "cpu", **settings}
    )


def cold(max_tokens, **more):
    return CompletionOptions(max_tokens=max_tokens, temperature=0, **more)


class _Chat(ModelSuite):
    """The shipped suite, with what a model of this size needs."""

    max_tokens = 12
    long_max_tokens = 32


class TestOneByOne(_Chat):
    """The suite, whole: one at a time, an answer never depends on what was before."""

    concurrency = 8
    too_long_prompt = "word " * 3000

    @pytest.fixture
    def model(self, alone):
        return alone

    @pytest.fixture
    def broken_model(self):
        return build


class _Together(_Chat):
    """The suite for several at once, whose sums the engine takes in an order of its own.

    Rounding may then turn an answer; so each is held to a text of its own by a grammar.
    """

    @pytest.fixture
    def model(self, loaded):
        return loaded

    def held(self, question):
        prompt, length = question
        text = f"{prompt[:2]} " * (length // 4)
        shape = ResponseFormat.grammar(f'root ::= "{text}"')
        return self.say(prompt), self.options(length * 2, response_format=shape)

    async def ask(self, model, question):
        return await model.complete(*self.held(question))

    def stream(self, model, question):
        return model.complete_stream(*self.held(question))

    def same(self, answer, expected):
        def essence(whole):
            return whole.content, whole.finish_reason, whole.usage.prompt_tokens

        return essence(answer) == essence(expected)

    async def test_stop_texts_end_an_answer(self, model):
        answer = await model.complete(STORY, cold(64, stop=[" the"]))
        assert " the" not in answer.content
        assert answer.finish_reason is FinishReason.Stop

    async def test_messages_are_taken_in_every_form(self, model):
        messages = [[{"role": "user", "content": STORY}], [ChatMessage.user(STORY)], STORY]
        answers = [await model.complete(message, COLD) for message in messages]
        assert len({answer.usage.prompt_tokens for answer in answers}) == 1


class TestTogether(Briefly, OneWay, _Together):
    """What several at once may change; what one alone is answered, the others show."""

    concurrency = 12  # of which eight have a place

    test_an_answer_fits_its_schema = None
    test_an_answer_is_json = None
    test_a_required_tool_is_called = None
    test_a_named_tool_is_called = None
    test_a_tools_answer_is_read = None


class TestTogetherApart(Briefly, ApartStreams, _Together):
    """All of it, in a process of its own."""

    concurrency = 6


@pytest.mark.needs("starter:text")
class TestBaseModel(Briefly, OneByOne, OneWay, TextModelSuite):
    """The suite for a model without a template."""

    max_tokens = 12
    long_max_tokens = 32
    too_long_prompt = "word " * 3000

    @pytest.fixture
    def model(self, base):
        return base


@pytest.fixture(scope="module")
def base():
    model = build("starter:text", parallel=1)
    yield model
    blazen.blocking(model).unload()


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    return write_quick(tmp_path_factory.mktemp("quick") / "quick.gguf")


@pytest.fixture(scope="module")
def alone():
    model = build(parallel=1)
    yield model
    blazen.blocking(model).unload()


@pytest.fixture(scope="module")
def loaded():
    model = build()
    yield model
    blazen.blocking(model).unload()


async def test_it_answers_sensibly(loaded):
    answer = await loaded.complete("Which animal says meow?", cold(24))
    assert "cat" in answer.content
    assert answer.timing.tokens_per_second > 0
    assert answer.timing.first_token >= answer.timing.prompt > 0
    assert "blue" in (await loaded.complete("What color is the sky?", cold(24))).content


async def test_the_models_own_end_ends_an_answer(loaded):
    # How long it goes on by itself depends on the processor that the engine was compiled for.
    end = read_gguf(_starter()).tokenizer.eos_id
    answer = await loaded.complete("Tell a story.", cold(24, logit_bias={end: 100.0}))
    assert (answer.content, answer.finish_reason) == ("", FinishReason.Stop)


async def test_what_was_said_before_is_heard(loaded):
    dog = [
        ChatMessage.system("You are a helpful assistant."),
        ChatMessage.user("I have a dog called Rex."),
        ChatMessage.assistant("Rex is a fine name for a dog."),
        ChatMessage.user("What is my dog called?"),
    ]
    assert "Rex" in (await loaded.complete(dog, COLD)).content


async def test_a_stop_text_ends_the_answer_and_never_shows(loaded):
    whole = (await loaded.complete("Count: one, two, three", cold(40))).content
    stop = whole[8:12]
    stream = loaded.complete_stream("Count: one, two, three", cold(40, stop=[stop]))
    assert "".join([chunk.content or "" async for chunk in stream]) == whole[: whole.index(stop)]


async def test_a_seed_repeats_an_answer_and_another_one_changes_it(loaded):
    async def story(seed):
        options = CompletionOptions(max_tokens=16, temperature=1.5, seed=seed)
        return (await loaded.complete("Tell a story.", options)).content

    assert await story(1) == await story(1)
    assert len({await story(seed) for seed in (2, None, None, 2**32 - 1)}) > 1


@pytest.mark.parametrize(
    "settings",
    [
        {"mirostat": 1},
        {"mirostat": 2, "mirostat_tau": 3.0, "mirostat_eta": 0.2},
        {"typical_p": 0.9, "top_k": 0, "min_p": 0.0, "top_p": 1.0},
        {"repeat_penalty": 1.2, "presence_penalty": 0.5, "frequency_penalty": 0.5},
    ],
    ids=str,
)
async def test_every_way_of_sampling_answers_and_repeats_by_its_seed(loaded, settings):
    options = CompletionOptions(max_tokens=10, seed=7, **settings)
    first = await loaded.complete("Tell a story.", options)
    assert first.content
    assert (await loaded.complete("Tell a story.", options)).content == first.content


async def test_a_bias_forbids_and_forces_tokens(loaded):
    options = CompletionOptions(max_tokens=4, temperature=0, logit_bias={28: 100.0})
    forced = await loaded.complete(Prompt("The sky is"), options)
    assert len(set(forced.content)) == 1
    with pytest.raises(ValidationError, match="49152"):
        await loaded.complete("x", CompletionOptions(logit_bias={49152: 1.0}))
    with pytest.raises(ValidationError, match="repeat_penalty"):
        await loaded.complete("x", CompletionOptions(repeat_penalty=0))


async def test_likelihoods_are_those_of_the_model(loaded):
    greedy = CompletionOptions(max_tokens=6, temperature=0, logprobs=3)
    answer = await loaded.complete(STORY, greedy)
    assert len(answer.logprobs) == answer.usage.completion_tokens
    assert "".join(token.text for token in answer.logprobs) == answer.content
    for token in answer.logprobs:
        assert token.logprob == token.top[0].logprob <= 0
        assert [t.logprob for t in token.top] == sorted(t.logprob for t in token.top)[::-1]
    # The settings of the sampling change what is chosen, and not what the model thinks.
    hot = CompletionOptions(max_tokens=1, temperature=1.5, top_k=5, seed=3, logprobs=3)
    assert (await loaded.complete(STORY, hot)).logprobs[0].top == answer.logprobs[0].top


async def test_characters_are_never_split_between_chunks(loaded):
    prompt = "Repeat exactly: 🌍🦩🎈 čšž 日本語 🌍🦩🎈 čšž 日本語"
    pieces = [c.content or "" async for c in loaded.complete_stream(prompt, cold(48))]
    assert "�" not in "".join(pieces)


async def test_a_grammar_holds_the_answer(loaded):
    yes = ResponseFormat.grammar('root ::= "yes, " ("my friend" | "sir")')
    answer = await loaded.complete("Is the sky blue?", cold(20, response_format=yes))
    assert answer.content in ("yes, my friend", "yes, sir")
    assert answer.finish_reason is FinishReason.Stop
    free = CompletionOptions(max_tokens=20, temperature=2.0, seed=1, response_format=yes)
    assert (await loaded.complete("Is it?", free)).content in ("yes, my friend", "yes, sir")
    raw = await loaded.complete(Prompt("I say:"), cold(20, response_format=yes))
    assert raw.content in ("yes, my friend", "yes, sir")


async def test_a_grammar_that_can_not_be_read_is_refused_before_work(loaded):
    broken = ResponseFormat.grammar("root ::= nothing-of-this-name")
    with pytest.raises(ValidationError, match="grammar"):
        await loaded.complete("Hello", cold(5, response_format=broken))
    assert (await loaded.complete("Hello", COLD)).content


def test_a_lazy_grammar_is_in_force_from_its_trigger_on():
    model = open_model(_starter(), device=blazen.Device.Cpu, gpu_layers=0)
    try:
        vocabulary = Vocabulary(model)
        candidates = Candidates(vocabulary.size)
        gbnf = 'root ::= "<call>" "abc"'
        sampler = Sampler(vocabulary, COLD, lazy_grammar=gbnf, triggers=("<call>", "[call]"))
        a, b = (vocabulary.tokenize(letter)[0] for letter in "ab")
        for token in vocabulary.tokenize("Well, a <call"):
            sampler._watch(token, candidates)
            assert sampler._grammar is None
        sampler._watch(vocabulary.tokenize(">")[0], candidates)
        assert candidates.allows(sampler._grammar, a)
        assert not candidates.allows(sampler._grammar, b)
        sampler.close()
        # What begins like a call and is none is left as it is.
        sampler = Sampler(vocabulary, COLD, lazy_grammar=gbnf, triggers=("<call>", "[call]"))
        for token in vocabulary.tokenize("Well, a [call]"):
            sampler._watch(token, candidates)
        assert sampler._grammar is None
        sampler.close()
        with pytest.raises(ValidationError, match="grammar"):
            Sampler(vocabulary, COLD, lazy_grammar="nonsense", triggers=("<call>",))
    finally:
        load_library().llama_model_free(model)


async def test_a_required_tool_is_called(loaded):
    def weather(city: str) -> str:
        """Tell the weather of a city."""
        return city

    options = cold(60, tools=[weather], tool_choice="required", parallel_tool_calls=False)
    answer = await loaded.complete("What is the weather in Paris?", options)
    assert [call.name for call in answer.tool_calls] == ["weather"]
    assert isinstance(answer.tool_calls[0].parsed(weather)["city"], str)
    assert answer.finish_reason is FinishReason.ToolCalls


async def test_a_prompt_beyond_the_context_is_refused_with_both_numbers(quick):
    async with build(quick) as model:
        with pytest.raises(ContextLengthError, match="1024") as caught:
            await model.complete("word " * 3000, COLD)
        assert caught.value.limit == 1024
        assert caught.value.tokens > 3000
        with pytest.raises(ContextLengthError):
            await model.complete(Prompt([5] * 1024), COLD)
        fits = await model.complete(Prompt([5] * 1023), cold(5))
        assert (fits.usage.completion_tokens, fits.finish_reason) == (1, FinishReason.Length)


@pytest.mark.parametrize("given", ["word " * 2**20, Prompt("ab " * 2**20)], ids=["chat", "prompt"])
async def test_a_text_that_can_not_fit_is_refused_unread(loaded, given):
    with pytest.raises(ContextLengthError, match="characters and the context holds") as caught:
        await loaded.complete(given, COLD)
    assert caught.value.tokens is None  # nobody counted


async def test_bare_tokens_are_taken_as_they_are(loaded):
    # The fourth word is as good as chosen by rounding, which depends on what was read before.
    text = await loaded.complete(Prompt("The sky is"), cold(3))
    tokens = await loaded.complete(Prompt([504, 6376, 314]), cold(3))
    assert tokens.usage.prompt_tokens == text.usage.prompt_tokens == 3
    assert tokens.content == text.content
    with pytest.raises(ValidationError, match="49152"):
        await loaded.complete(Prompt([49152]), COLD)
    with pytest.raises(ValidationError, match="empty"):
        await loaded.complete(Prompt(""), COLD)
    with pytest.raises(UnsupportedError, match="tools"):
        await loaded.complete(Prompt("x"), CompletionOptions(tools=[Tool("a")]))


@pytest.mark.needs("starter:text")
async def test_a_base_model_goes_on_with_texts_and_is_not_guessed_a_template():
    async with build("starter:text", context_length=256) as model:
        answer = await model.complete(Prompt("The capital of France is"), cold(6))
        assert len(answer.content.split()) > 2
        # The engine itself would put a second BOS before one that is written.
        written = await model.complete(Prompt("<bos>The capital of France is"), cold(6))
        assert written.usage.prompt_tokens == answer.usage.prompt_tokens
        assert written.content == answer.content
        with pytest.raises(UnsupportedError, match="no chat template"):
            await model.complete("Hello", COLD)
    template = "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}"
    async with build("starter:text", context_length=256, chat_template=template) as model:
        answer = await model.complete("The capital of France is", cold(6))
        assert answer.usage.prompt_tokens == written.usage.prompt_tokens


async def test_a_prompt_seen_before_is_not_read_again(loaded):
    prompt = "Remember this. " + "The heron stands in the reeds. " * 12
    await loaded.complete(prompt, COLD)
    again = await loaded.complete(prompt, COLD)
    assert again.usage.cached_tokens == again.usage.prompt_tokens - 1
    other = await loaded.complete(prompt + "And now?", COLD)
    assert 0.8 * other.usage.prompt_tokens < other.usage.cached_tokens


async def test_a_beginning_is_shared_with_a_request_that_still_runs():
    async with build(parallel=2) as model:
        text = "The heron stands in the reeds. " * 12
        first = model.complete_stream(text + "One.", cold(40))
        await anext(first)
        second = await model.complete(text + "Two.", cold(4))
        assert second.usage.cached_tokens > 0.8 * second.usage.prompt_tokens
        rest = [chunk async for chunk in first]
        assert rest[-1].usage.completion_tokens == 40
        assert "".join(c.content or "" for c in rest)


async def test_a_long_prompt_starves_no_one():
    """Who writes goes on writing, and a short prompt overtakes the long one."""
    async with build(parallel=3) as model:
        order = []

        async def ask(name, prompt, options):
            await model.complete(prompt, options)
            order.append(name)

        async with model.complete_stream(STORY, cold(200)) as writer:
            await anext(writer)
            long = asyncio.create_task(ask("long", "word " * 500, cold(1)))
            short = asyncio.create_task(ask("short", "Which animal says meow?", cold(1)))
            async for chunk in writer:
                order.append("writer" if chunk.content else "")
                if "long" in order:
                    break
            await asyncio.gather(long, short)
        assert order.index("short") < order.index("long")
        assert order[: order.index("long")].count("writer") >= 4


async def test_more_than_fits_gives_way_and_goes_on_later(quick, monkeypatch):
    """Four of 40 + 90 tokens in 256 cells: the youngest are read anew, unseen by their readers."""
    gave_way = []
    give_way = Line._give_way
    monkeypatch.setattr(Line, "_give_way", lambda line: gave_way.append(give_way(line)))
    async with build(quick, parallel=4, context_length=256) as model:
        prompts = [f"{number}. {STORY}" for number in range(4)]
        answers = await asyncio.gather(*(model.complete(p, cold(90)) for p in prompts))
        for answer in answers:
            assert answer.usage.completion_tokens <= 90
            assert answer.finish_reason in (FinishReason.Length, FinishReason.Stop)
            assert len(answer.content) > 100
        assert gave_way
        alone = await model.complete(prompts[0], COLD)
        assert alone.content[:8] == answers[0].content[:8]


async def test_many_prompts_at_once_fit_into_a_small_context(quick):
    """The engine ends the process where a step is larger than it made room for."""
    async with build(quick, parallel=8, context_length=100) as model:
        prompts = [Prompt([100 + n, *range(200, 270)]) for n in range(8)]
        answers = await asyncio.gather(*(model.complete(p, cold(4)) for p in prompts))
    assert all(answer.usage.completion_tokens == 4 for answer in answers)


async def test_a_slow_reader_holds_up_no_one(quick, monkeypatch):
    monkeypatch.setattr(StreamJob.__init__, "__defaults__", (4,))
    async with build(quick, parallel=2) as model:
        slow = model.complete_stream(STORY, cold(60))
        await anext(slow)
        quick = await model.complete("Count to one hundred.", cold(30))
        assert quick.usage.completion_tokens == 30
        text = "".join([chunk.content or "" async for chunk in slow])
        assert slow.response.usage.completion_tokens == 60
        assert len(text) > 60
        # Those who wait for a place do not wait for the slow readers of others.
        streams = [model.complete_stream(f"{n}. {STORY}", cold(30)) for n in range(2)]
        for stream in streams:
            await anext(stream)
        assert (await model.complete("Hello", COLD)).content
        for stream in streams:
            await stream.aclose()


async def test_cancelling_while_the_prompt_is_read_ends_at_once(loaded):
    await loaded.load()
    prompt = "word " * 900
    task = asyncio.create_task(loaded.complete(prompt, cold(1)))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    answer = await loaded.complete(prompt, cold(1))
    assert answer.usage.cached_tokens < 600, "the engine read the whole prompt for no one"
    assert answer.usage.completion_tokens == 1


async def test_two_hundred_requests_of_which_a_third_is_cancelled(quick):
    random_ = random.Random(5)
    before = set(threading.enumerate())
    async with build(quick, parallel=8) as model:

        async def ask(number):
            options = CompletionOptions(
                max_tokens=random_.randint(1, 5),
                temperature=random_.choice([0, 1]),
                stop=["zzz"] if number % 5 == 0 else (),
                logprobs=1 if number % 7 == 0 else None,
            )
            prompt = Prompt("Once upon a time " * random_.randint(1, 20) + str(number))
            return await model.complete(prompt, options)

        tasks = [asyncio.create_task(ask(number)) for number in range(200)]
        cancelled = random_.sample(range(200), 66)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for number in cancelled:
            tasks[number].cancel()
            await asyncio.sleep(0)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for number, result in enumerate(results):
            if isinstance(result, asyncio.CancelledError):
                assert number in cancelled
            else:
                assert result.usage.completion_tokens >= 1
        engine = model._loading.thread.engine.engine
        assert all(slot.request is None for slot in engine._cache.slots)
        assert engine._line.is_empty
        assert (await model.complete("Hello", COLD)).content
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive(), thread


@pytest.mark.parametrize("guess", [{"prompt_lookup": True}, {"draft_model": "starter:chat"}])
async def test_guesses_change_no_answer(guess):
    prompt = "Repeat this three times: the heron stands in the green reeds."
    shape = ResponseFormat.grammar('root ::= ("the heron stands in the green reeds. ")+')
    async with build(parallel=1, context_length=512) as model:
        plain = await model.complete(prompt, cold(60))
        held = await model.complete(prompt, cold(40, response_format=shape, logprobs=0))
        dice = await model.complete(prompt, CompletionOptions(max_tokens=30, seed=4))
    async with build(parallel=1, context_length=512, **guess) as model:
        assert (await model.complete(prompt, cold(60))).content == plain.content
        again = await model.complete(prompt, cold(40, response_format=shape, logprobs=0))
        assert again.content == held.content
        assert len(again.logprobs) == again.usage.completion_tokens == held.usage.completion_tokens
        options = CompletionOptions(max_tokens=30, seed=4)
        assert (await model.complete(prompt, options)).content == dice.content
        longest = await model.complete(prompt, CompletionOptions(temperature=0))
        assert longest.usage.total_tokens <= 513


async def test_many_who_guess_at_once_stay_within_the_engines_room(quick):
    """The engine ends the process where a step has more outputs than it made room for."""
    guessing = {"prompt_lookup": True, "draft_length": 1}
    async with build(quick, parallel=8, context_length=512, **guessing) as model:
        prompts = [Prompt([100 + n] + [504, 6376, 314] * 6) for n in range(8)]
        answers = await asyncio.gather(*(model.complete(p, cold(8)) for p in prompts))
    assert all(answer.usage.completion_tokens == 8 for answer in answers)


@pytest.mark.needs("starter:text")
async def test_a_draft_model_of_another_vocabulary_is_refused():
    with pytest.raises(UnsupportedError, match="another vocabulary"):
        await build(draft_model="starter:text").load()


async def test_a_full_context_ends_an_answer_or_moves_on(quick):
    async with build(quick, parallel=2, context_length=64) as model:
        answer = await model.complete(Prompt("One, two, three,"), cold(200))
        assert answer.finish_reason is FinishReason.Length
        assert answer.usage.total_tokens == 64
    async with build(quick, parallel=2, context_length=64, context_shift=True) as model:
        answers = await asyncio.gather(
            *(model.complete(Prompt(f"{n}, two, three, four,"), cold(120)) for n in range(2))
        )
        for answer in answers:
            assert answer.usage.completion_tokens > 64
            assert answer.content


async def test_guessing_goes_on_where_old_answers_fill_the_cache(quick, monkeypatch):
    rooms, draft = [], LookupDrafter.draft

    def watched(drafter, slots, room):
        rooms.extend(map(room, slots))
        return draft(drafter, slots, room)

    monkeypatch.setattr(LookupDrafter, "draft", watched)
    async with build(quick, parallel=2, context_length=256, prompt_lookup=True) as model:
        engine = model._loading.thread.engine.engine
        await model.complete(Prompt([100, *range(300, 390)]), cold(1))
        await model.complete(Prompt([101, *range(300, 449)]), cold(1))
        assert engine._cache.room < 32
        rooms.clear()
        await model.complete(Prompt([100, *range(300, 390)]), cold(20, logit_bias={28: 100.0}))
        assert rooms[0] >= 18


async def test_what_moved_in_a_full_context_is_no_beginning_for_others():
    """It was read by a model that still knew what the context has forgotten since."""
    comma = 28
    prompt = Prompt([504, 6376, 314] + [comma] * 45)
    async with build(parallel=1, context_length=64, context_shift=True) as model:
        fresh = await model.complete(prompt, cold(8))
        await model.set_adapters([])
        long = Prompt([504, 6376, 314] + [comma] * 10)
        await model.complete(long, cold(90, logit_bias={comma: 100.0}))
        again = await model.complete(prompt, cold(8))
        assert again.usage.cached_tokens >= 13, "what was there before the shift is of use"
        assert again.content == fresh.content


async def test_settings_of_the_cache_are_taken():
    settings = {"kv_type": "q8_0", "flash_attention": True, "memory_map": False, "batch_size": 32}
    async with build(**settings) as model:
        assert "cat" in (await model.complete("Which animal says meow?", cold(24))).content
    with pytest.raises(ValidationError, match="flash_attention"):
        await build(kv_type="q8_0", flash_attention=False).load()


async def test_what_the_backend_can_not_do_is_refused_before_work():
    model = build()
    with pytest.raises(UnsupportedError, match="audio"):
        model.complete_stream([ChatMessage.user("Listen", blazen.Audio.from_bytes(b"RIFF"))])
    with pytest.raises(UnsupportedError, match="xllamacpp"):
        model.complete_stream([ChatMessage.user("Look", blazen.Image.from_bytes(PNG))])
    with pytest.raises(UnsupportedError, match="xllamacpp"):
        build(projector="mmproj.gguf")
    assert not model.is_loaded


@pytest.mark.parametrize("wish", [{"device": "cuda:7"}, {"gpu_layers": 5}])
async def test_a_gpu_that_is_not_there_is_refused(wish):
    with pytest.raises(UnsupportedError):
        await build(**wish).load()


async def test_more_context_than_the_model_knows_is_refused():
    with pytest.raises(ValidationError, match="at most 8192"):
        await build(context_length=20_000).load()


async def test_a_name_that_leads_nowhere(tmp_path):
    with pytest.raises(ModelNotFoundError):
        await build(tmp_path / "none.gguf").load()


def _starter():
    from blazen.weights.starter import starter_path

    return Path(starter_path("chat"))


async def test_a_file_that_llama_cpp_can_not_load_says_so_in_its_words(tmp_path):
    data = _starter().read_bytes()
    (tmp_path / "cut.gguf").write_bytes(data[:5_000_000])
    with pytest.raises((LoadError, ValidationError), match=r"cut\.gguf"):
        await build(tmp_path / "cut.gguf").load()
    (tmp_path / "odd.gguf").write_bytes(
        data.replace(b"blk.7.attn_q.weight", b"blk.7.attn_x.weight")
    )
    model = build(tmp_path / "odd.gguf")
    for _ in range(2):
        with pytest.raises(LoadError, match=r"attn_q\.weight"):
            await model.load()
    assert not model.is_loaded


def test_a_context_that_can_not_be_is_told_in_the_engines_words():
    path = _starter()
    model = open_model(path, device=blazen.Device.Cpu, gpu_layers=0)
    try:
        with pytest.raises(LoadError, match="V cache"):
            open_context(model, path, n_ctx=256, **kv_settings(("f16", "q8_0"), False))
    finally:
        load_library().llama_model_free(model)


async def test_a_context_beyond_the_memory_is_refused_before_it_is_tried(tmp_path):
    key = b"llama.context_length" + (4).to_bytes(4, "little")
    data = _starter().read_bytes()
    at = data.index(key) + len(key)
    (tmp_path / "vast.gguf").write_bytes(data[:at] + (10**9).to_bytes(4, "little") + data[at + 4 :])
    with pytest.raises(BudgetError, match="context"):
        await build(tmp_path / "vast.gguf", context_length=10**9).load()


async def test_adapters_are_applied_and_swapped_while_loaded(tmp_path):
    path = write_lora(tmp_path / "adapter.gguf", _starter())
    async with build(parallel=2, lora=[path]) as model:
        bent = (await model.complete(STORY, COLD)).content
        running = model.complete_stream(STORY, cold(20))
        await anext(running)
        await model.set_adapters([])
        assert (await running.collect()).content.startswith(bent[:8])
        straight = await model.complete(STORY, COLD)
        assert straight.content != bent
        assert straight.usage.cached_tokens == 0, "what the adapter read is of no use without it"
        await model.set_adapters([blazen.LoraAdapter(path, scale=1.0)])
        assert (await model.complete(STORY, COLD)).content == bent
        (tmp_path / "none.gguf").write_bytes(b"GGUF nothing")
        with pytest.raises(LoadError, match=r"none\.gguf"):
            await model.set_adapters([tmp_path / "none.gguf"])
        assert (await model.complete(STORY, COLD)).content == bent


async def test_adapters_are_not_swapped_in_the_middle_of_an_answer_that_gave_way(
    quick, monkeypatch
):
    seen, gave_way = [], asyncio.Event()
    loop, give_way, finish = asyncio.get_running_loop(), Line._give_way, Request.finish

    def tell(line):
        give_way(line)
        loop.call_soon_threadsafe(gave_way.set)

    def ended(request, reason):
        seen.append("ended")
        finish(request, reason)

    monkeypatch.setattr(Line, "_give_way", tell)
    monkeypatch.setattr(Request, "finish", ended)
    monkeypatch.setattr(
        "blazen_llamacpp.model.apply_adapters", lambda context, adapters: seen.append("swapped")
    )
    async with build(quick, parallel=3, context_length=256, batch_size=16) as model:
        prompts = [Prompt([100 + n, *range(300, 390)]) for n in range(2)]
        options = cold(100, logit_bias={28: 100.0})
        tasks = [asyncio.create_task(model.complete(p, options)) for p in prompts]
        await gave_way.wait()
        await model.set_adapters([])
        await asyncio.gather(*tasks)
    assert seen == ["ended", "ended", "swapped"]


async def test_adapters_that_are_swapped_out_or_refused_are_freed(tmp_path, monkeypatch):
    library, living = load_library(), []
    open_, free = library.llama_adapter_lora_init, library.llama_adapter_lora_free

    def opened(*given):
        adapter = open_(*given)
        if adapter:
            living.append(adapter)
        return adapter

    def freed(adapter):
        living.remove(adapter)
        free(adapter)

    monkeypatch.setattr(library, "llama_adapter_lora_init", opened)
    monkeypatch.setattr(library, "llama_adapter_lora_free", freed)
    path = write_lora(tmp_path / "adapter.gguf", _starter())
    (tmp_path / "none.gguf").write_bytes(b"GGUF nothing")
    async with build(parallel=2, lora=[path]) as model:
        for _ in range(3):
            await model.set_adapters([path])
            assert len(living) == 1
        with pytest.raises(LoadError):
            await model.set_adapters([path, tmp_path / "none.gguf"])
        assert len(living) == 1
        await model.set_adapters([])
        assert not living


async def test_who_no_longer_waits_for_a_swap_of_adapters_gets_none(tmp_path):
    path = write_lora(tmp_path / "adapter.gguf", _starter())
    async with build(parallel=2) as model:
        straight = (await model.complete(STORY, COLD)).content
        async with model.complete_stream(STORY, cold(800)) as running:
            await anext(running)
            swap = asyncio.create_task(model.set_adapters([path]))
            engine = model._loading.thread.engine.engine
            while not engine._line._changes:
                await anext(running)
            swap.cancel()
            with pytest.raises(asyncio.CancelledError):
                await swap
            await anext(running)
        assert (await model.complete(STORY, COLD)).content == straight


def test_nothing_is_printed_and_the_log_hears_the_engine():
    code = """
    import asyncio, logging, blazen
    lines = []
    class Keep(logging.Handler):
        def emit(self, record): lines.append(record)
    log = logging.getLogger("blazen.llamacpp")
    log.addHandler(Keep()); log.setLevel(logging.DEBUG)
    async def main():
        async with blazen.Model.llamacpp("starter:chat", context_length=512, threads=1) as model:
            await model.complete("Hello", {"max_tokens": 2})
    asyncio.run(main())
    assert any("n_ctx" in line.getMessage() for line in lines)
    assert all(line.levelno < logging.WARNING for line in lines)
    print("end")
    """
    assert run_python(code, "-W", "error") == "end"


@pytest.mark.parametrize("when", ["loaded", "in mid-stream"])
def test_the_interpreter_ends_in_silence(when):
    code = f"""
    import asyncio, blazen
    async def main():
        model = blazen.Model.llamacpp("starter:chat", context_length=512, threads=1)
        stream = await model.complete_stream("Tell a long story.")
        await stream.__anext__()
        if {when == "loaded"}: await stream.aclose()
        return model, stream
    kept = asyncio.run(main())
    print("end")
    """
    assert run_python(code, "-W", "error") == "end"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process had at most")
@pytest.mark.needs("starter:text")
@pytest.mark.parametrize("target", ["starter:chat", "starter:text"])
def test_it_says_what_it_takes(target):
    check_footprint("Model", f"llamacpp:{target}", more=4)


async def test_what_has_no_room_is_sized_all_the_same(monkeypatch):
    from blazen.hardware import Memory
    from blazen.weights.gguf import placement

    model = build(context_length=4096, kv_type="f32", parallel=2)
    before = await model.footprint()
    monkeypatch.setattr(placement, "memory", lambda: Memory(64 << 20, 32 << 20))
    with pytest.raises(BudgetError):
        await model.load()
    assert await model.footprint() == before
    assert before.resident["cpu"] > 180 << 20


async def test_a_draft_model_is_counted_too():
    alone, drafted = build(), build(draft_model="starter:chat")
    one, two = [await model.footprint() for model in (alone, drafted)]
    assert two.resident["cpu"] - one.resident["cpu"] > 92 << 20


async def test_threads_change_between_two_tokens_of_an_answer(monkeypatch):
    monkeypatch.setenv("BLAZEN_THREADS", "2")
    model = build(threads=None)
    model.share_threads(1)
    assert model.threads == 1
    library = load_library()
    seen = []
    before = library.llama_set_n_threads

    def note(context, threads, for_batches):
        seen.append((threads, for_batches))
        before(context, threads, for_batches)

    monkeypatch.setattr(library, "llama_set_n_threads", note)
    async with model:
        stream = model.complete_stream(Prompt("Once upon a time"), cold(200))
        async for _ in stream:
            if set(seen) == {(1, 1)}:
                model.share_threads(8)
            elif seen[-1] == (2, 2):
                break
        await stream.aclose()
    assert set(seen) == {(1, 1), (2, 2)}
    assert model.threads == 2
    with pytest.raises(ValidationError, match="threads"):
        model.share_threads(0)
