"""Where model files come from: the cache, the hub, any URL, and the starter models."""
