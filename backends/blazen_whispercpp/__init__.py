"""Transcription with Whisper, through whisper.cpp."""

from blazen_whispercpp.model import WhisperCppModel

__all__ = ["WhisperCppModel"]
