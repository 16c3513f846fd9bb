"""Kokoro on real weights."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import blazen
from blazen import TTS, KokoroOptions, VoiceInfo
from blazen.bridge import Job
from blazen.errors import (
    LoadError,
    MissingExtraError,
    ModelNotFoundError,
    UnsupportedError,
    ValidationError,
)
from blazen.hardware import Device, rss_bytes
from blazen.testing import TTSSuite
from tests.backends.briefly import Briefly
from tests.backends.isolated import ApartVoice
from tests.programs import check_footprint, run_python
from tests.weights.servers import Hub, standing_in

pytestmark = pytest.mark.needs("kokoro", "starter:speak-kokoro")

JAPANESE = ["jf_gongitsune", "jf_alpha", "jf_nezumi", "jf_tebukuro", "jm_kumo"]
SENTENCES = [
    "The lighthouse keeper counted seven ships.",
    "Nurses heard a bird near the chair.",
    "A little bottle of water, please!",
    "Joyful judges chose cheap oysters.",
    "Measure the mountain's shadow; then go home.",
]


def build(target="starter:speak-kokoro", **settings):
    return TTS.kokoro(target, threads=1, **settings)


def weights():
    from blazen.weights.starter import starter_path

    return starter_path("speak-kokoro")


class TestKokoro(TTSSuite):
    """The shipped suite, whole."""

    sentence = "Ships."
    holds_bytes = 88 << 20
    marks_pauses = True
    reads_numbers = True

    def questions(self, count):
        return [f"{name}." for name in ("Ships", "Boats", "Gulls", "Waves", "Rocks", "Sand")][
            :count
        ]

    def long_question(self):
        return " ".join(self.questions(6))

    @pytest.fixture
    def model(self, request, loaded, monkeypatch):
        """What it says is the same when it is said fast, and the making of it takes a quarter."""
        name, speed = request.node.name, 8.0
        if "speed" in name:
            speed = 1.0
        # How soon it stops is told from how long the whole takes, which must be long enough.
        elif "stops" in name:
            speed = 6.0
        monkeypatch.setattr(loaded, "options", dataclasses.replace(loaded.options, speed=speed))
        return loaded

    @pytest.fixture
    def broken_model(self):
        return build


class TestKokoroApart(Briefly, ApartVoice, TestKokoro):
    """The same in a process of its own."""


@pytest.fixture(scope="module")
def quick():
    """Says the same fast."""
    return build(speed=8.0)


@pytest.fixture(scope="module")
def loaded():
    model = build()
    yield model
    blazen.blocking(model).unload()


@pytest.fixture
def calls(monkeypatch):
    """What was given to the model, instead of its being run: a short sound for each symbol."""
    import numpy

    from blazen_kokoro.session import Session

    seen = []

    def run(self, job, tokens, style, speed):
        seen.append((tokens, style, speed))
        return numpy.full(24 * len(tokens), 0.5, dtype="float32")

    monkeypatch.setattr(Session, "run", run)
    return seen


def symbols(tokens):
    from blazen_kokoro.vocabulary import VOCABULARY

    names = {number: symbol for symbol, number in VOCABULARY.items()}
    return "".join(names[token] for token in tokens)


def phonemes(text, voice="en-us"):
    from blazen_kokoro.given import Given
    from blazen_kokoro.phonemes import to_phonemes

    return to_phonemes(text, voice, Given(()))


# Phonemes


@pytest.mark.parametrize(
    ("voice", "text", "expected"),
    [
        ("en-us", "The lighthouse keeper", "ðə lˈIthWs kˈipəɹ"),
        ("en-us", "A little bottle of water, please!", "ə lˈɪTᵊl bˈɑTᵊl ʌv wˈɔTəɹ, plˈiz!"),
        ("en-us", "Joyful judges chose bread", "ʤˈYfᵊl ʤˈʌʤᵻz ʧˈOz bɹˈɛd"),
        ("en-us", "Nurses heard her brother in the button shop", None),
        ("en-us", "ships in the bay", "ʃˈɪps ɪn ðə bˈA"),
        ("en", "No chair is near", "nˈQ ʧˈɛːɹ ɪz nˈɪə"),
        ("es", "¿Dónde está la llave?", "dˈonde estˈa la ʎˈaβe?"),
        ("it", "pizza", "pˈiʦːa"),
        ("pt-br", "coração", None),
        ("fr", "un bon vin", None),
        ("hi", "नमस्ते", None),
    ],
)
def test_espeaks_phonemes_become_those_that_kokoro_learnt(voice, text, expected):
    from blazen_kokoro.phonemes import in_vocabulary
    from blazen_kokoro.vocabulary import VOCABULARY

    found = in_vocabulary(phonemes(text, voice), VOCABULARY)
    assert found
    assert not set("^ɐɚ\u0329") & set(found) or voice not in ("en-us", "en")
    assert "ɹɹ" not in found
    if expected is not None:
        assert found == expected


def test_punctuation_is_kept_where_it_is_prosody():
    assert phonemes("Wait... what? (Yes: “no”; go — now!)") == (
        "wˈAt… wˌʌt? (jˈɛs: “nˈO”; ɡˈO — nˈW!)"
    )
    number = phonemes("version 3.5 of it")
    assert "." not in number
    assert "pYnt" in number


def test_the_vocabulary_is_that_of_the_weights(tmp_path):
    from blazen_kokoro.vocabulary import VOCABULARY, read_vocabulary

    assert read_vocabulary(weights().parent) == VOCABULARY
    assert read_vocabulary(tmp_path) == VOCABULARY
    (tmp_path / "tokenizer.json").write_text('{"model": {"vocab": {"$": 0, "a": 7}}}')
    assert read_vocabulary(tmp_path) == {"a": 7}
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ValidationError, match=r"tokenizer\.json"):
        read_vocabulary(tmp_path)


def test_phonemes_are_the_same_whoever_else_asks_at_the_time():
    """espeak is global to the process: without the lock texts of several threads mix."""
    asked = [(text, voice) for text in SENTENCES for voice in ("en-us", "en", "es", "it")]
    alone = [phonemes(*one) for one in asked]
    start = threading.Barrier(4)

    def work(shift):
        start.wait()
        order = asked[shift:] + asked[:shift]
        return [phonemes(*one) for _ in range(20) for one in order]

    with ThreadPoolExecutor(4) as pool:
        for shift, found in enumerate(pool.map(work, range(4))):
            assert found == (alone[shift:] + alone[:shift]) * 20


def test_a_broken_espeak_is_told(monkeypatch):
    from blazen_kokoro import espeak

    monkeypatch.setattr(espeak, "phonemes_of", lambda text, voice: "")
    with pytest.raises(LoadError, match="espeakng-loader"):
        espeak.check_espeak()
    espeak._library.cache_clear()
    monkeypatch.undo()
    import espeakng_loader

    monkeypatch.setattr(espeakng_loader, "get_library_path", lambda: "/nowhere/libespeak-ng.so")
    with pytest.raises(LoadError, match="nowhere"):
        espeak.phonemes_of("hello", "en-us")
    monkeypatch.undo()
    assert espeak.phonemes_of("hello", "en-us")
    with pytest.raises(UnsupportedError, match="tlh-x"):
        espeak.phonemes_of("hello", "tlh-x")


# Splitting


async def test_a_sentence_of_3000_words_is_split_and_never_cut_off(loaded, calls):
    words = ["river", "stone", "window", "candle", "thunder"] * 600
    await loaded.speak(" ".join(words))
    assert max(len(tokens) for tokens, _, _ in calls) <= 510
    said = " ".join(symbols(tokens) for tokens, _, _ in calls).split()
    expected = phonemes("river stone window candle thunder").split()
    strip = [word.replace("ˈ", "").replace("ˌ", "") for word in said]
    assert strip == [word.replace("ˈ", "").replace("ˌ", "") for word in expected] * 600


@pytest.mark.parametrize("text", ["a" * 3000, "9" * 400, "नमस्ते " * 400, "[[" + "a" * 2000 + "]]"])
async def test_no_text_gives_more_tokens_than_the_model_takes(loaded, calls, text):
    language = "hi" if "न" in text else "en-us"
    await loaded.speak(text, {"language": language})
    assert calls
    assert max(len(tokens) for tokens, _, _ in calls) <= 510
    if text.startswith("[["):
        assert "".join(symbols(tokens) for tokens, _, _ in calls) == "a" * 2000


async def test_slow_speech_has_fewer_tokens_in_a_call(loaded, calls):
    """The memory of a call grows with the length of its sound, not of its text."""
    text = "river stone window candle thunder " * 20
    await loaded.speak(text, {"speed": 0.1})
    slow = max(len(tokens) for tokens, _, _ in calls)
    calls.clear()
    await loaded.speak(text)
    assert slow <= 30 < max(len(tokens) for tokens, _, _ in calls)


async def test_the_style_is_that_of_the_number_of_tokens(loaded, calls):
    import numpy

    with numpy.load(weights().parent / "voices_ja.npz") as archive:
        kumo, alpha = archive["jm_kumo"], archive["jf_alpha"]
    await loaded.speak("Seven ships.", {"voice": "jm_kumo", "speed": 1.5})
    (tokens, style, speed), *_ = calls
    assert (style == kumo[len(tokens)]).all()
    assert speed == 1.5
    await loaded.speak("Seven ships.", {"voice": "jm_kumo:1, jf_alpha:3"})
    blend = 0.25 * kumo[len(tokens)] + 0.75 * alpha[len(tokens)]
    assert numpy.allclose(calls[1][1], blend, atol=1e-6)


async def test_the_first_clause_of_a_long_sentence_comes_alone(loaded, calls):
    text = (
        "When the storm had passed at last, the keeper of the old lighthouse went down to the "
        "harbour and counted all of the ships. Then he slept."
    )
    pieces = [piece async for piece in loaded.speak_stream(text)]
    assert len(pieces) == len(calls) == 3
    assert symbols(calls[0][0]).endswith(",")


async def test_pauses_are_those_of_the_options_and_of_the_text(loaded, calls):
    marked = 'Ships. <break time="1500ms"/> Boats. Gulls.'
    pieces = [piece async for piece in loaded.speak_stream(marked)]
    silent = [int((abs(piece.samples[::-1]).cumsum() == 0).sum()) / 24_000 for piece in pieces]
    assert silent == pytest.approx([1.5, 0.2, 0.0])
    first, *_ = [piece async for piece in loaded.speak_stream('<break time="300ms"/>Ships.')]
    assert first.duration == pytest.approx(0.3)


async def test_a_text_is_worked_on_by_the_engine_and_not_where_it_is_given(loaded, calls):
    stream = loaded.speak_stream('<speak>Go <prosody rate="slow">now</prosody>.</speak>')
    with pytest.raises(ValidationError, match="prosody"):
        await anext_of(stream)
    assert not calls


async def test_long_silence_comes_in_pieces(loaded, calls):
    pieces = loaded.speak_stream('Go. <break time="25s"/> Go. <break time="31s"/>')
    lengths = [piece.duration async for piece in pieces]
    assert max(lengths) < 12  # marks may ask for hours in all: no piece holds them
    assert sum(lengths) == pytest.approx(56, abs=0.5)
    alone = [piece.duration async for piece in loaded.speak_stream('<break time="25s"/>')]
    assert alone == [10, 10, 5]


async def test_words_are_written_out_unless_it_is_turned_off(loaded, calls):
    await loaded.speak("Dr. Brown paid $3.")
    assert "dˈɑkt" in symbols(calls[0][0])
    async with build(normalise=False, lexicon={"nginx": "engine x"}) as model:
        calls.clear()
        await model.speak("nginx")
        assert symbols(calls[0][0]).strip(".") == phonemes("engine x")


# Languages, voices, phonemes


async def test_a_japanese_voice_reads_latin_letters_as_english(loaded, calls):
    await loaded.speak("Seven ships.")
    assert symbols(calls[0][0]) == "sˈɛvən ʃˈɪps."
    await loaded.speak("siete", {"language": "es"})
    assert symbols(calls[1][0]).strip(".") == "sjˈete"


@pytest.mark.parametrize(
    ("text", "language", "what"),
    [
        ("こんにちは。", None, "pyopenjtalk"),
        ("hello", "ja", "Japanese"),
        ("你好", "zh", "pypinyin"),
    ],
)
async def test_languages_that_espeak_cannot_read_are_refused(loaded, calls, text, language, what):
    with pytest.raises(UnsupportedError, match=what):
        await loaded.speak(text, {"language": language})
    assert not calls


async def test_phonemes_can_be_given(loaded, calls):
    await loaded.speak("[[koɲːiʨiɰa]]", {"language": "ja"})
    await loaded.speak("Say [[təmˈAɾO]], not tomato, [[ nˈO ]]!")
    assert symbols(calls[0][0]) == "koɲːiʨiɰa"
    assert symbols(calls[1][0]) == f"sˈA təmˈAɾO, nˌɑt {phonemes('tomato')}, nˈO!"


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (
            "The matrix is [[1, 2], [3, 4]] as you see.",
            "The matrix is ((1, 2), (3, 4)) as you see.",
        ),
        ("Use array[[0]] now.", "Use array((0)) now."),
        ("Is it [[#hidden]] here?", "Is it ((#hidden)) here?"),
        ("Say [[ˈA]] of [[0]].", "Say [[ ˈA ]] of ((0))."),
    ],
)
async def test_double_brackets_around_anything_else_are_text(loaded, calls, text, same):
    await loaded.speak(text)
    found = [tokens for tokens, _, _ in calls]
    calls.clear()
    await loaded.speak(same)
    assert found == [tokens for tokens, _, _ in calls]


async def test_phonemes_can_be_given_in_the_lexicon(loaded, calls, monkeypatch):
    lexicon = {"tomato": "[[təmˈATO]]", "nginx": "engine x"}
    monkeypatch.setattr(loaded, "options", dataclasses.replace(loaded.options, lexicon=lexicon))
    await loaded.speak("A tomato, [[nˈO]], no Tomato!")
    assert symbols(calls[0][0]) == "ˈA təmˈATO, nˈO, nˈO təmˈATO!"


def test_brackets_without_end_take_no_time():
    """By a search that looks back they would take minutes."""
    from blazen_kokoro.given import Given

    for text in ("[[" * 50_000, "[[a" * 33_000, "[[" + "a" * 100_000):
        assert Given("a").take(text) == text


def test_any_number_of_phonemes_can_be_given():
    from blazen_kokoro.given import Given

    given = Given("ab")
    text = given.take("".join(f"[[{'a' * (number % 7 + 1)} b]]!" for number in range(20_000)))
    assert [said for _, said in given.parts(text)][:-1] == [
        f"{'a' * (number % 7 + 1)} b" for number in range(20_000)
    ]


@pytest.mark.parametrize(
    ("asked", "code"),
    [("en", "en-us"), ("EN_gb", "en-gb"), ("pt", "pt-br"), ("fr-ca", "fr"), ("ja-JP", "ja")],
)
def test_languages_have_several_names(asked, code):
    from blazen_kokoro.languages import find_language

    assert find_language(asked).code == code


async def test_unknown_languages_and_voices_are_listed(loaded):
    with pytest.raises(ValidationError, match="en-gb"):
        loaded.speak_stream("Go.", {"language": "klingon"})
    with pytest.raises(ValidationError, match=r"did you mean 'jm_kumo'.*jf_alpha, jf_gongitsune"):
        await loaded.speak("Go.", {"voice": "jm_kum"})
    with pytest.raises(ValidationError, match="jf_alpha"):
        await build(voice="af_heart").load()


@pytest.mark.parametrize("voice", ["", "a:b", "a:-1", "a,,b", "a:0,b:0", ":2"])
async def test_what_is_no_blend_is_refused(loaded, voice):
    with pytest.raises(ValidationError):
        loaded.speak_stream("Go.", {"voice": voice})


@pytest.mark.parametrize("wrong", [{"voice": 5}, {"language": ["en"]}])
def test_a_request_of_a_wrong_type_is_refused(loaded, wrong):
    with pytest.raises(ValidationError, match=f"{next(iter(wrong))} must be a text"):
        loaded.speak_stream("Go.", wrong)


async def test_the_voices_can_be_listed(loaded):
    from blazen_kokoro.voices import PUBLISHED, described

    assert len(PUBLISHED) == len(set(PUBLISHED)) == 54
    listed = await loaded.voices()
    assert [voice.name for voice in listed] == JAPANESE
    assert listed[-1] == VoiceInfo("jm_kumo", "ja", True, gender="male")
    assert described("bf_emma", installed=True).language == "en-gb"
    assert described("mine", installed=False) == VoiceInfo("mine", "en-us", False)


async def test_voices_and_blends_sound_different(loaded):
    sounds = [
        await loaded.speak("Go.", {"voice": voice, "speed": 3})
        for voice in ("jf_alpha", "jm_kumo", "jf_alpha,jm_kumo")
    ]
    assert all(one != other for one in sounds for other in sounds if one is not other)
    assert await loaded.speak("Go.", {"voice": "jm_kumo:7", "speed": 3}) == sounds[1]


# Sound


async def test_volume_is_kept_within_the_scale(loaded, calls):
    quiet = await loaded.speak("Go.", {"volume": 0.5})
    loud = await loaded.speak("Go.", {"volume": 10})
    assert abs(quiet.samples).max() == pytest.approx(0.25)
    assert abs(loud.samples).max() == 1.0
    assert quiet.sample_rate == 24_000


def test_silent_edges_are_trimmed_and_silence_is_no_error():
    import numpy

    from blazen_kokoro.sound import trimmed

    tone = numpy.sin(numpy.arange(12_000) / 20).astype("float32")
    edge = numpy.full(24_000, 1e-4, dtype="float32")
    found = trimmed(numpy.concatenate([edge, tone, edge]))
    assert 12_000 <= len(found) <= 12_000 + 0.15 * 24_000
    assert len(trimmed(numpy.zeros(24_000, dtype="float32"))) == 24_000
    assert len(trimmed(tone[:10])) == 10


async def test_the_sound_is_that_of_the_raw_engine(loaded):
    import numpy
    import onnxruntime

    from blazen_kokoro.sound import finished, trimmed
    from blazen_kokoro.vocabulary import VOCABULARY

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    raw = onnxruntime.InferenceSession(str(weights()), options, providers=["CPUExecutionProvider"])
    tokens = [VOCABULARY[symbol] for symbol in "ʃˈɪps."]
    with numpy.load(weights().parent / "voices_ja.npz") as archive:
        style = archive["jf_gongitsune"][len(tokens)]
    feeds = {
        "tokens": numpy.array([[0, *tokens, 0]]),
        "style": style,
        "speed": numpy.array([3.0], dtype="float32"),
    }
    expected = finished(trimmed(raw.run(None, feeds)[0]), 1.0, 0.0)
    found = (await loaded.speak("Ships.", {"speed": 3})).samples
    assert found.shape == expected.shape
    assert numpy.allclose(found, expected, atol=1e-4)


async def test_cancelling_stops_in_the_middle_of_a_call(loaded):
    """A call of some 20 seconds of sound ends at the engine's next step, not at its own end."""
    stream = await loaded.speak_stream(f"[[{'ˈɑlɑ ' * 59}]]")
    task = asyncio.create_task(anext_of(stream))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await loaded.speak("Go.")).duration > 0


