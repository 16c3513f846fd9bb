"""``/v1/audio``, asked by the real client of OpenAI: what is spoken is heard again."""

from __future__ import annotations

import base64
import difflib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

pytest.importorskip("numpy")
pytest.importorskip("av")

from blazen.server.apis.openai.audio.encoding import PCM_RATE, SpeechFile
from blazen.types.audio import Audio
from tests.server.conftest import leases, read_catalog, running, wait_for

pytestmark = pytest.mark.needs("server", "clients", "audio")
real = pytest.mark.needs(
    "piper", "whispercpp", "starter:speak", "starter:transcribe", "starter:transcribe-base"
)

SAID = "The quick brown fox jumps over the lazy dog."
FORMATS = ("mp3", "opus", "aac", "flac", "wav", "pcm")
MODELS = """
[discover]
starters = false
cache = false
programs = false
[models.slow-speak]
spec = "echo:echo"
kind = "tts"
memory = "1MiB"
options = { piece_delay = 0.02 }
[models.breaking-speak]
spec = "echo:echo"
kind = "tts"
memory = "1MiB"
options = { fail_at = 2 }
"""


@pytest.fixture(scope="module")
def client(server: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def echo(echo_server: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{echo_server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def is_said(text: str) -> bool:
    """Tell whether nearly all words are there: a voice never says them twice alike."""
    return difflib.SequenceMatcher(None, words(text), words(SAID)).ratio() > 0.85


def spoken(client: openai.OpenAI, text: str, model: str = "echo-speak", **more: Any) -> bytes:
    given: dict[str, Any] = {"voice": "default", "response_format": "wav", **more}
    data: bytes = client.audio.speech.create(model=model, input=text, **given).content
    return data


def upload(url: str, route: str, data: bytes, **fields: Any) -> httpx.Response:
    return httpx.post(
        f"{url}/v1/audio/{route}", files={"file": ("sound.wav", data)}, data=fields, timeout=60
    )


@pytest.fixture(scope="module")
def sound(echo: openai.OpenAI) -> bytes:
    return spoken(echo, "hello there")


@pytest.fixture(scope="module")
def fox(client: openai.OpenAI) -> bytes:
    return spoken(client, SAID, model="speak")


class TestSpeech:
    """Text that is spoken, by a voice whose sound holds the text itself."""

    def test_a_wav_is_heard_again(self, echo: openai.OpenAI) -> None:
        sound = spoken(echo, "hello there, world")
        heard = echo.audio.transcriptions.create(model="echo-hear", file=("a.wav", sound))
        assert heard.text == "hello there, world"
        assert heard.usage is not None
        assert heard.usage.type == "duration"
        assert heard.usage.seconds == pytest.approx(Audio.from_bytes(sound).duration)

    @pytest.mark.parametrize("form", FORMATS)
    def test_every_format_is_a_whole_file(self, echo_server: Any, form: str) -> None:
        long = " ".join(["again"] * 30)
        body = {"input": long, "response_format": form}
        answer = httpx.post(f"{echo_server.url}/v1/audio/speech", json=body)
        assert answer.status_code == 200
        kinds = {"mp3": "audio/mpeg", "opus": "audio/ogg"}
        assert answer.headers["content-type"] == kinds.get(form, f"audio/{form}")
        seconds = len(long) * 160 / 16_000
        if form == "pcm":
            assert len(answer.content) / 2 / PCM_RATE == pytest.approx(seconds, abs=0.01)
        else:
            audio = Audio.from_bytes(answer.content)
            assert len(audio.samples) / audio.sample_rate == pytest.approx(seconds, abs=0.15)
            assert audio.channels == 1
        # Whether or not its head says how long it is.
        if form in ("wav", "flac"):
            heard = upload(echo_server.url, "transcriptions", answer.content)
            assert heard.json()["text"] == long

    def test_mp3_is_what_comes_where_nothing_is_said(self, echo_server: Any) -> None:
        answer = httpx.post(f"{echo_server.url}/v1/audio/speech", json={"input": "hello"})
        assert answer.headers["content-type"] == "audio/mpeg"

    def test_pieces_are_sent_as_they_are_made(self, echo_server: Any) -> None:
        body = {"input": "one two three", "response_format": "wav"}
        with httpx.stream("POST", f"{echo_server.url}/v1/audio/speech", json=body) as answer:
            assert "content-length" not in answer.headers
            whole = b"".join(answer.iter_raw())
        assert whole[:4] == b"RIFF"

    def test_events_hold_the_same_sound(self, echo_server: Any, echo: openai.OpenAI) -> None:
        body = {"input": "one two", "response_format": "wav", "stream_format": "sse"}
        answer = httpx.post(f"{echo_server.url}/v1/audio/speech", json=body)
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
        assert lines.pop() == "[DONE]"
        events = [json.loads(line) for line in lines]
        assert [event["type"] for event in events] == [
            "speech.audio.delta",
            "speech.audio.delta",
            "speech.audio.done",
        ]
        sound = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
        assert sound == spoken(echo, "one two")

    def test_the_speed_is_kept_to(self, echo: openai.OpenAI) -> None:
        slow, fast = (Audio.from_bytes(spoken(echo, "hello", speed=s)) for s in (1.0, 2.0))
        assert fast.duration == pytest.approx(slow.duration / 2, rel=0.01)

    @pytest.mark.parametrize(
        ("more", "param"),
        [
            ({"input": ""}, "input"),
            ({"input": "  "}, None),
            ({"voice": "alloy"}, None),
            ({"response_format": "vorbis"}, "response_format"),
            ({"speed": 11}, "speed"),
            ({"speed": "fast"}, "speed"),
            ({"instructions": "whisper"}, "instructions"),
            ({"stream_format": "lines"}, "stream_format"),
        ],
    )
    def test_what_cannot_be_done_is_said(
        self, echo_server: Any, more: dict[str, Any], param: str | None
    ) -> None:
        answer = httpx.post(f"{echo_server.url}/v1/audio/speech", json={"input": "hello", **more})
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == param

    def test_an_unknown_model_is_not_found(self, echo: openai.OpenAI) -> None:
        with pytest.raises(openai.NotFoundError):
            spoken(echo, "hello", model="tts-1")

    def test_a_model_that_tells_no_voices(self, echo_server: Any) -> None:
        answer = httpx.get(f"{echo_server.url}/v1/audio/voices")
        assert answer.status_code == 400
        assert "does not tell its voices" in answer.json()["error"]["message"]

    def test_a_client_that_goes_stops_the_voice(self, echo_catalog: Any, tmp_path: Path) -> None:
        with running(read_catalog(tmp_path, MODELS)) as server:
            body = {"model": "slow-speak", "input": "word " * 3000, "response_format": "pcm"}
            with httpx.stream("POST", f"{server.url}/v1/audio/speech", json=body) as answer:
                next(answer.iter_raw())
                assert leases(server, "slow-speak") == 1
            wait_for(lambda: leases(server, "slow-speak") == 0)

    def test_a_sound_that_breaks_off_does_not_pass_for_whole(
        self, echo_catalog: Any, tmp_path: Path
    ) -> None:
        with running(read_catalog(tmp_path, MODELS)) as server:
            body = {"model": "breaking-speak", "input": "a b c d", "response_format": "wav"}
            with pytest.raises(httpx.RemoteProtocolError):
                httpx.post(f"{server.url}/v1/audio/speech", json=body)
            answer = httpx.post(
                f"{server.url}/v1/audio/speech", json={**body, "stream_format": "sse"}
            )
            assert '"error"' in answer.text
            assert "speech.audio.done" not in answer.text

    def test_pieces_of_other_rates_become_one_sound(self) -> None:
        file = SpeechFile("wav")
        data = file.push(Audio.from_samples([0.5] * 8000, 16_000))
        data += file.push(Audio.from_samples([0.5] * 24_000, 48_000))
        data += file.finish()
        audio = Audio.from_bytes(data)
        assert audio.sample_rate == 16_000
        assert len(audio.samples) / 16_000 == pytest.approx(1.0, abs=0.01)
        assert SpeechFile("pcm").finish() == b""


class TestTranscription:
    """The forms of a transcript, and the limits of a sound."""

    def test_text(self, echo_server: Any, sound: bytes) -> None:
        answer = upload(echo_server.url, "transcriptions", sound, response_format="text")
        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.text == "hello there\n"

    def test_subtitles(self, echo_server: Any, sound: bytes) -> None:
        answer = upload(echo_server.url, "transcriptions", sound, response_format="srt")
        assert answer.text.splitlines()[:3] == ["1", "00:00:00,000 --> 00:00:00,050", "hello"]
        answer = upload(echo_server.url, "transcriptions", sound, response_format="vtt")
        assert answer.text.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:00.050\nhello\n")

    def test_segments_and_words(self, echo: openai.OpenAI, sound: bytes) -> None:
        asked: dict[str, Any] = {"model": "echo-hear", "response_format": "verbose_json"}
        plain = echo.audio.transcriptions.create(file=("a.wav", sound), **asked)
        assert plain.words is None
        assert [segment.text.strip() for segment in plain.segments] == ["hello", "there"]
        assert plain.segments[1].start == pytest.approx(0.05)
        assert plain.duration == pytest.approx(0.11)
        timed = echo.audio.transcriptions.create(
            file=("a.wav", sound), timestamp_granularities=["word"], **asked
        )
        assert timed.segments is None
        assert [word.word for word in timed.words] == ["hello", "there"]
        both = echo.audio.transcriptions.create(
            file=("a.wav", sound), timestamp_granularities=["word", "segment"], **asked
        )
        assert len(both.words) == len(both.segments) == 2

    def test_a_stream(self, echo: openai.OpenAI, sound: bytes) -> None:
        events = list(
            echo.audio.transcriptions.create(model="echo-hear", file=("a.wav", sound), stream=True)
        )
        assert [event.type for event in events] == [
            "transcript.text.delta",
            "transcript.text.delta",
            "transcript.text.done",
        ]
        deltas = [event.delta for event in events if event.type == "transcript.text.delta"]
        last: Any = events[-1]
        assert "".join(deltas) == last.text == "hello there"

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"response_format": "diarized_json"}, "verbose_json"),
            ({"temperature": "2"}, "less than"),
            ({"temperature": "nan"}, "finite"),
            ({"temperature": "warm"}, "number"),
            ({"timestamp_granularities[]": "letter"}, "segment"),
            ({"timestamp_granularities[]": "word"}, "verbose_json"),
            ({"include[]": "logprobs"}, "'include' is not supported"),
            ({"known_speaker_names[]": "me"}, "who speaks"),
            ({"stream": "true", "response_format": "srt"}, "stream"),
            ({"stream": "perhaps"}, "stream"),
            ({"language": "xx"}, "echo"),
        ],
    )
    def test_what_cannot_be_done_is_said(
        self, echo_server: Any, sound: bytes, fields: dict[str, str], words: str
    ) -> None:
        answer = upload(echo_server.url, "transcriptions", sound, **fields)
        assert answer.status_code == 400
        assert words in answer.json()["error"]["message"]

    @pytest.mark.parametrize("data", [b"", b"not sound", b"RIFF\xff\xff\xff\xffWAVEfmt "])
    @pytest.mark.parametrize("stream", ["false", "true"])
    def test_a_file_that_is_no_sound(self, echo_server: Any, data: bytes, stream: str) -> None:
        answer = upload(echo_server.url, "transcriptions", data, stream=stream)
        assert answer.status_code == 400
        assert answer.json()["error"]["type"] == "invalid_request_error"

    def test_a_request_without_a_file(self, echo_server: Any) -> None:
        url = f"{echo_server.url}/v1/audio/transcriptions"
        answer = httpx.post(url, data={"model": "echo-hear"})
        assert answer.status_code == 400
        assert "file" in answer.json()["error"]["message"]
        # A path in its place is a text, and no file.
        answer = httpx.post(url, data={"file": "/etc/passwd"})
        assert answer.status_code == 400

    def test_a_sound_that_is_too_long(self, echo_catalog: Any, sound: bytes) -> None:
        with running(echo_catalog, max_sound=0.1) as server:
            flac = Audio.from_bytes(sound).to_bytes("flac")
            for data in (sound, flac):
                # One of them does not say in its head how long it is.
                answer = upload(server.url, "transcriptions", data)
                assert answer.status_code == 400
                assert "0.1 seconds" in answer.json()["error"]["message"]
            short = Audio.from_bytes(sound).cut(0, 0.05).to_bytes("wav")
            assert upload(server.url, "transcriptions", short).json()["text"] == "hello"


