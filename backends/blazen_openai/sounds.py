"""A sound as the file that goes to the API."""

from __future__ import annotations

from blazen.errors import MissingExtraError, UnsupportedError, ValidationError
from blazen.types.audio import Audio

LARGEST = 25 * 1024 * 1024
"""How many bytes the API takes."""

_SUFFIXES = {
    "audio/wav": "wav",
    "audio/flac": "flac",
    "audio/mpeg": "mp3",
    "audio/mp4": "m4a",
    "audio/ogg": "ogg",
    "video/mp4": "mp4",
    "audio/webm": "webm",
    "video/webm": "webm",
}
_SPEECH_RATE = 16_000

File = tuple[str, bytes, str]


def file_of(audio: Audio) -> tuple[File, float | None]:
    """Give the file, and how many seconds it lasts where that is known.

    A file of a kind that the API takes is sent as it is, anything else as WAV; what is too large
    for it is sent as FLAC, with one channel and 16,000 samples a second.
    """
    media_type = audio.media_type
    if media_type not in _SUFFIXES:
        media_type = "audio/wav"
    data = None
    if audio.path is None or audio.path.stat().st_size <= LARGEST:
        data = audio.to_bytes(None if media_type == audio.media_type else "wav")
    if data is None or len(data) > LARGEST:
        small = Audio.from_samples(audio.to_samples(sample_rate=_SPEECH_RATE), _SPEECH_RATE)
        data, media_type = small.to_bytes("flac"), "audio/flac"
    if len(data) > LARGEST:
        raise UnsupportedError(
            f"{audio!r} has {len(data):,} bytes even as FLAC of one channel, and the API takes "
            f"{LARGEST:,}: give it in parts, as audio.cut(0, 600), best cut where nobody speaks"
        )
    return (f"audio.{_SUFFIXES[media_type]}", data, media_type), _seconds(audio)


def _seconds(audio: Audio) -> float | None:
    try:
        return audio.known_duration
    except (ValidationError, MissingExtraError):
        return None  # the API judges what can't be read here