async def anext_of(stream):
    return await stream.__anext__()


async def test_a_long_text_takes_no_more_memory_afterwards(loaded):
    """The engine's arena would keep what the longest text took."""
    await loaded.speak("Go.")
    before = rss_bytes()
    await loaded.speak("Seven ships went down to the sea and never did come home again.")
    assert rss_bytes() - before < 60 << 20


# Exports and places


class Runtime:
    """An export of another kind."""

    def __init__(self, *kinds):
        self.kinds = kinds

    def get_inputs(self):
        class Entry:
            def __init__(self, name, kind):
                self.name, self.type = name, kind

        return [Entry(*kind) for kind in self.kinds]

    def get_providers(self):
        return ["CPUExecutionProvider"]

    def run(self, names, feeds, options):
        import numpy

        self.feeds = feeds
        return [numpy.zeros((1, 480), dtype="float32")]


@pytest.mark.parametrize(
    ("speed", "dtype"), [("tensor(float)", "float32"), ("tensor(int32)", "int32")]
)
def test_exports_differ_in_their_inputs(monkeypatch, tmp_path, speed, dtype):
    import numpy
    import onnxruntime

    from blazen_kokoro.session import Session

    runtime = Runtime(("input_ids", "tensor(int64)"), ("style", "tensor(float)"), ("speed", speed))
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *args, **words: runtime)
    session = Session.open(tmp_path / "model.onnx", 1, Device.Cpu)
    style = numpy.zeros((1, 256), dtype="float32")
    samples = session.run(Job(print), [5, 6], style, 2.0)
    assert samples.shape == (480,)
    assert runtime.feeds["input_ids"].tolist() == [[0, 5, 6, 0]]
    assert runtime.feeds["speed"].dtype == dtype
    if dtype == "int32":
        with pytest.raises(UnsupportedError, match=r"1\.5"):
            session.run(Job(print), [5], style, 1.5)
    with pytest.raises(UnsupportedError, match="cuda"):
        Session.open(tmp_path / "model.onnx", 1, Device.parse("cuda:0"))


