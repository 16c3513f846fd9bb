"""What tests a backend: a conformance suite for each protocol, and echo backends to test against.

A suite is a class to inherit. Three lines put a model to the test::

    class TestMyModel(ModelSuite):
        @pytest.fixture
        def model(self):
            return MyModel(...)

The suites need pytest and nothing else; the echo backends do not even need that.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blazen.testing.answering import AnsweringSuite as AnsweringSuite
    from blazen.testing.echo import EchoEmbedding as EchoEmbedding
    from blazen.testing.echo import EchoModel as EchoModel
    from blazen.testing.echo_engine import EchoOptions as EchoOptions
    from blazen.testing.echo_media import EchoImage as EchoImage
    from blazen.testing.echo_media import EchoMesh as EchoMesh
    from blazen.testing.echo_rerank import EchoReranker as EchoReranker
    from blazen.testing.echo_speech import EchoTranscription as EchoTranscription
    from blazen.testing.echo_speech import EchoTTS as EchoTTS
    from blazen.testing.echo_vectors import EchoImageEmbedding as EchoImageEmbedding
    from blazen.testing.echo_vectors import EchoSparse as EchoSparse
    from blazen.testing.echo_vectors import EchoTokens as EchoTokens
    from blazen.testing.embedding import EmbeddingSuite as EmbeddingSuite
    from blazen.testing.image import ImageSuite as ImageSuite
    from blazen.testing.image_embedding import ImageEmbeddingSuite as ImageEmbeddingSuite
    from blazen.testing.local import LocalSuite as LocalSuite
    from blazen.testing.model import ModelSuite as ModelSuite
    from blazen.testing.model import TextModelSuite as TextModelSuite
    from blazen.testing.rerank import RerankSuite as RerankSuite
    from blazen.testing.sparse import SparseEmbeddingSuite as SparseEmbeddingSuite
    from blazen.testing.streaming import StreamSuite as StreamSuite
    from blazen.testing.suite import Suite as Suite
    from blazen.testing.text_vectors import TextVectorsSuite as TextVectorsSuite
    from blazen.testing.three_d import ThreeDSuite as ThreeDSuite
    from blazen.testing.token_embedding import TokenEmbeddingSuite as TokenEmbeddingSuite
    from blazen.testing.transcription import TranscriptionSuite as TranscriptionSuite
    from blazen.testing.tts import TTSSuite as TTSSuite

_SUITES = {
    "AnsweringSuite": "answering",
    "EmbeddingSuite": "embedding",
    "ImageEmbeddingSuite": "image_embedding",
    "ImageSuite": "image",
    "LocalSuite": "local",
    "ModelSuite": "model",
    "RerankSuite": "rerank",
    "SparseEmbeddingSuite": "sparse",
    "StreamSuite": "streaming",
    "Suite": "suite",
    "TTSSuite": "tts",
    "TextModelSuite": "model",
    "TextVectorsSuite": "text_vectors",
    "ThreeDSuite": "three_d",
    "TokenEmbeddingSuite": "token_embedding",
    "TranscriptionSuite": "transcription",
}
_ECHOES = {
    "EchoEmbedding": "echo",
    "EchoImage": "echo_media",
    "EchoImageEmbedding": "echo_vectors",
    "EchoMesh": "echo_media",
    "EchoModel": "echo",
    "EchoOptions": "echo_engine",
    "EchoReranker": "echo_rerank",
    "EchoSparse": "echo_vectors",
    "EchoTTS": "echo_speech",
    "EchoTokens": "echo_vectors",
    "EchoTranscription": "echo_speech",
}

__all__ = [*_SUITES, *_ECHOES]


def __getattr__(name: str) -> Any:
    if name in _SUITES:
        _show_values_of_failed_asserts()
    module = _SUITES.get(name) or _ECHOES.get(name)
    if module is None:
        raise AttributeError(f"module 'blazen.testing' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"blazen.testing.{module}"), name)
    globals()[name] = value
    return value


def _show_values_of_failed_asserts() -> None:
    # pytest rewrites the asserts of test files only, unless it is told before the first import.
    modules = [f"blazen.testing.{module}" for module in sorted(set(_SUITES.values()))]
    if not any(module in sys.modules for module in modules):
        import pytest

        pytest.register_assert_rewrite(*modules)
