"""What goes around a chat model: each takes one and gives one, and they compose in any order."""

from blazen.middleware.cache import with_cache
from blazen.middleware.cache_stores import CacheStore, MemoryCache, SqliteCache
from blazen.middleware.fallback import MOVES_ON, with_fallback
from blazen.middleware.hooks import Call, with_hooks
from blazen.middleware.limits import with_limits
from blazen.middleware.places import Limits
from blazen.middleware.retry import with_retry
from blazen.middleware.timeout import with_timeout
from blazen.middleware.tracing import with_tracing
from blazen.remote.retry import Retry

__all__ = [
    "MOVES_ON",
    "CacheStore",
    "Call",
    "Limits",
    "MemoryCache",
    "Retry",
    "SqliteCache",
    "with_cache",
    "with_fallback",
    "with_hooks",
    "with_limits",
    "with_retry",
    "with_timeout",
    "with_tracing",
]