def test_another_models_file_is_refused(monkeypatch, tmp_path):
    import onnxruntime

    from blazen_kokoro.session import Session

    runtime = Runtime(("input_ids", "tensor(int64)"), ("attention_mask", "tensor(int64)"))
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *args, **words: runtime)
    with pytest.raises(LoadError, match="attention_mask"):
        Session.open(tmp_path / "model.onnx", 1, Device.Cpu)


def raw_voice(value=0.5):
    import numpy

    return numpy.full((510, 1, 256), value, dtype="<f4").tobytes()


def find(target, **settings):
    from blazen_kokoro.weights import locate_weights

    options = KokoroOptions(target, **settings)
    return locate_weights(options, Job(print), lambda progress: None)


def test_a_folder_as_on_the_hub_and_one_as_of_kokoro_onnx(tmp_path):
    import numpy

    from blazen_kokoro.voices import Blend

    hub = tmp_path / "hub"
    (hub / "onnx").mkdir(parents=True)
    (hub / "voices").mkdir()
    (hub / "onnx/model_quantized.onnx").write_bytes(b"model")
    (hub / "voices/bf_emma.bin").write_bytes(raw_voice())
    (hub / "voices/af_heart.bin").write_bytes(raw_voice(0.25))
    found = find(hub)
    assert found.model.name == "model_quantized.onnx"
    assert found.voices.names() == ["af_heart", "bf_emma"]
    assert found.voices.style(Blend.parse("bf_emma:3,af_heart"))[509, 0, 0] == 0.4375
    assert find(found.model).voices.names() == ["af_heart", "bf_emma"]

    other = tmp_path / "other"
    other.mkdir()
    (other / "kokoro-v1.0.onnx").write_bytes(b"model")
    archive = io.BytesIO()
    numpy.savez(archive, am_adam=numpy.ones((511, 1, 256), dtype="float32"))
    (other / "voices-v1.0.bin").write_bytes(archive.getvalue())
    assert find(other).voices.style(Blend.parse("am_adam")).shape == (511, 1, 256)
    (other / "kokoro-v1.0.int8.onnx").write_bytes(b"model")
    with pytest.raises(ValidationError, match=r"several ONNX files \(kokoro-v1.0.int8.onnx"):
        find(other)
    assert find(other / "kokoro-v1.0.int8.onnx").model.name == "kokoro-v1.0.int8.onnx"


