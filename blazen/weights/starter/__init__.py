"""Small real models that come as packages."""

from blazen.weights.starter.ready import starter_path, starters
from blazen.weights.starter.table import TABLE, Starter, StarterFile

__all__ = ["TABLE", "Starter", "StarterFile", "starter_path", "starters"]
