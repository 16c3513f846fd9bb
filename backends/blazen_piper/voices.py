"""Which voices there are: those on this machine, and those that Piper offers."""

from __future__ import annotations

import difflib
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blazen import bridge
from blazen.bridge import Job
from blazen.errors import DownloadError
from blazen.types.speech import VoiceInfo
from blazen.weights.cache import cache_root
from blazen.weights.hub.snapshots import names_in
from blazen_piper.files import REPOSITORY, Fetching, VoiceFiles, hub_path, in_cache

_LIST = "voices.json"


def installed_voices(cache_dir: str | os.PathLike[str] | None = None) -> list[VoiceInfo]:
    """List the voices that are on this machine: in blazen's cache, and the starter voice."""
    found = {row.name: row for row in _starters()}
    for snapshot in sorted(
        (cache_root(cache_dir) / "hub").glob("models--*--*/snapshots/*"),
        key=lambda path: path.stat().st_mtime,
    ):
        repo = snapshot.parents[1].name.removeprefix("models--").replace("--", "/", 1)
        names = set(names_in(snapshot))
        for name in names:
            if name.endswith(".onnx") and f"{name}.json" in names:
                short = Path(name).stem
                known = repo == REPOSITORY and hub_path(short) == name
                row = _on_disk(snapshot / name, short if known else f"{repo}/{name}")
                if row is not None:
                    found[row.name] = row
    return [found[name] for name in sorted(found)]


async def known_voices(
    *, cache_dir: str | os.PathLike[str] | None = None, offline: bool | None = None
) -> list[VoiceInfo]:
    """List the voices that Piper offers on the hub; while offline, by the list in the cache."""
    job = Job(lambda job: _known(Fetching(cache_dir, offline, cancelled=lambda: job.cancelled)))
    threading.Thread(target=job.run, name="blazen:piper:voices", daemon=True).start()
    rows: list[VoiceInfo] = await bridge.outcome(job)
    return rows


def full_name(name: str, fetching: Fetching) -> str | None:
    """Give the voice of which this is another name."""
    for key, entry in _list_or_installed(fetching).items():
        if key != name and name in entry.get("aliases", ()):
            return key
    return None


def names_like(name: str, fetching: Fetching) -> list[str]:
    """Give the voices that are named alike, a few at most."""
    lower = {key.lower(): key for key in _list_or_installed(fetching)}
    wanted = name.lower()
    near = difflib.get_close_matches(wanted, lower, n=3, cutoff=0.5)
    near += [key for key in lower if wanted in key and key not in near]
    return [lower[key] for key in near[:3]]


def _known(fetching: Fetching) -> list[VoiceInfo]:
    here = {row.name for row in installed_voices(fetching.cache_dir)}
    rows = []
    for name, entry in sorted(_read_list(fetching).items()):
        files = entry.get("files", {})
        rows.append(
            VoiceInfo(
                name,
                language=entry.get("language", {}).get("code", ""),
                installed=name in here,
                quality=entry.get("quality"),
                size=sum(
                    file.get("size_bytes", 0)
                    for path, file in files.items()
                    if path.endswith((".onnx", ".onnx.json"))
                ),
                speakers=entry.get("num_speakers", 1),
                speaker_names=tuple(entry.get("speaker_id_map", {})),
            )
        )
    return rows


def _list_or_installed(fetching: Fetching) -> Mapping[str, Any]:
    try:
        return _read_list(fetching)
    except DownloadError:  # then the names of those that are here must do
        return {row.name: {} for row in installed_voices(fetching.cache_dir)}


def _read_list(fetching: Fetching) -> Mapping[str, Any]:
    try:
        path = fetching.locate(f"hf:{REPOSITORY}/{_LIST}")
    except DownloadError:
        held = in_cache(fetching.cache_dir, _LIST)
        if held is None:
            raise
        path = held / _LIST
    try:
        rows = json.loads(path.read_bytes())
    except ValueError as error:
        raise DownloadError(f"{path} is no list of voices: {error}") from error
    if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
        raise DownloadError(f"{path} is no list of voices")
    return rows


def _starters() -> list[VoiceInfo]:
    from blazen.weights.starter import starter_path, starters

    rows = []
    for starter in starters():
        if starter.name == "speak" and starter.installed:
            row = _on_disk(starter_path(starter.name), f"starter:{starter.name}")
            rows += [row] if row is not None else []
    return rows


def described(name: str, files: VoiceFiles, settings: Mapping[str, Any]) -> VoiceInfo:
    """Describe a voice by its settings."""
    return VoiceInfo(
        name,
        language=(settings.get("language") or {}).get("code") or settings["espeak"]["voice"],
        installed=True,
        quality=settings["audio"].get("quality") or files.weights.stem.rpartition("-")[2],
        size=files.size,
        speakers=settings["num_speakers"],
        speaker_names=tuple(settings.get("speaker_id_map") or ()),
    )


def _on_disk(weights: Path, name: str) -> VoiceInfo | None:
    """Describe a voice that is here; ``None`` where its settings are not Piper's."""
    files = VoiceFiles(weights, weights.with_name(f"{weights.name}.json"))
    try:
        return described(name, files, json.loads(files.settings.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
