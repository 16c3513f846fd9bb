"""Speech through OpenAI's SDK, against a server that speaks the published API."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

pytest.importorskip("openai")
pytest.importorskip("av")
numpy = pytest.importorskip("numpy")

from blazen import (  # noqa: E402
    TTS,
    Audio,
    ProviderError,
    UnsupportedError,
    ValidationError,
)
from blazen.errors import TimeoutError  # noqa: A004, E402
from blazen.testing import TTSSuite  # noqa: E402
from blazen_openai.pcm import NotSound, Samples  # noqa: E402
from blazen_openai.speech import VOICES, OpenAiSpeech  # noqa: E402
from tests.remote.misbehaving import (  # noqa: E402
    answering,
    serving,
    serving_apart,
)
from tests.wire.faults import FAULTS, Speech, check  # noqa: E402
from tests.wire.openai_media import KEY, Chunked, media, wav_head  # noqa: E402

WAVES = (numpy.sin(numpy.arange(24_000) / 9) * 20_000).astype("int16")
"""A second of sound."""


@pytest.fixture(scope="module")
def url():
    with serving_apart(media()) as server:
        yield server.url


def made(url, model=None, **settings) -> OpenAiSpeech:
    return OpenAiSpeech(
        OpenAiSpeech.Options(model, **{"api_key": KEY, "base_url": url, **settings})
    )


class TestOpenAiSpeech(TTSSuite):
    @pytest.fixture
    def model(self, url):
        return made(url)


async def spoken(text, *behaviours, options=None, **settings):
    async with serving(*(behaviours or [media()])) as server:
        model = made(server.url, **settings)
        try:
            return await model.speak(text, options), server
        finally:
            await model.aclose()


def sounding(*pieces, kind="audio/pcm"):
    async def behave(wire, request):
        out = Chunked(wire)
        await out.begin(kind)
        for piece in pieces:
            await out.send(piece)
        await out.end()

    return behave


def body_of(request):
    return json.loads(request.body)


async def test_all_that_can_be_asked_is_in_the_request():
    sound, server = await spoken(
        "Hello there.",
        options={"voice": "sage", "speed": 1.5},
        instructions="whisper",
        voice="coral",
    )
    assert body_of(server.asked[0]) == {
        "model": "gpt-4o-mini-tts",
        "input": "Hello there.",
        "voice": "sage",
        "instructions": "whisper",
        "response_format": "pcm",
        "speed": 1.5,
    }
    assert sound.sample_rate == 24_000
    assert sound.channels == 1


async def test_the_options_voice_and_speed_are_for_requests_that_name_none():
    _, server = await spoken(
        "Hello.", voice="voice_1234", speed=0.5, body={"stream_format": "audio"}
    )
    asked = body_of(server.asked[0])
    assert asked["voice"] == {"id": "voice_1234"}
    assert asked["speed"] == 0.5
    assert asked["stream_format"] == "audio"


async def test_samples_come_out_as_they_were_sent():
    data = WAVES.tobytes()
    # Cut within samples, and into pieces of all sizes.
    cut = [data[:1], data[1:2], data[2:1003], data[1003:30_001], data[30_001:]]
    sound, _ = await spoken("Hello.", sounding(*cut))
    assert (sound.samples == WAVES / 32_768).all()
    assert sound.sample_rate == 24_000


async def test_the_shortest_sound_is_a_piece():
    sound, _ = await spoken("Hello.", sounding(WAVES.tobytes()[:10]))
    assert sound.frames == 5


async def test_a_wav_tells_its_own_rate():
    stereo = numpy.stack([WAVES, -WAVES], axis=1)
    extra = b"LIST" + (5).to_bytes(4, "little") + b"about\0"
    head = wav_head(48_000, channels=2)
    data = head[:12] + extra + head[12:] + stereo.tobytes()
    cut = [data[:7], data[7:30], data[30:61], data[61:]]
    sound, server = await spoken("Hello.", sounding(*cut, kind="audio/wav"), format="wav")
    assert body_of(server.asked[0])["response_format"] == "wav"
    assert (sound.sample_rate, sound.channels) == (48_000, 2)
    assert (sound.samples == stereo / 32_768).all()


async def test_another_servers_rate_can_be_told():
    sound, _ = await spoken("Hello.", sounding(WAVES.tobytes()), sample_rate=16_000)
    assert sound.duration == 1.5


async def test_no_piece_is_longer_than_half_a_second():
    async with serving(sounding(WAVES.tobytes() * 3)) as server:
        model = made(server.url)
        pieces = [piece async for piece in model.speak_stream("Hello.")]
        await model.aclose()
    assert len(pieces) >= 6
    assert max(piece.duration for piece in pieces) <= 0.5
    assert Audio.join(pieces).duration == 3


async def test_the_first_piece_is_there_before_the_last_is_made():
    go_on = asyncio.Event()

    async def behave(wire, request):
        out = Chunked(wire)
        await out.begin("audio/pcm")
        await out.send(WAVES.tobytes()[:9600])
        await go_on.wait()
        await out.send(WAVES.tobytes()[9600:])
        await out.end()

    async with serving(behave) as server:
        model = made(server.url)
        async with model.speak_stream("Hello.") as stream:
            first = await asyncio.wait_for(stream.__anext__(), 20)
            assert 0 < first.duration <= 0.2
            go_on.set()
            async for _ in stream:
                pass
        assert stream.response.duration == 1
        await model.aclose()


async def test_a_text_that_is_too_long_is_spoken_in_parts():
    sentence = "The lighthouse keeper counted seven ships, and then an eighth one came. "
    text = sentence * 120
    async with serving(sounding(WAVES.tobytes())) as server:
        model = made(server.url)
        sound = await model.speak(text)
        await model.aclose()
    parts = [body_of(request)["input"] for request in server.asked]
    assert len(parts) == 3
    assert all(len(part) <= 4096 and part.endswith("came.") for part in parts)
    assert " ".join(parts) == text.strip()
    assert sound.duration == len(parts)


async def test_a_word_that_is_too_long_is_cut():
    async with serving(sounding(WAVES.tobytes())) as server:
        model = made(server.url)
        await model.speak("a" * 9000)
        await model.aclose()
    parts = [body_of(request)["input"] for request in server.asked]
    assert max(map(len, parts)) <= 4096
    assert "".join(parts) == "a" * 9000


REFUSED = {
    "a volume": ({"volume": 0.5}, "'volume'"),
    "a language": ({"language": "de"}, "'language'"),
    "too slow": ({"speed": 0.2}, "'speed' from 0.25 to 4.0"),
    "too fast": ({"speed": 5}, "'speed' from 0.25 to 4.0"),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_it_can_not_do_is_refused_by_name(what):
    options, said = REFUSED[what]
    with pytest.raises(UnsupportedError, match=said):
        await spoken("Hello.", answering(b""), options=options)


def test_what_a_model_can_not_do_is_refused_when_it_is_made(url):
    with pytest.raises(UnsupportedError, match="'instructions'"):
        made(url, "tts-1-hd", instructions="whisper")
    with pytest.raises(ValidationError, match="did you mean 'sage'"):
        made(url, voice="sagé")
    with pytest.raises(UnsupportedError, match="Mistral offers no tts"):
        made(None, "any", gateway="mistral")


async def test_voices_of_other_models_are_theirs_to_know():
    _, server = await spoken("Hi.", sounding(WAVES.tobytes()), model="kokoro", voice="af_sky")
    assert body_of(server.asked[0])["voice"] == "af_sky"


SPOILT = {
    "nothing": (sounding(), "without any sound"),
    "half a sample": (sounding(b"\0" * 2001), "within a sample"),
    "an error": (answering({"error": {"message": "no voice today"}}), "no voice today"),
    "an object": (answering({"sound": "x"}), "can't be understood"),
    "a page": (answering(b"<html>", content_type="text/html"), "can't be understood"),
}


@pytest.mark.parametrize("what", SPOILT)
async def test_what_is_no_sound_is_refused(what):
    behave, said = SPOILT[what]
    with pytest.raises(ProviderError, match=said):
        await spoken("Hello.", behave)


SPOILT_WAVS = {
    "no head": b"ID3 and so on, an MP3",
    "half a head": wav_head(24_000)[:30],
    "no sound": wav_head(24_000)[:36] + b"blob" + b"\xff" * 4,
    "24 bits": wav_head(24_000, bits=24),
    "no channels": wav_head(24_000, channels=0),
}


@pytest.mark.parametrize("what", SPOILT_WAVS)
def test_what_is_no_wav_is_refused(what):
    samples = Samples(sample_rate=24_000, wav=True)
    with pytest.raises(NotSound):
        [*samples.feed(SPOILT_WAVS[what]), *samples.flush()]


async def test_leaving_the_stream_closes_the_connection():
    async def behave(wire, request):
        out = Chunked(wire)
        await out.begin("audio/pcm")
        await out.send(WAVES.tobytes())
        await wire.until_left()

    async with serving(behave) as server:
        model = made(server.url)
        async for piece in model.speak_stream("Hello."):
            assert piece.duration > 0
            break
        await asyncio.wait_for(server.until_all_left(), 20)
        await model.aclose()


async def test_it_is_made_by_its_factory_and_lists_its_voices(url):
    model = TTS.openai(api_key=KEY, base_url=url)
    assert isinstance(model, OpenAiSpeech)
    assert re.search("gpt-4o-mini-tts.*127.0.0.1", repr(model))
    assert [voice.name for voice in await model.voices()] == list(VOICES)


# Faults.


def refusal(status, message):
    return {"error": {"message": message, "type": "server_error", "param": None, "code": None}}


async def ask(model, streamed):
    return await model.speak("Hello.")


SPEECH = Speech(
    name="openai",
    model=lambda url, **settings: made(f"{url}/v1", **{"gateway": "openai", **settings}),
    whole={"error": {"message": "no voice"}},
    events=(),
    refusal=refusal,
    error_event="",
    odd=[7],
    odd_event="",
    ask=ask,
)


@pytest.mark.parametrize("fault", FAULTS)
async def test_faults(fault):
    await check(SPEECH, fault, streamed=False)


async def begun(wire):
    out = Chunked(wire)
    await out.begin("audio/pcm")
    await out.send(WAVES.tobytes())
    return out


async def cut(wire):
    await begun(wire)
    wire.close()


async def reset(wire):
    await begun(wire)
    wire.reset()


async def hang(wire):
    await begun(wire)
    await wire.until_left()


async def drip(wire):
    out = await begun(wire)
    while True:
        await out.send(b"\0\0")
        await asyncio.sleep(0.02)


async def huge(wire):
    out = await begun(wire)
    for _ in range(50):
        await out.send(b"\0" * (1 << 20))
    wire.close()


async def hear(model, heard):
    async for piece in model.speak_stream("Hello."):
        heard.append(piece.duration)


WITHIN = {
    "cut": (cut, ProviderError, "broke the connection off"),
    "reset": (reset, ProviderError, "broke the connection off"),
    "hang": (hang, TimeoutError, "idle"),
    "drip": (drip, TimeoutError, "total"),
    "50 MB": (huge, ProviderError, "bytes"),
}


@pytest.mark.parametrize("what", WITHIN)
async def test_faults_within_the_sound(what):
    behave, error, said = WITHIN[what]

    async def serve(wire, request):
        await behave(wire)

    timeouts = {"idle": 0.3} if what == "hang" else {"idle": 10, "total": 0.8}
    heard = []
    async with serving(serve) as server:
        model = made(
            server.url, timeouts=timeouts if what in ("hang", "drip") else {}, max_bytes="4MiB"
        )
        with pytest.raises(error, match=said):
            await hear(model, heard)
        await asyncio.wait_for(server.until_all_left(), 20)
        await model.aclose()
    assert sum(heard) >= 0.5
    assert len(server.asked) == 1
