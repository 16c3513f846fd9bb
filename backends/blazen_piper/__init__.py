"""Speech with Piper's voices, on ONNX Runtime."""

from blazen_piper.model import PiperSpeech
from blazen_piper.voices import installed_voices, known_voices

__all__ = ["PiperSpeech", "installed_voices", "known_voices"]
