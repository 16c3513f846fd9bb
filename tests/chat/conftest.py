from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session")
def machine() -> Iterator[Any]:
    """llama.cpp's grammar machine; a test that asks for it needs llamacpp and starter:chat."""
    from tests.schema.engine import Machine

    made = Machine()
    yield made
    made.close()