def test_what_is_no_voice_is_refused(tmp_path):
    import numpy

    from blazen_kokoro.voices import Blend

    (tmp_path / "model.onnx").write_bytes(b"model")
    with pytest.raises(ValidationError, match="holds no voices"):
        find(tmp_path)
    (tmp_path / "voices").mkdir()
    (tmp_path / "voices/af_heart.pt").write_bytes(b"pickle")
    with pytest.raises(UnsupportedError, match="is a pickle"):
        find(tmp_path)
    (tmp_path / "voices/short.bin").write_bytes(b"\0" * 1000)
    (tmp_path / "voices/nan.bin").write_bytes(raw_voice(float("nan")))
    numpy.savez(tmp_path / "bad.npz", evil=numpy.array([{}], dtype=object), wide=numpy.ones((5, 7)))
    found = find(tmp_path).voices
    for name in ("short", "nan", "evil", "wide"):
        with pytest.raises(LoadError, match=f"'{name}'"):
            found.style(Blend.parse(name))
    (tmp_path / "bad.npz").write_bytes(b"no archive")
    with pytest.raises(LoadError, match=r"bad\.npz"):
        find(tmp_path)


async def test_a_damaged_model_is_refused_by_its_name(tmp_path):
    (tmp_path / "kokoro.onnx").write_bytes(b"\x08\x07noise")
    shutil.copy(weights().parent / "voices_ja.npz", tmp_path)
    with pytest.raises(LoadError, match=r"kokoro\.onnx"):
        await build(tmp_path).load()


