"""The server as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from starlette.routing import Route

from blazen.assistant import Skills
from blazen.catalog import Catalog
from blazen.server import docs, failures
from blazen.server.apis import ROUTERS
from blazen.server.guard.gate import Gate
from blazen.server.history import History
from blazen.server.metrics import RequestCounters
from blazen.server.pages import router as pages
from blazen.server.service import Service
from blazen.server.settings import ServerSettings
from blazen.server.tools import PATH, Tools


def create_app(catalog: Catalog, settings: ServerSettings | None = None) -> FastAPI:
    """Make the application that serves a catalogue's models; they are opened as it starts up."""
    settings = settings or ServerSettings()
    history = History(settings.chat_history) if settings.chat_history is not None else None
    skills = _skills(settings)
    counters = RequestCounters()
    tools = Tools.of(lambda: app.state.service.open, settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        keep_alive = ... if settings.keep_alive is None else settings.keep_alive
        async with catalog.start(keep_alive=keep_alive) as opened:
            for name in settings.preload:
                kind = catalog.find(name).kind
                await opened.manager.load(await opened.name_of(name, kind, given=True))
            app.state.service = Service(settings, opened, counters, history, skills)
            async with AsyncExitStack() as running:
                if tools is not None:
                    await running.enter_async_context(tools.running())
                try:
                    yield
                finally:
                    app.state.service.stop()

    app = FastAPI(
        title="blazen",
        summary="Models of every kind on this machine, asked over HTTP.",
        version=version("blazen"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.add_middleware(Gate, settings=settings, counters=counters)
    failures.install(app)
    for router in ROUTERS:
        app.include_router(router)
    if settings.pages:
        app.include_router(pages)
    if tools is not None:
        # A Route takes the path as it is, where a Mount would send clients on to /mcp/.
        app.router.routes.append(Route(PATH, endpoint=tools, include_in_schema=False))
    app.include_router(docs.router)
    docs.describe(app, keyed=settings.api_key is not None)
    return app


def _skills(settings: ServerSettings) -> Skills | None:
    if settings.skills_dir is None:
        return None
    return Skills.read(settings.skills_dir, settings.max_skills, int(settings.skill_max_bytes))
