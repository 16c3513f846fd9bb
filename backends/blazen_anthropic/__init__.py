"""Anthropic's models, through its own SDK."""

from blazen_anthropic.model import AnthropicProvider

__all__ = ["AnthropicProvider"]