REPO = "onnx-community/Kokoro-82M-v1.0-ONNX"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setenv("BLAZEN_CACHE", str(tmp_path / "cache"))
    files = {
        "onnx/model.onnx": b"whole numbers",
        "onnx/model_quantized.onnx": b"small numbers",
        "tokenizer.json": json.dumps({"model": {"vocab": {"$": 0, "a": 43}}}).encode(),
        **{f"voices/{name}.bin": raw_voice() for name in ("af_heart", "am_adam", "bf_emma")},
    }
    with standing_in(Hub({REPO: files, "me/none": {"weights.pth": b""}})) as hub:
        yield hub


def test_of_the_hub_only_what_is_needed_is_fetched(hub, monkeypatch):
    from blazen_kokoro.voices import PUBLISHED, Blend

    found = find(KokoroOptions().model)
    folder = found.model.parents[1]
    assert here(folder) == ["onnx/model.onnx", "tokenizer.json", "voices/af_heart.bin"]
    assert found.vocabulary == {"a": 43}
    assert found.voices.names() == list(PUBLISHED)
    assert [voice.name for voice in found.voices.listing() if voice.installed] == ["af_heart"]
    found.voices.style(Blend.parse("am_adam,af_heart"))
    assert "voices/am_adam.bin" in here(folder)
    with pytest.raises(ModelNotFoundError, match=r"af_sky\.bin"):
        found.voices.style(Blend.parse("af_sky"))
    with pytest.raises(ValidationError, match="no_such"):
        found.voices.style(Blend.parse("no_such"))
    monkeypatch.setenv("BLAZEN_OFFLINE", "1")
    assert find(REPO).model == found.model


