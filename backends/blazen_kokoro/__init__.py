"""Speech with Kokoro-82M, on ONNX Runtime."""

from blazen_kokoro.model import KokoroVoice

__all__ = ["KokoroVoice"]
