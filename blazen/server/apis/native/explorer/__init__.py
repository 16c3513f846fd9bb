"""A look into GGUF files: metadata, tensors, tokens, vectors, prompts."""

from blazen.server.apis.native.explorer.routes import router

__all__ = ["router"]