@real
class TestRealEngines:
    """A voice and an ear."""

    def test_what_is_said_is_heard(self, client: openai.OpenAI, fox: bytes) -> None:
        heard = client.audio.transcriptions.create(
            model="transcribe", file=("fox.wav", io.BytesIO(fox)), language="en", temperature=0
        )
        assert is_said(heard.text)

    def test_a_packed_voice_is_heard_too(self, client: openai.OpenAI) -> None:
        sound = spoken(client, SAID, model="speak", response_format="mp3", speed=0.9)
        heard = client.audio.transcriptions.create(
            model="transcribe", file=("fox.mp3", sound), response_format="text"
        )
        assert is_said(heard)

    def test_times_of_words(self, client: openai.OpenAI, fox: bytes) -> None:
        heard = client.audio.transcriptions.create(
            model="transcribe",
            file=("fox.wav", fox),
            response_format="verbose_json",
            timestamp_granularities=["word", "segment"],
        )
        assert is_said(" ".join(word.word for word in heard.words))
        starts = [word.start for word in heard.words]
        assert starts == sorted(starts)
        assert heard.duration == pytest.approx(Audio.from_bytes(fox).duration, abs=0.1)
        assert heard.language == "en"
        assert heard.segments[0].avg_logprob < 0
        assert 0.3 < heard.segments[0].compression_ratio < 2.4

    def test_the_voices_of_a_model(self, server: Any) -> None:
        answer = httpx.get(f"{server.url}/v1/audio/voices", params={"model": "speak"}).json()
        assert answer["object"] == "list"
        assert answer["data"][0]["language"] == "en_US"
        assert answer["voices"] == [voice["id"] for voice in answer["data"]]

    @pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # the client's own
    def test_a_translation(self, fox: bytes, tmp_path: Path) -> None:
        text = """
            [discover]
            starters = false
            cache = false
            programs = false
            [models.hear]
            spec = "whispercpp:starter:transcribe-base"
            kind = "transcription"
            """
        with (
            running(read_catalog(tmp_path, text)) as server,
            openai.OpenAI(base_url=f"{server.url}/v1", api_key="none") as client,
        ):
            plain = client.audio.translations.create(model="hear", file=("fox.wav", fox))
            assert is_said(plain.text)
            told: Any = client.audio.translations.create(
                model="hear", file=("fox.wav", fox), response_format="verbose_json"
            )
            assert told.task == "translate"

    @pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # the client's own
    def test_a_model_of_english_alone_translates_nothing(
        self, client: openai.OpenAI, fox: bytes
    ) -> None:
        with pytest.raises(openai.BadRequestError):
            client.audio.translations.create(model="transcribe", file=("fox.wav", fox))
