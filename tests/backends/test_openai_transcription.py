"""Transcription through OpenAI's SDK, against a server that speaks the published API."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

pytest.importorskip("openai")
pytest.importorskip("av")
numpy = pytest.importorskip("numpy")

from blazen import Audio, ProviderError, Transcription, UnsupportedError  # noqa: E402
from blazen.testing import EchoTTS, TranscriptionSuite  # noqa: E402
from blazen.types.live import LiveAudio  # noqa: E402
from blazen.types.transcription import Segment, TranscriptionRequest, Word  # noqa: E402
from blazen_openai import sounds  # noqa: E402
from blazen_openai.languages import language_code  # noqa: E402
from blazen_openai.transcription import OpenAiTranscription  # noqa: E402
from tests.remote.misbehaving import (  # noqa: E402
    answering,
    serving,
    serving_apart,
)
from tests.wire.faults import FAULTS, Speech, check  # noqa: E402
from tests.wire.openai_media import KEY, Chunked, media  # noqa: E402

SAID = "seven ships sailed past the lighthouse"
SPEAKERS = "gpt-4o-transcribe-diarize"


@pytest.fixture(scope="module")
def url():
    with serving_apart(media()) as server:
        yield server.url


@pytest.fixture(scope="module")
def sound():
    return asyncio.run(EchoTTS().speak(SAID))


def made(url, model=None, **settings) -> OpenAiTranscription:
    return OpenAiTranscription(
        OpenAiTranscription.Options(model, **{"api_key": KEY, "base_url": url, **settings})
    )


class Hears(TranscriptionSuite):
    words = SAID.split()
    name: str | None = None

    @pytest.fixture
    def speech(self, sound):
        return sound

    @pytest.fixture
    def model(self, url):
        return made(url, self.name)


class TestWhisper(Hears):
    """Segments and words, nothing streamed."""

    name = "whisper-1"


class TestSpeakers(Hears):
    """Segments with speakers, streamed."""

    name = SPEAKERS


class TestDeltas(Hears):
    """Text without times, streamed."""

    def test_segments_rise_and_end_within_the_sound(self, model, speech):
        """It tells no times."""
        assert asyncio.run(model.transcribe(speech)).segments == ()


def fields_of(request) -> dict[str, list[str]]:
    """Give the fields of a form, but its files."""
    found: dict[str, list[str]] = {}
    pattern = rb'name="([^"]+)"\r\n\r\n(.*?)\r\n--'
    for name, value in re.findall(pattern, request.body, re.DOTALL):
        found.setdefault(name.decode(), []).append(value.decode())
    return found


def file_of(request) -> tuple[str, str]:
    found = re.search(rb'filename="([^"]+)"\r\nContent-Type: ([^\r]+)', request.body)
    return found[1].decode(), found[2].decode()


async def heard(question, *behaviours, model=None, **settings):
    async with serving(*(behaviours or [media()])) as server:
        hears = made(server.url, model, **settings)
        try:
            return await hears.transcribe(question), server
        finally:
            await hears.aclose()


def streaming(*events):
    async def behave(wire, request):
        out = Chunked(wire)
        await out.begin("text/event-stream")
        for event in events:
            await out.event(event)
        await out.end()

    return behave


DELTA = {"type": "transcript.text.delta", "delta": "seven"}
DONE = {"type": "transcript.text.done", "text": "seven ships"}


# What is asked.


async def test_all_that_can_be_asked_of_whisper_is_in_the_form(sound):
    request = TranscriptionRequest(
        sound, language="en-GB", prompt="ships", words=True, temperature=0.5
    )
    answer, server = await heard(request, model="whisper-1")
    assert fields_of(server.asked[0]) == {
        "model": ["whisper-1"],
        "language": ["en"],
        "prompt": ["ships"],
        "temperature": ["0.5"],
        "response_format": ["verbose_json"],
        "timestamp_granularities[]": ["segment", "word"],
    }
    assert [word.text for one in answer.segments for word in one.words] == SAID.split()
    assert all(len(one.words) == 1 for one in answer.segments)
    assert answer.language == "en"


async def test_a_language_of_the_options_is_for_requests_that_name_none(sound):
    _, server = await heard(sound, language="german")
    assert fields_of(server.asked[0])["language"] == ["de"]
    _, server = await heard({"audio": sound, "language": "auto"}, language=None)
    assert "language" not in fields_of(server.asked[0])


async def test_further_fields_travel_with_the_form(sound):
    _, server = await heard(sound, body={"keywords": ["lighthouse", "sail"]})
    assert fields_of(server.asked[0])["keywords[]"] == ["lighthouse", "sail"]


async def test_a_translation_has_its_own_place(sound):
    answer, server = await heard({"audio": sound, "translate": True}, model="whisper-1")
    assert server.asked[0].path == "/v1/audio/translations"
    assert answer.text == SAID
    assert len(answer.segments) == 6
    assert answer.language == "en"


async def test_speakers_are_told(sound):
    answer, server = await heard({"audio": sound, "diarize": True}, model=SPEAKERS)
    assert fields_of(server.asked[0])["chunking_strategy"] == ["auto"]
    assert [one.speaker for one in answer.segments] == list("ABABAB")
    assert answer.text == SAID


REFUSED = {
    "words of a model without times": ("gpt-transcribe", {"words": True}, "'words'"),
    "words of one that tells speakers": (SPEAKERS, {"words": True}, "'words'"),
    "words of a translation": ("whisper-1", {"words": True, "translate": True}, "words"),
    "speakers": ("whisper-1", {"diarize": True}, "'diarize'"),
    "a translation": ("gpt-transcribe", {"translate": True}, "'translate'"),
    "a translation from a language": (
        "whisper-1",
        {"translate": True, "language": "de"},
        "language='de'",
    ),
    "a prompt": (SPEAKERS, {"prompt": "ships"}, "'prompt'"),
    "too high a temperature": ("gpt-transcribe", {"temperature": 1.5}, "temperature up to 1"),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_it_can_not_do_is_refused_by_name(sound, what):
    model, asked, said = REFUSED[what]
    with pytest.raises(UnsupportedError, match=said):
        await heard({"audio": sound, **asked}, answering({}), model=model)


async def test_live_sound_is_refused_before_it_is_read(sound):
    async def spoken():
        yield pytest.fail("it was read")

    with pytest.raises(UnsupportedError, match="whole sounds"):
        await heard(LiveAudio(spoken()), answering({}))


# The file.


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "ogg", "m4a"])
async def test_a_file_that_the_api_takes_is_sent_as_it_is(sound, kind):
    data = sound.to_bytes(kind)
    _, server = await heard(data, answering({"text": "ships"}), model="whisper-1")
    assert data in server.asked[0].body
    assert file_of(server.asked[0])[0] == f"audio.{kind}"


async def test_a_file_that_can_not_be_read_here_is_the_apis_to_judge():
    body = {"text": "ships"}
    answer, server = await heard(b"fLaC, as it says", answering(body), model="whisper-1")
    assert file_of(server.asked[0]) == ("audio.flac", "audio/flac")
    assert (answer.text, answer.duration) == ("ships", None)


async def test_samples_are_sent_as_wav(sound):
    answer, server = await heard((sound.samples, sound.sample_rate))
    assert file_of(server.asked[0]) == ("audio.wav", "audio/wav")
    assert answer.text == SAID
    assert answer.duration == pytest.approx(sound.duration)


async def test_what_is_too_large_is_made_smaller(sound, monkeypatch):
    stereo = Audio.from_samples(numpy.repeat(sound.samples[:, None], 2, 1), sound.sample_rate)
    monkeypatch.setattr(sounds, "LARGEST", len(sound.to_bytes("wav")))
    answer, server = await heard(stereo)
    assert file_of(server.asked[0]) == ("audio.flac", "audio/flac")
    assert answer.text == SAID


async def test_what_is_too_large_even_then_is_refused(sound, monkeypatch, tmp_path):
    path = sound.save(tmp_path / "speech.wav")
    monkeypatch.setattr(sounds, "LARGEST", 100)
    with pytest.raises(UnsupportedError, match=r"takes 100.*cut"):
        await heard(path, answering({}))


# What comes back.


async def test_whisper_of_a_gateway_names_fewer_things(sound):
    body = {
        "text": " Seven ships. Gone.",
        "segments": [
            {"start": 0, "end": 0.5, "text": " Seven ships."},
            {"start": 0.5, "end": 1.5, "text": " Gone."},
        ],
        "words": [
            {"word": "Seven", "start": 0.0, "end": 0.2},
            {"word": " ships.", "start": 0.2, "end": 0.5},
            {"word": "Gone.", "start": 0.6, "end": 1.0},
        ],
        "language": "Haitian Creole",
    }
    answer, _ = await heard({"audio": sound, "words": True}, answering(body), model="whisper-large")
    assert answer.text == "Seven ships. Gone."
    assert answer.segments == (
        Segment("Seven ships.", 0.0, 0.5, (Word("Seven", 0.0, 0.2), Word("ships.", 0.2, 0.5))),
        Segment("Gone.", 0.5, 1.5, (Word("Gone.", 0.6, 1.0),)),
    )
    assert answer.language == "ht"
    assert answer.duration == pytest.approx(sound.duration)


async def test_a_text_that_is_more_than_its_segments_is_kept(sound):
    body = {"text": "One two three", "segments": [{"start": 0, "end": 1, "text": " two"}]}
    answer, _ = await heard(sound, answering(body), model="whisper-1")
    assert answer.text == "One two three"
    assert [one.text for one in answer.segments] == ["two"]


async def test_words_without_segments_become_one(sound):
    body = {"text": "a b", "words": [{"word": w, "start": 0, "end": 1} for w in "ab"]}
    answer, _ = await heard(sound, answering(body), model="whisper-1")
    assert answer.text == "a b"
    assert [word.text for word in answer.segments[0].words] == ["a", "b"]


@pytest.mark.parametrize("before", [[], [DELTA], [{"type": "transcript.text.news"}, DELTA]])
async def test_what_only_the_end_of_a_stream_says_is_heard(sound, before):
    assert (await heard(sound, streaming(*before, DONE)))[0].text == "seven ships"


SPOILT_STREAMS = {
    "no end": ([DELTA], "before it says that it is done"),
    "nothing at all": ([], "before it says that it is done"),
    "a delta that is a number": ([{"type": "transcript.text.delta", "delta": 7}, DONE], "delta"),
    "an event that is a list": ([[DELTA], DONE], "an object was expected"),
    "an error": ([DELTA, {"error": {"message": "overloaded"}}], "overloaded"),
    "a segment without times": ([{"type": "transcript.text.segment", "text": "a"}], "no times"),
    "a segment that ends before it starts": (
        [{"type": "transcript.text.segment", "text": "a", "start": 2, "end": 1, "speaker": "A"}],
        "can't end",
    ),
}


@pytest.mark.parametrize("what", SPOILT_STREAMS)
async def test_a_stream_that_is_none_is_refused(sound, what):
    events, said = SPOILT_STREAMS[what]

    async def behave(wire, request):
        out = Chunked(wire)
        await out.begin("text/event-stream")
        for event in events:
            await out.send(f"data: {json.dumps(event)}\n\n".encode())
        await out.end()

    with pytest.raises(ProviderError, match=said):
        await heard(sound, behave)


SPOILT = {
    "no text": {"segments": []},
    "a text that is a number": {"text": 7},
    "segments that are text": {"text": "a", "segments": "a"},
    "a segment that is text": {"text": "a", "segments": ["a"]},
    "a segment without times": {"text": "a", "segments": [{"text": "a"}]},
    "a word that is a number": {"text": "a", "words": [{"word": 7, "start": 0, "end": 1}]},
    "a list": [{"text": "a"}],
    "a text alone": "text",
}


@pytest.mark.parametrize("what", SPOILT)
async def test_an_answer_that_is_none_is_refused(sound, what):
    with pytest.raises(ProviderError, match="can't be understood"):
        await heard(sound, answering(SPOILT[what]), model="whisper-1")


async def test_leaving_the_stream_closes_the_connection(sound):
    async def behave(wire, request):
        out = Chunked(wire)
        await out.begin("text/event-stream")
        await out.event(DELTA)
        await wire.until_left()

    async with serving(behave) as server:
        model = made(server.url)
        async for chunk in model.transcribe_stream(sound):
            assert chunk.text == "seven"
            break
        await asyncio.wait_for(server.until_all_left(), 20)
        await model.aclose()


def test_languages_have_codes():
    assert [language_code(name) for name in ("English", "de_AT", "auto", None, "haw", "x")] == [
        *("en", "de", None, None, "haw", "x")
    ]


def test_it_is_made_by_its_factory(url):
    model = Transcription.openai(api_key=KEY, base_url=url)
    assert isinstance(model, OpenAiTranscription)
    assert "gpt-transcribe" in repr(model)
    with pytest.raises(UnsupportedError, match="Together offers no transcription"):
        made(None, gateway="together")


# Faults.


def refusal(status, message):
    return {"error": {"message": message, "type": "server_error", "param": None, "code": None}}


def event(data) -> str:
    return f"data: {json.dumps(data)}\n\n"


async def ask(model, streamed):
    return await model.transcribe(Audio.from_samples([0.1] * 1600, 16_000))


def speech(model):
    return Speech(
        name="openai",
        model=lambda url, **settings: made(f"{url}/v1", model, gateway="openai", **settings),
        whole={"text": "seven ships", "segments": [{"start": 0, "end": 1, "text": " seven"}]},
        events=(event(DELTA), event(DONE)),
        refusal=refusal,
        error_event=event({"error": {"message": "overloaded", "type": "server_error"}}),
        odd={"text": ["seven"], "segments": 7},
        odd_event=event({"type": "transcript.text.delta", "delta": {"a": 1}}),
        ask=ask,
    )


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_faults(fault, streamed):
    await check(speech("gpt-transcribe" if streamed else "whisper-1"), fault, streamed=streamed)
