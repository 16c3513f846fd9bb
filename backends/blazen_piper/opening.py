"""Loading a voice, so that what is wrong with it shows at once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from blazen.bridge import Job
from blazen.errors import LoadError, MissingExtraError, UnsupportedError
from blazen.hardware import Device
from blazen.onnx import open_session
from blazen_piper.engine import Engine
from blazen_piper.espeak import check_data
from blazen_piper.files import VoiceFiles
from blazen_piper.voices import described

if TYPE_CHECKING:
    from piper.config import PiperConfig

_INPUTS = {"input", "input_lengths", "scales"}


def open_voice(name: str, files: VoiceFiles, device: Device, threads: int, job: Job) -> Engine:
    """Load a voice and have it say something; ``name`` is what messages call it."""
    import onnxruntime
    from piper import PiperVoice
    from piper.phonemize_espeak import ESPEAK_DATA_DIR

    settings = _read_settings(files)
    config = _config(settings, files)
    check_data(ESPEAK_DATA_DIR)
    session = open_session(files.weights, device, threads)
    given = {place.name for place in session.get_inputs()}
    if not given >= _INPUTS or (config.num_speakers > 1 and "sid" not in given):
        raise LoadError(
            f"{files.weights} is no voice as {files.settings.name} describes it: it takes "
            f"{', '.join(sorted(given))}"
        )
    engine = Engine(
        described(name, files, settings),
        PiperVoice(session=session, config=config, espeak_data_dir=ESPEAK_DATA_DIR),
        session,
        tuple({name, files.weights.stem, str(settings.get("dataset") or files.weights.stem)}),
    )
    _try(engine, files, job, onnxruntime.RunOptions())
    return engine


def _try(engine: Engine, files: VoiceFiles, job: Job, options: Any) -> None:
    """Speak a little: what can't work shows here, and later requests find all in place."""
    job.on_cancel(lambda: setattr(options, "terminate", True))
    manner = engine.manner(speaker=None, speed=1.0, noise=None, rhythm_noise=None)
    try:
        engine.gain(manner, job, options)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{engine.name} speaks {engine.language}, for which piper needs {error.name!r}: "
            "install piper-tts with its extra for that language (such as 'piper-tts[ja]')"
        ) from error
    except Exception as error:
        raise LoadError(f"{files.weights} is loaded, but does not speak: {error}") from error


def _read_settings(files: VoiceFiles) -> dict[str, Any]:
    try:
        settings = json.loads(files.settings.read_bytes())
    except (OSError, ValueError) as error:
        raise LoadError(
            f"{files.settings}, the settings of {files.weights.name}, can't be read: {error}"
        ) from error
    if not isinstance(settings, dict):
        raise LoadError(f"{files.settings} holds no settings of a Piper voice")
    return settings


def _config(settings: dict[str, Any], files: VoiceFiles) -> PiperConfig:
    from piper.config import PiperConfig

    try:
        config = PiperConfig.from_dict(settings)
    except Exception as error:
        raise LoadError(
            f"{files.settings} holds no settings of a Piper voice: {type(error).__name__}: {error}"
        ) from error
    if config.phoneme_type == "pinyin":
        # piper would fetch an archive from the network and unpack it, both unchecked.
        raise UnsupportedError(
            f"{files.weights.name} needs a second model for its phonemes (g2pW), which is not "
            "supported: take a voice whose phonemes come from espeak, such as zh_CN-huayan-medium"
        )
    return config
