"""What ``config.yaml`` says of a network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from blazen.errors import LoadError, UnsupportedError
from blazen.extras import need

T = TypeVar("T")

_REFERENCE = re.compile(r"\$\{\s*([A-Za-z0-9_.]+)\s*\}")
_DEEPEST = 8
"""How far a value may lead to another one, before it counts as leading to itself."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The sizes of a network, and what its field does."""

    image_size: int
    vit_heads: int | None
    plane_size: int
    channels: int
    heads: int
    head_size: int
    layers: int
    context_channels: int
    groups: int
    plane_channels: int
    neurons: int
    hidden_layers: int
    activation: str
    radius: float
    density_bias: float

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and value < 1:
                raise LoadError(f"config.yaml: {field.name} is {value}, which can't be")
        if not self.radius > 0:
            raise LoadError(f"config.yaml: radius is {self.radius}, which can't be")
        if self.channels % self.groups:
            raise LoadError(
                f"config.yaml: {self.channels} channels can't be in {self.groups} groups"
            )


def read_settings(path: Path) -> Settings:
    """Read ``config.yaml``; what this code would calculate otherwise is refused."""
    yaml = need("yaml", extra="triposr", what="reading config.yaml")
    try:
        tree = yaml.safe_load(path.read_bytes())
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise LoadError(f"{path} can't be read: {error}") from error
    if not isinstance(tree, dict):
        raise LoadError(f"{path} holds no settings of TripoSR")
    found = _Tree(path, tree)
    found.expect("renderer.feature_reduction", "concat", among=("concat",))
    found.expect("renderer.density_activation", "exp", among=("exp",))
    found.expect("renderer.color_activation", "sigmoid", among=("sigmoid",))
    activation = found.expect("decoder.activation", "silu", among=("silu", "relu"))
    channels = found.get("tokenizer.num_channels", int)
    plane_channels = found.get("post_processor.out_channels", int)
    for name, value in (
        ("backbone.in_channels", channels),
        ("post_processor.in_channels", channels),
        ("decoder.in_channels", 3 * plane_channels),
    ):
        if found.get(name, int, value) != value:
            raise LoadError(f"{path}: {name} must be {value}, to fit the parts before it")
    return Settings(
        image_size=found.get("cond_image_size", int),
        vit_heads=found.get("image_tokenizer.num_attention_heads", int, 0) or None,
        plane_size=found.get("tokenizer.plane_size", int),
        channels=channels,
        heads=found.get("backbone.num_attention_heads", int),
        head_size=found.get("backbone.attention_head_dim", int),
        layers=found.get("backbone.num_layers", int),
        context_channels=found.get("backbone.cross_attention_dim", int),
        groups=found.get("backbone.norm_num_groups", int, 32),
        plane_channels=plane_channels,
        neurons=found.get("decoder.n_neurons", int),
        hidden_layers=found.get("decoder.n_hidden_layers", int),
        activation=activation,
        radius=found.get("renderer.radius", float),
        density_bias=found.get("renderer.density_bias", float, -1.0),
    )


class _Tree:
    """Settings by dotted name; ``${other.name}`` stands for another one's value."""

    def __init__(self, path: Path, tree: Mapping[str, Any]) -> None:
        self._path = path
        self._tree = tree

    def get(self, name: str, kind: type[T], usual: T | None = None) -> T:
        value = self._value(name)
        if value is None and usual is not None:
            return usual
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or isinstance(value, bool):
            what = "is missing" if value is None else f"is {value!r:.40}"
            raise LoadError(f"{self._path}: {name} {what}, and should be {kind.__name__}")
        return value

    def expect(self, name: str, usual: str, *, among: tuple[str, ...]) -> str:
        value = self.get(name, str, usual).lower()
        if value not in among:
            raise UnsupportedError(
                f"{self._path}: {name} is {value!r}, and only {' and '.join(among)} can be done"
            )
        return value

    def _value(self, name: str) -> Any:
        for _ in range(_DEEPEST):
            value: Any = self._tree
            for part in name.split("."):
                value = value.get(part) if isinstance(value, Mapping) else None
            reference = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
            if reference is None:
                return value
            name = reference[1]
        raise LoadError(f"{self._path}: {name} leads to itself")
