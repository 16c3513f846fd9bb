"""OpenAI, and every gateway that speaks its API: through OpenAI's own SDK."""

from blazen_openai.model import OpenAiProvider

__all__ = ["OpenAiProvider"]
