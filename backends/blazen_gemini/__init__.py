"""Gemini: chat and embeddings by Google's Gemini API, through google-genai."""

from blazen_gemini.embedding import GeminiEmbedding
from blazen_gemini.model import GeminiProvider

__all__ = ["GeminiEmbedding", "GeminiProvider"]
