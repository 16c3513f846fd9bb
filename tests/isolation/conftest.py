"""Models in worker processes that are in trouble, and what is left of them."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from blazen import Isolation
from blazen.isolation import spares
from blazen.isolation.model import isolate
from tests.isolation.engines import Trouble, TroubleOptions
from tests.isolation.watching import WAIT, Ear, Held


@pytest.fixture
def ear():
    ear = Ear()
    logging.getLogger().addHandler(ear)
    yield ear
    logging.getLogger().removeHandler(ear)


@pytest.fixture
async def trouble():
    """Makes models; at the end they are unloaded, and nothing of them is left."""
    models: list[Any] = []

    def make(kind: Any = Trouble, isolation: Isolation | None = None, **options: Any) -> Any:
        model = isolate(kind(TroubleOptions(**options)), isolation or Isolation())
        models.append(model)
        return model

    before = Held()
    yield make
    for model in models:
        await asyncio.wait_for(model.unload(), WAIT)
    models.clear()
    spares.dismiss()
    before.check()