def test_a_file_and_voices_of_the_hub_can_be_chosen(hub):
    found = find(f"{REPO}/onnx/model_quantized.onnx", voice="bf_emma:1,am_adam:1")
    assert here(found.model.parents[1]) == [
        *("onnx/model_quantized.onnx", "tokenizer.json", "voices/am_adam.bin"),
        "voices/bf_emma.bin",
    ]
    with pytest.raises(ValidationError, match=r"no \.onnx file"):
        find(f"{REPO}/tokenizer.json")


def test_repositories_without_an_onnx_file(hub):
    with pytest.raises(UnsupportedError, match="onnx-community"):
        find("hexgrad/Kokoro-82M")
    with pytest.raises(ModelNotFoundError):
        find("me/none")


def here(folder: Path):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


async def test_a_model_by_spec(calls):
    model = TTS.from_spec("kokoro:starter:speak-kokoro", threads=1, voice="jm_kumo", speed=2.0)
    assert (await model.speak("Go.")).duration > 0
    assert calls[0][2] == 2.0
    assert model.threads == 1
    await model.unload()


async def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(UnsupportedError, match="cuda"):
        await build(device="cuda:7").load()


@pytest.mark.parametrize("module", ["onnxruntime", "espeakng_loader"])
async def test_half_an_installation_is_told(monkeypatch, module):
    model = build()
    monkeypatch.setitem(sys.modules, module, None)
    for ask in (model.load, model.footprint):
        with pytest.raises(MissingExtraError, match=rf"'{module}': pip install 'blazen\[kokoro\]'"):
            await ask()


def test_the_module_that_only_kokoro_needs_tells_whether_it_is_installed(monkeypatch):
    from blazen import registry
    from blazen_kokoro import KokoroVoice

    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    assert registry._missing(KokoroVoice) == "espeakng_loader"


@pytest.mark.parametrize(
    "wrong",
    [
        {"speed": 0},
        {"pause": -1},
        {"threads": 0},
        {"voice": 5},
        {"language": 5},
        {"lexicon": {"a": 1}},
        {"lexicon": {1: "a"}},
        {"lexicon": ["a"]},
    ],
)
def test_wrong_options_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        KokoroOptions(**wrong)


def test_nothing_is_imported_before_it_is_needed():
    run_python(
        """
        import sys
        import blazen_kokoro
        heavy = {"numpy", "onnxruntime", "espeakng_loader", "num2words"} & set(sys.modules)
        assert not heavy, heavy
        """
    )


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process had at most")
def test_it_says_what_it_takes():
    longest = f"[[{'ˈɑlɑ ' * 59}]]"
    check_footprint("TTS", "kokoro:starter:speak-kokoro", question=longest)
