"""Which of a pipeline's files to load: one set of weights, and no pickle unasked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from blazen.errors import LoadError, ModelNotFoundError, ValidationError
from blazen_diffusers.index import INDEX, PICKLES, is_part

_SETTINGS = (".json", ".txt", ".model", ".jinja")
_OTHER_ENGINES = ("flax_model", "openvino", "tf_model", "rust_model")
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")


def choose_files(
    where: str,
    names: Iterable[str],
    index: dict[str, Any],
    *,
    variant: str | None,
    allow_pickle: bool,
) -> tuple[list[str], str | None]:
    """Choose what to load of a pipeline's files, and the variant that it is."""
    every = sorted(names)
    parts = sorted(name for name, kind in index.items() if is_part(kind))
    chosen = [INDEX]
    found = variant
    for part in parts:
        inside = [name for name in every if name.startswith(f"{part}/") and name.count("/") == 1]
        if not inside:
            if index[part][0] is None:
                continue
            raise ModelNotFoundError(f"{where} has no {part}/, which its {INDEX} names")
        chosen += [name for name in inside if name.endswith(_SETTINGS)]
        weights = [name for name in inside if not _is_foreign(name)]
        safe = [name for name in weights if name.endswith(".safetensors")]
        risky = [name for name in weights if name.endswith(PICKLES)]
        if not safe and risky and not allow_pickle:
            raise LoadError(
                f"{where} has {part} as a pickle only ({risky[0]}), which may run any code when it "
                "is loaded: take a pipeline with safetensors, or give allow_pickle=True if you "
                "trust who made it"
            )
        kinds = {_variant(name) for name in safe or risky}
        if not kinds:
            continue
        wanted = variant if variant in kinds else None
        if wanted not in kinds:
            if variant is None and len(kinds) > 1:
                raise ValidationError(
                    f"{where} has {part} as {', '.join(sorted(map(str, kinds)))}: say which with "
                    "variant="
                )
            wanted = next(iter(kinds)) if variant is None else wanted
        if wanted not in kinds:
            raise ModelNotFoundError(f"{where} has no {part} of the variant {variant!r}")
        found = found or wanted
        chosen += [name for name in safe or risky if _variant(name) == wanted]
    if variant is not None and not any(_variant(name) == variant for name in chosen):
        raise ModelNotFoundError(f"{where} has no weights of the variant {variant!r}")
    return list(dict.fromkeys(chosen)), found


def _is_foreign(name: str) -> bool:
    file = name.rpartition("/")[2]
    return file.startswith(_OTHER_ENGINES) or file.startswith(("training_args", "optimizer"))


def _variant(name: str) -> str | None:
    """Tell ``fp16`` of ``model.fp16.safetensors`` and ``model.fp16-00001-of-00002.safetensors``."""
    stem = _SHARD.sub("", name.rpartition("/")[2].rpartition(".")[0])
    return stem.partition(".")[2] or None
