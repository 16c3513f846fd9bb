"""Loading a voice, so that what is wrong with it shows at once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from blazen.bridge import Job
from blazen.errors import LoadError, MissingExtraError, UnsupportedError
from blazen.hardware import Device
from blazen_piper.engine import Engine
from blazen_piper.espeak import check_data
from blazen_piper.files import VoiceFiles

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
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
    session = _session(files, device, threads)
    given = {place.name for place in session.get_inputs()}
    if not given >= _INPUTS or (config.num_speakers > 1 and "sid" not in given):
        raise LoadError(
            f"{files.weights} is no voice as {files.settings.name} describes it: it takes "
            f"{', '.join(sorted(given))}"
        )
    language = settings.get("language") or {}
    engine = Engine(
        name,
        PiperVoice(session=session, config=config, espeak_data_dir=ESPEAK_DATA_DIR),
        session,
        str(language.get("code") or config.espeak_voice),
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


def _session(files: VoiceFiles, device: Device, threads: int) -> InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # It keeps a plan for every length of text that ever came, and memory would grow with them.
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            str(files.weights), sess_options=options, providers=_providers(device)
        )
    except Exception as error:
        raise LoadError(f"ONNX Runtime could not load {files.weights}: {error}") from error
    # ONNX Runtime takes the CPU without a word when the GPU that was asked for fails to start.
    if device != Device.Cpu and session.get_providers()[0] == "CPUExecutionProvider":
        raise UnsupportedError(
            f"{device} was asked for, but ONNX Runtime started on the CPU: its GPU package needs "
            "CUDA and cuDNN libraries that it finds"
        )
    return session


def supported_devices() -> list[str]:
    """Give the kinds of device that the installed ONNX Runtime runs on."""
    import onnxruntime

    gpu = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    return ["cpu", "cuda"] if gpu else ["cpu"]


def _providers(device: Device) -> list[Any]:
    if device == Device.Cpu:
        return ["CPUExecutionProvider"]
    # To try out every convolution for each new length of text would take seconds.
    cuda = {"device_id": device.index or 0, "cudnn_conv_algo_search": "HEURISTIC"}
    return [("CUDAExecutionProvider", cuda), "CPUExecutionProvider"]
