"""One file with all weights: which settings belong to it."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from blazen.errors import LoadError
from blazen.weights.safetensors import read_safetensors
from blazen.weights.target import Target
from blazen_diffusers.index import INDEX, PICKLES, Fetching, check_header, is_part, read_index

_CHECKER = "safety_checker"
_SETTINGS = ["*.json", "*.txt", "*.model", f"{_CHECKER}/model.safetensors"]
"""What a single file needs of a pipeline of its shape: a checker's weights are in none."""
_LEADING = ("model.diffusion_model.", "first_stage_model.", "cond_stage_model.", "conditioner.")


def check_single(path: Path, *, allow_pickle: bool) -> None:
    """Refuse what holds no weights, and a pickle unasked."""
    if path.suffix == ".safetensors":
        check_header(path)
    elif path.suffix not in PICKLES:
        raise LoadError(
            f"{path} is no pipeline: give a folder with {INDEX}, or a .safetensors file that holds "
            "the weights of one"
        )
    elif not allow_pickle:
        raise LoadError(
            f"{path} is a pickle, which may run any code when it is loaded: take a safetensors "
            "file, or give allow_pickle=True if you trust who made it"
        )
    elif path.stat().st_size == 0:
        raise LoadError(f"{path} is empty")


def single_settings(
    path: Path, config: str | PathLike[str] | None, fetching: Fetching
) -> Path | None:
    """Give the folder with the settings of a single file; ``None`` where nobody knows them."""
    target = config if config is not None else _known_shape(path)
    if target is None:
        return None
    try:
        folder = fetching.locate(target, None if _is_here(target) else _SETTINGS)
    except Exception as error:
        if config is not None:
            raise
        raise LoadError(
            f"{path.name} holds weights only, and its settings, those of {target}, could not be "
            f"had ({error}): give config= with the folder of a pipeline of its shape"
        ) from error
    if not (folder / INDEX).is_file():
        raise LoadError(f"config={str(target)!r} is no folder of a pipeline: it has no {INDEX}")
    return folder


def single_checker(settings: Path) -> Path | None:
    """Give the folder of the checker that the settings name: to go without must be said."""
    kind: Any = read_index(settings / INDEX, str(settings)).get(_CHECKER)
    if not is_part(kind) or kind[0] is None:
        return None
    folder = settings / _CHECKER
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise LoadError(
            f"{settings} names a safety checker, and a single file brings none: put its "
            f"safetensors into {folder}, or, to go without, set {_CHECKER!r} to [null, null] in "
            f"{settings / INDEX}"
        )
    for path in weights:
        check_header(path)
    return folder


def _is_here(target: str | PathLike[str]) -> bool:
    return Target.parse(target).source != "hub"


def _known_shape(path: Path) -> str | None:
    """Find out which published pipeline has weights of these names and shapes."""
    if path.suffix != ".safetensors":
        return None
    import torch
    from diffusers.loaders import single_file_utils

    tensors = {
        tensor.name: torch.empty(tensor.shape, device="meta")
        for tensor in read_safetensors(path).tensors
    }
    if not any(name.startswith(_LEADING) for name in tensors):
        raise LoadError(
            f"{path} holds no whole pipeline (of its {len(tensors)} tensors none begins like one): "
            "give config= with the folder of a pipeline of its shape, if it is one"
        )
    known: Any = single_file_utils
    found = known.fetch_diffusers_config(tensors)
    name = found.get("pretrained_model_name_or_path")
    return str(name) if name else None
