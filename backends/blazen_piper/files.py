"""From what a user wrote to the two files of a voice: its weights and its settings."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from blazen.errors import ModelNotFoundError, ValidationError
from blazen.types.progress import OnProgress
from blazen.weights.cache import cache_root
from blazen.weights.hub import list_files, pick
from blazen.weights.hub.snapshots import repo_folder
from blazen.weights.locate import locate
from blazen.weights.target import Target

REPOSITORY = "rhasspy/piper-voices"
"""Where Piper's own voices are on the hub."""

_NAME = re.compile(
    r"(?P<code>(?P<family>[a-z]{2,3})_[A-Z0-9]{2,3})-(?P<name>[^-/]+)-(?P<quality>[a-z_]+)"
)


@dataclass(frozen=True)
class VoiceFiles:
    """The two files that are a voice."""

    weights: Path
    settings: Path

    @property
    def size(self) -> int:
        """How many bytes both have."""
        return self.weights.stat().st_size + self.settings.stat().st_size


@dataclass(frozen=True)
class Fetching:
    """Where what is fetched goes, who hears of it, and whether it is still wanted."""

    cache_dir: str | os.PathLike[str] | None = None
    offline: bool | None = None
    on_progress: OnProgress | None = None
    cancelled: Callable[[], bool] = lambda: False

    def locate(self, target: str | os.PathLike[str], patterns: list[str] | None = None) -> Path:
        """Give the path of a file or folder, fetched first if it is not here yet."""
        return locate(
            target,
            patterns=patterns,
            cache_dir=self.cache_dir,
            offline=self.offline,
            on_progress=self.on_progress,
            cancelled=self.cancelled,
        )


def voice_files(voice: str | os.PathLike[str], fetching: Fetching) -> VoiceFiles:
    """Give the files of a voice, named in any of the ways that `PiperOptions` takes."""
    if is_name(voice):
        return _named(str(voice).strip(), fetching)
    target = Target.parse(voice)
    if target.source == "hub":
        return _from_hub(target, fetching)
    if target.source == "url":
        url = target.url or ""
        return VoiceFiles(fetching.locate(url), fetching.locate(_settings_url(url)))
    return _local(fetching.locate(voice))


def is_name(voice: str | os.PathLike[str]) -> bool:
    """Say whether it is one bare word that is nothing on this disk: then it is a voice's name."""
    return (
        isinstance(voice, str)
        and not set(voice) & set("/\\:~\0")
        and not voice.lower().endswith(".onnx")
        and not Path(voice).exists()
    )


def hub_path(name: str) -> str | None:
    """Give where the weights of a voice are in the repository; ``None`` for what is no name."""
    parts = _NAME.fullmatch(name)
    if parts is None:
        return None
    family, code, short, quality = parts.group("family", "code", "name", "quality")
    return f"{family}/{code}/{short}/{quality}/{name}.onnx"


def _named(name: str, fetching: Fetching) -> VoiceFiles:
    path = hub_path(name)
    if path is not None:
        held = in_cache(fetching.cache_dir, path, f"{path}.json")
        if held is not None:
            return VoiceFiles(held / path, held / f"{path}.json")
        try:
            folder = _fetched(REPOSITORY, path, f"{path}.json", None, fetching)
        except ModelNotFoundError as error:
            raise _unknown(name, fetching) from error
        return _both(folder, path, f"{path}.json", REPOSITORY)
    from blazen_piper.voices import full_name

    found = full_name(name, fetching)
    if found is None or hub_path(found) is None:
        raise _unknown(name, fetching)
    return _named(found, fetching)


def _unknown(name: str, fetching: Fetching) -> ModelNotFoundError:
    from blazen_piper.voices import names_like

    near = ", ".join(map(repr, names_like(name, fetching)))
    hint = f"did you mean {near}? " if near else ""
    return ModelNotFoundError(
        f"there is no Piper voice {name!r}: {hint}A voice is named like 'en_US-joe-medium', by its "
        "language, its name and its quality; blazen_piper.known_voices() lists them"
    )


def in_cache(cache_dir: str | os.PathLike[str] | None, *names: str) -> Path | None:
    """Give the newest snapshot of Piper's repository that holds these files.

    The hub's main branch moves on with each fetch, and a voice of an earlier one is still good.
    """
    snapshots = repo_folder(cache_root(cache_dir), REPOSITORY) / "snapshots"
    held = [s for s in snapshots.glob("*") if all((s / name).is_file() for name in names)]
    return max(held, key=lambda snapshot: snapshot.stat().st_mtime, default=None)


def _from_hub(target: Target, fetching: Fetching) -> VoiceFiles:
    repo, file = target.repo or "", target.file
    names = [
        found.name
        for found in list_files(
            repo,
            revision=target.revision,
            cache_dir=fetching.cache_dir,
            offline=fetching.offline,
            cancelled=fetching.cancelled,
        )
    ]
    if file is None:
        file = pick(names, suffix=".onnx")
    beside = _settings_names(file)
    settings = next((name for name in beside if name in names), None)
    if file in names and settings is None:
        raise _no_settings(f"{repo}/{file}", beside[0].rpartition("/")[2])
    settings = settings or beside[0]
    folder = _fetched(repo, file, settings, target.revision, fetching)
    return _both(folder, file, settings, repo)


def _fetched(
    repo: str, weights: str, settings: str, revision: str | None, fetching: Fetching
) -> Path:
    at = f"@{revision.replace('/', '%2F')}" if revision else ""
    return fetching.locate(f"hf:{repo}{at}", [weights, settings])


def _both(folder: Path, weights: str, settings: str, repo: str) -> VoiceFiles:
    if not (folder / weights).is_file():
        raise ModelNotFoundError(f"{repo} has no file {weights!r}")
    if not (folder / settings).is_file():
        raise _no_settings(f"{repo}/{weights}", settings.rpartition("/")[2])
    return VoiceFiles(folder / weights, folder / settings)


def _local(path: Path) -> VoiceFiles:
    if path.is_dir():
        found = sorted(path.glob("*.onnx"))
        if not found:
            raise ModelNotFoundError(f"{path} holds no .onnx file: a Piper voice has one")
        if len(found) > 1:
            raise ValidationError(
                f"{path} holds several voices, name one: {', '.join(p.name for p in found)}"
            )
        path = found[0]
    beside = [path.parent / name for name in _settings_names(path.name)]
    for settings in beside:
        if settings.is_file():
            return VoiceFiles(path, settings)
    raise _no_settings(str(path), beside[0].name)


def _settings_names(weights: str) -> list[str]:
    """Give the names that the settings of a voice go by, the usual one first."""
    names = [f"{weights}.json"]
    if weights.lower().endswith(".onnx"):
        names.append(f"{weights[: -len('.onnx')]}.json")
    return names


def _settings_url(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path}.json"))


def _no_settings(weights: str, settings: str) -> ModelNotFoundError:
    return ModelNotFoundError(
        f"{weights} has no settings: a Piper voice is two files, and no {settings} is beside it"
    )
