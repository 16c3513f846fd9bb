"""A look at this machine: what is here, what is chosen and why, and what is broken."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blazen.cli.options import Places
from blazen.errors import BlazenError
from blazen.types.record import Record

if TYPE_CHECKING:
    from blazen.catalog import Catalog, Listing

_FRONT_ENDS = {
    "cli": ("click", "rich", "prompt_toolkit"),
    "server": ("fastapi", "uvicorn", "multipart", "gguf"),
    "mcp": ("mcp",),
    "hub": ("huggingface_hub",),
}
_PLACE = {
    "config": "it is in the configuration",
    "given": "it was named",
    "starter": "it is the first starter model of the kind",
    "cache": "it is the first in the cache",
    "folder": "it is the first in the folders",
}


@dataclass(frozen=True)
class Report(Record):
    """What was found."""

    machine: dict[str, Any]
    extras: dict[str, Any]
    backends: list[dict[str, Any]]
    configuration: dict[str, Any]
    network: dict[str, Any]
    models: list[dict[str, Any]]
    warnings: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    """What makes the program end with 1."""

    def to_dict(self) -> dict[str, Any]:
        """Give all of it, what is empty too."""
        return {**super().to_dict(), "warnings": [*self.warnings], "broken": [*self.broken]}


@dataclass
class _Findings:
    warnings: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


def checkup(places: Places) -> Report:
    """Look at everything; what fails is noted, and the rest is looked at all the same."""
    findings = _Findings()
    machine = _machine(findings)
    backends = _backends(findings)
    catalog = _catalog(places, findings)
    models = _models(catalog, findings) if catalog is not None else []
    return Report(
        machine=machine,
        extras={name: _extra(name, modules) for name, modules in _FRONT_ENDS.items()},
        backends=backends,
        configuration=_configuration(catalog, findings),
        network=_network(),
        models=models,
        warnings=tuple(findings.warnings),
        broken=tuple(findings.broken),
    )


def _machine(findings: _Findings) -> dict[str, Any]:
    from blazen import hardware
    from blazen.cli.output import amount

    facts: dict[str, Any] = {
        "blazen": _version("blazen"),
        "python": f"{platform.python_version()} ({sys.executable})",
        "platform": platform.platform(),
    }
    try:
        found = hardware.detect()
        device = hardware.choose_device("auto")
    except BlazenError as error:
        findings.broken.append(f"this machine can't be looked at: {error}")
        return facts
    cores, memory = found.cores, found.memory
    facts["cores"] = f"{cores.usable} of {cores.logical} ({cores.physical} physical)"
    facts["memory"] = f"{amount(memory.available)} free of {amount(memory.total)}"
    facts["gpus"] = [
        f"{gpu.device}: {gpu.name}, {amount(gpu.free)} free of {amount(gpu.total)}"
        for gpu in found.gpus
    ] or "none"
    why = "it has the most free memory of the GPUs" if device.kind != "cpu" else "no GPU was found"
    facts["device"] = f"{device}, for {why}"
    return facts


def _extra(name: str, modules: tuple[str, ...]) -> str:
    from blazen.extras import missing_package

    missing = [module for module in modules if missing_package(module) is not None]
    if not missing:
        return "installed"
    return f"lacks {', '.join(missing)}: pip install 'blazen[{name}]'"


def _backends(findings: _Findings) -> list[dict[str, Any]]:
    from blazen.registry import backends

    packages = packages_distributions()
    rows = []
    for one in backends():
        state = "installed" if one.installed else "broken" if one.problem else "not installed"
        if one.problem:
            findings.broken.append(f"the backend {one.name} ({one.kind}): {one.problem}")
        rows.append(
            {
                "kind": one.kind,
                "name": one.name,
                "state": state,
                "advice": one.problem or one.install or "",
                "engine": _engine_version(one.kind, one.name, packages) if one.installed else "",
            }
        )
    return rows


def _engine_version(kind: str, name: str, packages: Mapping[str, list[str]]) -> str:
    """Give the package that an engine is, with its version; it is not imported for that."""
    from blazen.registry import backend_class

    engine: str | None = getattr(backend_class(kind, name), "engine", None)
    if engine is None:
        return ""
    found = packages.get(engine.partition(".")[0], [])
    # Several packages may share a namespace: then the one that is called like the module.
    same = [package for package in found if package.replace("-", ".").endswith(engine)]
    package = (same or found or [""])[0]
    return f"{package} {_version(package)}" if package else ""


def _catalog(places: Places, findings: _Findings) -> Catalog | None:
    try:
        return places.read()
    except BlazenError as error:
        findings.broken.append(str(error))
        return None


def _configuration(catalog: Catalog | None, findings: _Findings) -> dict[str, Any]:
    from blazen.catalog.places import looked_in
    from blazen.cli.output import amount
    from blazen.weights.cache import cache_root
    from blazen.weights.inventory import cache_size

    root = cache_root()
    facts: dict[str, Any] = {"file": "broken"}
    if catalog is not None:
        facts["file"] = catalog.config_path or "none: nothing is configured"
        facts["folders"] = looked_in(catalog.folders, catalog.config.discover)
    try:
        facts["cache"] = f"{root} ({amount(cache_size())} in it, {_free(root)} free on the disk)"
    except OSError as error:
        findings.broken.append(f"the cache {root} can't be read: {error.strerror or error}")
        facts["cache"] = f"{root} (can't be read)"
    else:
        there = next(place for place in (root, *root.parents) if place.exists())
        if not os.access(there, os.W_OK):
            findings.broken.append(f"the cache {root} can't be written: set BLAZEN_CACHE")
    facts["variables"] = sorted(name for name in os.environ if name.startswith("BLAZEN_"))
    return facts


def _free(root: Path) -> str:
    from blazen.cli.output import amount

    there = next(place for place in (root, *root.parents) if place.exists())
    return amount(shutil.disk_usage(there).free)


def _network() -> dict[str, Any]:
    from blazen.offline import forbids_remote, is_offline

    offline = "used"
    if forbids_remote():
        offline = "left alone: BLAZEN_OFFLINE is set"
    elif is_offline():
        offline = "left alone for weights: HF_HUB_OFFLINE is set"
    proxies = [n for n in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy") if _is_set(n)]
    return {
        "network": offline,
        "hub_token": "set" if _is_set("HF_TOKEN") else "not set",
        "proxies": proxies or "none",
    }


def _models(catalog: Catalog, findings: _Findings) -> list[dict[str, Any]]:
    from blazen.catalog.listing import KINDS

    listings = catalog.listings()
    rows = []
    for kind in KINDS:
        found = [one for one in listings if one.kind == kind]
        row: dict[str, Any] = {"kind": kind, "found": len(found), "chosen": None, "why": ""}
        try:
            chosen = catalog.choose(kind)
            row |= {"chosen": chosen.name, "spec": chosen.spec, "why": _why(catalog, chosen)}
        except BlazenError as error:
            row["why"] = str(error)
            if kind in catalog.defaults:
                findings.broken.append(str(error))
        rows.append(row)
    findings.warnings += catalog.warnings()
    return rows


def _why(catalog: Catalog, chosen: Listing) -> str:
    """Say why this model is taken, and why this backend."""
    from blazen.catalog.inspection import form_of

    why = "[defaults] says so" if chosen.kind in catalog.defaults else _PLACE[chosen.source]
    openers = catalog.openers
    able = [n for n in openers.able(form_of(chosen), chosen.kind) if n != chosen.backend]
    others = [n for n in able if openers.missing(chosen.kind, n) is None]
    return f"{why}; {chosen.backend} opens it{', before ' + ' and '.join(others) if others else ''}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _is_set(name: str) -> bool:
    return bool(os.environ.get(name, "").strip())
