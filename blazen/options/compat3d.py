"""Options of hosted 3D services."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, TypeAlias

from blazen.checks import check_range, parse_bytes
from blazen.errors import ValidationError
from blazen.remote.keys import check_header
from blazen.remote.retry import Retry
from blazen.remote.secret import Secret
from blazen.remote.timeouts import Timeouts
from blazen.remote.url import check_base_url

FormValue: TypeAlias = str | int | float | bool

_OPTIONAL_TEXTS = (
    *("api_key_env", "model", "mesh_at", "job_at", "status_at", "progress_at"),
    *("job_path", "content_path"),
)
_OPTION_FIELDS = ("resolution", "remove_background", "foreground_ratio", "texture")


def _same_names() -> dict[str, str]:
    return {name: name for name in _OPTION_FIELDS}


@dataclass(frozen=True)
class Compat3dOptions:
    """A hosted 3D service that takes an image as a form, in the way of OpenAI's API."""

    base_url: str
    """Where the service is, up to what all its paths share: ``https://host/v1``."""
    _: KW_ONLY
    api_key: str | Secret | None = None
    """The key; without one, `api_key_env` is looked up, and without that none is sent."""
    api_key_env: str | None = "COMPAT3D_API_KEY"
    key_header: str = "Authorization"
    key_prefix: str = "Bearer "
    headers: Mapping[str, str | Secret] = field(default_factory=dict)
    """Further headers, which are kept as secret as the key."""
    model: str | None = None
    path: str = "images/3d"
    image_field: str = "image"
    model_field: str = "model"
    fields: Mapping[str, FormValue] = field(default_factory=dict)
    """Further fields of the form."""
    option_fields: Mapping[str, str] = field(default_factory=_same_names)
    """The form's names for what `MeshOptions` can ask; what is not here is refused."""
    mesh_at: str | None = None
    """Where in a JSON answer the mesh or its URL stands, as ``data.0.url``; ``None`` looks."""
    job_at: str | None = None
    status_at: str | None = None
    progress_at: str | None = None
    job_path: str | None = None
    """Where a job is looked up; ``{id}`` becomes its id. ``None`` is below `path`."""
    content_path: str | None = None
    """Where a finished job's mesh is, if the job does not tell. ``None`` is below `job_path`."""
    poll_seconds: float = 2.0
    max_bytes: int | str = "64MiB"
    """The largest mesh that is accepted."""
    timeouts: Timeouts = field(default_factory=Timeouts)
    retry: Retry = field(default_factory=Retry)
    allow_http: bool = False
    """Send the key over plain HTTP to another machine too."""

    def __post_init__(self) -> None:
        set_field = object.__setattr__  # frozen: only what was given in another form is replaced
        set_field(self, "api_key", Secret.of(self.api_key))
        secrets = _texts("headers", self.headers, (str, Secret))
        set_field(self, "headers", {name: Secret.of(value) for name, value in secrets.items()})
        set_field(self, "timeouts", Timeouts.of(self.timeouts))
        set_field(self, "retry", Retry.of(self.retry))
        set_field(self, "max_bytes", parse_bytes("max_bytes", self.max_bytes))
        check_base_url(self.base_url, carries_key=False)
        for name in (self.key_header, *self.headers):
            check_header(name)
        prefix = self.key_prefix
        if not (isinstance(prefix, str) and prefix.isascii() and prefix.isprintable()):
            raise ValidationError("key_prefix must be printable ASCII, as 'Bearer '")
        for name in ("path", "image_field", "model_field"):
            _check_text(name, getattr(self, name))
        for name in _OPTIONAL_TEXTS:
            if getattr(self, name) is not None:
                _check_text(name, getattr(self, name))
        _texts("fields", self.fields, (str, int, float))
        for name, field_name in _texts("option_fields", self.option_fields, (str,)).items():
            _check_option(name)
            _check_text(f"option_fields[{name!r}]", field_name)
        check_range("poll_seconds", self.poll_seconds, at_least=0.001, at_most=3600)


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str) or not value:
        raise ValidationError(f"{name} must be a text, not {value!r:.60}")


def _texts(name: str, values: object, kinds: tuple[type, ...]) -> Mapping[str, Any]:
    # A value may be secret: it is not shown.
    if not isinstance(values, Mapping) or not all(
        isinstance(key, str) and isinstance(value, kinds) for key, value in values.items()
    ):
        raise ValidationError(f"{name} must be a dictionary of texts")
    return values


def _check_option(name: str) -> None:
    from dataclasses import fields

    from blazen.checks import unknown_name
    from blazen.types.generation import MeshOptions

    known = [field.name for field in fields(MeshOptions)]
    if name not in known:
        raise ValidationError(unknown_name("option of a mesh", name, known))
