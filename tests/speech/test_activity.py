"""Speech is found where there is some, quiet or loud or in noise, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from blazen.errors import ValidationError
from blazen.speech.activity import SpeechActivity, speech_regions
from blazen.types.audio import Audio

np = pytest.importorskip("numpy")
pytest.importorskip("av")

RATE = 16_000
SPEECH = Path(__file__).parents[1] / "data" / "two-sentences.ogg"
"""Piper's voice joe says a sentence, is silent for two seconds, and says another."""
SPOKEN = ((0.5, 4.2), (6.2, 9.1))


def noise(seconds, level, color="white", seed=0):
    count = round(seconds * RATE)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    steepness = {"white": 0.0, "pink": 0.5, "brown": 1.0}[color]
    spectrum /= np.maximum(np.arange(len(spectrum)), 20) ** steepness
    sound = np.fft.irfft(spectrum, count)
    return (sound / sound.std() * level).astype(np.float32)


def silence(seconds):
    return np.zeros(round(seconds * RATE), np.float32)


def hum(seconds, hertz):
    t = np.arange(round(seconds * RATE)) / RATE
    waves = sum(np.sin(2 * np.pi * hertz * k * t + k) / k for k in range(1, 12))
    return (0.05 * waves).astype(np.float32)


def clicks(seconds, every=None):
    sound, random = silence(seconds), np.random.default_rng(3)
    if every:
        sound[:: round(every * RATE)] = 0.9
        return sound
    click = random.standard_normal(200) * np.exp(-np.arange(200) / 30) * 0.5
    for place in random.integers(0, len(sound) - 200, 40):
        sound[place : place + 200] += click.astype(np.float32)
    return sound


def beeps(seconds):
    t = np.arange(round(seconds * RATE)) / RATE
    return (0.2 * np.sin(2 * np.pi * 1000 * t) * (t % 1 < 0.3)).astype(np.float32)


@pytest.fixture(scope="module")
def speech():
    return Audio.from_file(SPEECH).to_samples()


def covered(regions, spans):
    """How much of some spans lies within the regions."""
    inside = sum(max(0, min(b, d) - max(a, c)) for a, b in regions for c, d in spans)
    return inside / sum(d - c for c, d in spans)


NO_SPEECH = {
    "digital silence": lambda: silence(8),
    **{
        f"{color} noise at {level}": lambda color=color, level=level: noise(8, level, color, 1)
        for color in ("white", "pink", "brown")
        for level in (1e-5, 1e-3, 0.03, 0.3)
    },
    "noise that begins": lambda: np.r_[silence(3), noise(5, 0.1)],
    "pink noise that begins": lambda: np.r_[silence(3), noise(5, 0.1, "pink")],
    "bursts of noise": lambda: noise(8, 0.1) * (np.arange(8 * RATE) / RATE % 1.5 < 0.3),
    "clicks": lambda: clicks(8),
    "clicks in noise": lambda: clicks(8) + noise(8, 0.003),
    "ticks": lambda: clicks(8, 0.1),
    "beeps": lambda: beeps(8),
    **{f"a hum of {hertz} Hz": lambda hertz=hertz: hum(8, hertz) for hertz in (50, 60, 100, 120)},
    "a hum that begins": lambda: np.r_[silence(3), hum(5, 120)],
    "a hum in noise": lambda: np.r_[noise(3, 1e-3), hum(5, 100) + noise(5, 0.01, "pink")],
    "a hum that comes and goes": lambda: hum(8, 100) * (np.arange(8 * RATE) / RATE % 4 < 2),
    "nothing": lambda: silence(0),
    "ten milliseconds": lambda: noise(0.01, 0.1),
}


@pytest.mark.parametrize("what", NO_SPEECH)
def test_where_no_one_speaks_nothing_is_found(what):
    assert speech_regions(NO_SPEECH[what]()) == []


@pytest.mark.parametrize("seed", range(2, 8))
def test_no_noise_happens_to_be_speech(seed):
    for color in ("white", "pink", "brown"):
        assert speech_regions(noise(30, 0.05, color, seed)) == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda sound: sound,
        lambda sound: sound * 0.003,
        lambda sound: np.clip(sound * 8, -1, 1),
        lambda sound: sound + noise(1, 1.0)[0],
        lambda sound: np.rint(sound * 32768) / 32768,
    ],
    ids=["as it is", "very quiet", "clipped", "off its middle", "of 16 bits"],
)
def test_speech_is_found_and_its_pause_too(speech, spoil):
    regions = speech_regions(spoil(speech))
    assert len(regions) == 2
    assert covered(regions, SPOKEN) > 0.97
    assert sum(b - a for a, b in regions) < sum(b - a for a, b in SPOKEN) + 1.2


