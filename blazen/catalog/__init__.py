"""Which models there are, by name: from a file, the starter models, the cache and other folders."""

from typing import TYPE_CHECKING, Any

from blazen.catalog.catalog import Catalog
from blazen.catalog.listing import Listing

if TYPE_CHECKING:
    from blazen.catalog.opened import OpenCatalog as OpenCatalog

__all__ = ["Catalog", "Listing", "OpenCatalog"]


def __getattr__(name: str) -> Any:
    # The manager comes with it, which who only lists models does not need.
    if name == "OpenCatalog":
        from blazen.catalog.opened import OpenCatalog

        return OpenCatalog
    raise AttributeError(f"module 'blazen.catalog' has no attribute {name!r}")
