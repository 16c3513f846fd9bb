"""Speech with Kokoro-82M, on ONNX Runtime."""

from blazen_kokoro.model import KokoroVoice
from blazen_kokoro.voices import VoiceInfo

__all__ = ["KokoroVoice", "VoiceInfo"]