@pytest.mark.parametrize("color", ["white", "pink", "brown"])
def test_speech_in_noise_is_found(speech, color):
    loudness = float(np.sqrt(np.mean(np.square(speech[: round(4 * RATE)]))))
    sound = np.concatenate([silence(3), speech, silence(3)])
    sound = sound + noise(len(sound) / RATE, loudness / 10**0.5, color)
    regions = [(a - 3, b - 3) for a, b in speech_regions(sound)]
    assert covered(regions, SPOKEN) > 0.85
    assert covered(regions, [(-3, -0.6), (9.9, 12)]) == 0


@pytest.mark.parametrize("rate", [8000, 8008, 8050, 8099, 22_050, 48_000])
def test_any_rate_will_do(rate):
    regions = speech_regions(Audio.from_file(SPEECH).to_samples(sample_rate=rate), rate)
    assert len(regions) == 2
    assert covered(regions, SPOKEN) > 0.97


def test_onsets_are_kept(speech):
    # Loud enough to count as begun: the first sound of a word may be a soft one.
    first, second = speech_regions(speech)
    assert first[0] <= SPOKEN[0][0]
    assert second[0] <= SPOKEN[1][0]
    tight = speech_regions(speech, padding=0.0)
    assert all(a <= c and d <= b for (a, b), (c, d) in zip((first, second), tight, strict=True))


def test_gaps_are_bridged_as_asked(speech):
    assert len(speech_regions(speech, gap=3.0)) == 1
    assert len(speech_regions(speech, gap=0.1)) >= 2


@pytest.mark.parametrize("size", [1, 160, 1600, 40_000])
def test_how_the_sound_is_cut_does_not_matter(speech, size):
    if size == 1:
        speech = speech[: 2 * RATE]
    expected, activity, events = speech_regions(speech), SpeechActivity(), []
    for start in range(0, len(speech), size):
        events += activity.feed(speech[start : start + size])
    events += activity.finish()
    assert [event.kind for event in events] == ["start", "end"] * (len(events) // 2)
    times = [event.seconds for event in events]
    assert times == sorted(times)
    assert list(zip(times[::2], times[1::2], strict=True)) == expected
    assert activity.seconds == len(speech) / RATE


def test_a_beginning_is_told_at_once_and_an_end_after_the_gap(speech):
    activity, told = SpeechActivity(gap=0.5), {}
    for start in range(0, len(speech), 800):
        for event in activity.feed(speech[start : start + 800]):
            told.setdefault(event.kind, (event.seconds, activity.seconds))
        if activity.seconds < SPOKEN[0][1]:
            assert activity.speaking == ("start" in told)
    assert told["start"][1] < SPOKEN[0][0] + 0.5
    assert told["end"][0] < told["end"][1] < SPOKEN[0][1] + 1.0


def test_two_channels_and_integers_are_sound_too(speech):
    both = np.stack([speech, speech], axis=1)
    assert speech_regions(both) == speech_regions(speech)
    integers = np.rint(speech * 32768).clip(-32768, 32767).astype(np.int16)
    assert len(speech_regions(integers)) == 2


def test_a_finished_one_may_go_on(speech):
    activity = SpeechActivity()
    first = activity.feed(speech[: 3 * RATE]) + activity.finish()
    assert [event.kind for event in first] == ["start", "end"]
    second = activity.feed(speech[3 * RATE :]) + activity.finish()
    assert second[0].seconds >= first[1].seconds


@pytest.mark.parametrize(
    "settings", [{"sample_rate": 100}, {"padding": -1}, {"gap": 0}, {"sample_rate": 16_000.5}]
)
def test_bad_settings_are_refused(settings):
    with pytest.raises(ValidationError, match=next(iter(settings))):
        SpeechActivity(**settings)


@pytest.mark.parametrize("bad", [[float("nan")], ["a"], np.zeros((2, 2, 2))])
def test_what_is_no_sound_is_refused(bad):
    with pytest.raises(ValidationError):
        SpeechActivity().feed(bad)
