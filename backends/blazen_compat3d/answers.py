"""What an answer in JSON holds: a mesh, its URL, a job, how far it is, or an error.

Services agree on the request more than on the answer. What is looked for are the names that they
use; the options say where to look instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from blazen.errors import ValidationError
from blazen.options.compat3d import Compat3dOptions
from blazen.remote.failures import said_in
from blazen.types.source import Source, from_base64
from blazen_compat3d.formats import mesh_format

# In the order in which they are preferred.
_MESHES: tuple[str, ...] = (
    *("glb", "b64_json", "b64", "base64", "glb_b64", "mesh_b64", "model_b64", "glb_url"),
    *("mesh_url", "model_url", "model_urls", "model_mesh", "mesh", "model", "pbr_model"),
    *("download_url", "url", "uri", "output", "outputs", "result", "results", "data"),
    *("response", "files", "file", "assets", "artifacts", "ply", "obj"),
)
_HOLDERS = ("data", "job", "task", "prediction", "result", "response")
_JOB_URLS = ("status_url", "polling_url", "poll_url", "job_url")
_JOBS = ("id", "job_id", "task_id", "request_id", "generation_id", "prediction_id", "uuid")
_STATUSES = ("status", "state", "task_status")
_PROGRESS = ("progress", "percent", "percentage", "progress_percent")
_SCOPE = re.compile(r"^((task|job|run|prediction|status|state)[_.])+")
_DONE = {"succeeded", "succeed", "success", "successful", "completed", "complete", "done", "ok"}
_DONE |= {"finished", "finish", "ready", "generated", "processed"}
_WAITING = {"queued", "queueing", "queuing", "pending", "waiting", "wait", "in_queue", "submitted"}
_WAITING |= {"created", "new", "accepted", "scheduled", "not_started", "init", "initializing"}
# A word that is not known counts as work, and would be waited for to the end of the patience.
_FAILED = re.compile(
    r"fail|error|cancel|reject|expired|abort|timed?_?out|banned|blocked|filtered|moderated|nsfw"
    r"|denied|refused|terminated|stopped|killed|dead|crashed|invalid|deleted|unsuccessful|revoked"
)
_NO_MESH = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".mp4", ".webm", ".zip", ".fbx", ".usdz")
_DEPTH = 6


@dataclass(frozen=True)
class Answer:
    """What was found. ``job`` is an id, ``job_url`` and ``url`` may be relative."""

    mesh: bytes | None = None
    url: str | None = None
    job: str | None = None
    job_url: str | None = None
    result_url: str | None = None
    state: str | None = None
    """``queue``, ``make``, ``done`` or ``failed``."""
    progress: int | None = None
    """In percent."""
    said: str = ""
    """What it says in words."""

    @property
    def has_mesh(self) -> bool:
        """Whether it leads to the mesh."""
        return self.mesh is not None or self.url is not None


def tells_of_error(answer: Any) -> bool:
    """Say whether an answer is an error, whatever its status."""
    if not isinstance(answer, Mapping):
        return False
    return bool(
        answer.get("error")
        or answer.get("errors")
        or answer.get("success") is False
        or answer.get("type") == "error"
        or answer.get("object") == "error"
    )


def look(answer: Any, options: Compat3dOptions) -> Answer:
    """Find what an answer holds. Base64 that is none is a `ValidationError`."""
    state = _state(_first(answer, options.status_at, _STATUSES))
    progress = _percent(_first(answer, options.progress_at, _PROGRESS))
    job = _first(answer, options.job_at, _JOBS)
    if not options.job_at and job is None and isinstance(answer, Mapping):
        job = answer.get("result")  # one service gives the id of a new job so
    mesh, url = None, None
    if state in (None, "done"):
        mesh, url = _mesh(answer, options.mesh_at)
    urls = answer.get("urls") if isinstance(answer, Mapping) else None
    return Answer(
        mesh,
        url,
        str(job) if isinstance(job, (str, int)) and not isinstance(job, bool) and job else None,
        _text(_first(answer, None, _JOB_URLS)) or _text(_at(urls, "get")),
        _text(_first(answer, None, ("response_url", "result_url"))),
        state,
        progress,
        said_in(answer),
    )


def _mesh(answer: Any, place: str | None) -> tuple[bytes | None, str | None]:
    if place is not None:
        value = _at(answer, place)
        return _content(value, certain=True) if isinstance(value, str) else (None, None)
    for value in _candidates(answer, 0):
        found = _content(value, certain=False)
        if any(part is not None for part in found):
            return found
    return None, None


def _candidates(node: Any, depth: int) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif depth < _DEPTH and isinstance(node, list):
        for item in node[:20]:
            yield from _candidates(item, depth + 1)
    elif depth < _DEPTH and isinstance(node, Mapping):
        for key in _MESHES:
            yield from _candidates(node.get(key), depth + 1)


def _content(value: str, *, certain: bool) -> tuple[bytes | None, str | None]:
    """Tell a URL, a data URL and base64 apart; what is neither is nothing, unless it must be."""
    if re.match(r"https?://", value, re.IGNORECASE) or re.match(r"/[^/]", value):
        path = value.partition("?")[0].lower()
        return (None, value) if certain or not path.endswith(_NO_MESH) else (None, None)
    try:
        if value[:5].lower() == "data:":
            data = Source.from_data_url(value, what="mesh").read()
        else:
            data = from_base64(value, what="the mesh")
    except ValidationError:
        if certain:
            raise
        return None, None
    return (data, None) if certain or mesh_format(data) else (None, None)


def _first(answer: Any, place: str | None, names: tuple[str, ...]) -> Any:
    """Give what stands at a place, or else under the first of the names, here or one level down."""
    if place is not None:
        return _at(answer, place)
    holders = [answer]
    if isinstance(answer, Mapping):
        holders += [answer.get(name) for name in _HOLDERS]
    for holder in holders:
        for name in names:
            if isinstance(holder, Mapping) and holder.get(name) is not None:
                return holder[name]
    return None


def _at(answer: Any, place: str) -> Any:
    for part in place.split("."):
        if isinstance(answer, Mapping):
            answer = answer.get(part)
        elif isinstance(answer, list) and part.isdigit() and int(part) < len(answer):
            answer = answer[int(part)]
        else:
            return None
    return answer


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _state(value: Any) -> str | None:
    if not isinstance(value, str) or not value:
        return None
    word = _SCOPE.sub("", re.sub(r"[\s-]+", "_", value.strip().lower()))
    if word in _DONE:
        return "done"
    if _FAILED.search(word):
        return "failed"
    return "queue" if word in _WAITING else "make"


def _percent(value: Any) -> int | None:
    is_fraction = isinstance(value, float)
    if isinstance(value, str):
        text = value.strip()
        is_fraction = "." in text and not text.endswith("%")
        try:
            value = float(text.rstrip("% "))
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 100:
        return None
    # As a fraction it is never a whole number but at its end, where both readings are a float.
    return round(value * 100 if is_fraction and value <= 1 else value)
