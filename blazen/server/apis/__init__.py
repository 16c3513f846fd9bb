"""The routes, each API in a folder of its own."""

from __future__ import annotations

from fastapi import APIRouter

from blazen.server.apis import lmstudio, native, ollama, openai

ROUTERS: tuple[APIRouter, ...] = (openai.router, lmstudio.router, ollama.router, native.router)
