"""The checks: ``nox`` runs those that every change must pass, ``nox --list`` shows them all."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import nox

ROOT = Path(__file__).parent
PROJECT: dict[str, Any] = nox.project.load_toml(ROOT / "pyproject.toml")
EXTRAS = list(PROJECT["project"]["optional-dependencies"])
# A backend has its session from its entry point, so that a new one needs no edit here.
BACKENDS = sorted({name for group in PROJECT["project"]["entry-points"].values() for name in group})
STARTERS = ("starter", "starter-more")
LIBRARIES = [extra for extra in EXTRAS if extra not in {*BACKENDS, *STARTERS}]
COVERAGE = ROOT / ".nox"
# What the index has only as source and takes minutes to build: built once, for all sessions.
SOURCES = ("llama-cpp-python",)
WHEELS = ROOT / ".nox" / "wheels"
# Modules and classes of tests side by side, in the order that tests/conftest.py gives them.
PARALLEL = (
    *("--numprocesses=logical", "--maxprocesses=4"),
    *("--dist=loadscope", "--no-loadscope-reorder"),
)
# One thread for an engine that nobody tells otherwise: what spins side by side takes far longer.
ALONE = {"BLAZEN_THREADS": "1"}
# Hosted models bring no codecs; what takes or gives pictures and sound is tested with them.
BESIDE = dict.fromkeys(("openai", "anthropic", "gemini"), ("audio", "images"))
CLIPS = Path("/usr/share/pocketsphinx/test/data/librivox")
BROWSER = Path("/usr/bin/chromium")
DEMO = ["xllamacpp", "fastembed", "starter"]

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "uv"
nox.options.download_python = "never"
nox.options.sessions = ["lint", "types", "docs", "core", *BACKENDS, "packaging", "tests"]


def _show_all_of_pyenv() -> None:
    """Let pyenv offer each Python that it has, not only the one that is chosen."""
    if shutil.which("pyenv") is None:
        return
    chosen = subprocess.run(["pyenv", "version-name"], capture_output=True, text=True, check=False)
    every = subprocess.run(
        ["pyenv", "versions", "--bare"], capture_output=True, text=True, check=False
    )
    first = chosen.stdout.strip().split(":")
    plain = [name for name in every.stdout.split() if name.replace(".", "").isdigit()]
    os.environ["PYENV_VERSION"] = ":".join(dict.fromkeys([*filter(None, first), *plain]))


def _runs(version: str) -> bool:
    program = shutil.which(f"python{version}")
    return (
        program is not None
        and subprocess.run([program, "-c", ""], capture_output=True, check=False).returncode == 0
    )


def _oldest_and_newest() -> list[str]:
    named = (text.rpartition(" ")[2] for text in PROJECT["project"]["classifiers"])
    found = [version for version in named if version.startswith("3.") and _runs(version)]
    return list(dict.fromkeys([*found[:1], *found[-1:]]))


_show_all_of_pyenv()
# Tests start hundreds of processes: compiled anew in each, what an engine imports takes longer
# than what is tested.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def _install(session: nox.Session, *extras: str, groups: tuple[str, ...] = ("test",)) -> None:
    # uv reads what pyproject.toml says about the packages that carry weights only where it lies.
    session.chdir(ROOT)
    _build(session, *extras)
    chosen = f"[{','.join(extras)}]" if extras else ""
    # Where pip finds wheels uv does too: a torch without gigabytes of CUDA may lie there.
    places = [str(WHEELS), *os.environ.get("PIP_FIND_LINKS", "").split()]
    session.install(
        *(f"--find-links={place}" for place in places),
        f"--constraints={ROOT / 'constraints.txt'}",
        *("-e", f".{chosen}"),
        *(f"--group={group}" for group in groups),
    )


def _build(session: nox.Session, *extras: str) -> None:
    """Build what has no wheel; uv itself builds it for each session where an index says no age."""
    WHEELS.mkdir(parents=True, exist_ok=True)
    texts = [
        text for extra in extras for text in PROJECT["project"]["optional-dependencies"][extra]
    ]
    wanted = sorted({text for text in texts if text.startswith(SOURCES)})
    if wanted:
        pip = ("uv", "tool", "run", f"--python={Path(session.bin) / 'python'}", "pip", "wheel")
        places = (f"--find-links={WHEELS}", f"--wheel-dir={WHEELS}")
        session.run_install(*pip, "--quiet", "--no-deps", *places, *wanted)


def _pytest(session: nox.Session, *arguments: str, complete: bool = True) -> None:
    """Run tests; in a complete environment, none may be skipped for want of a package."""
    wanted = {"BLAZEN_REQUIRE_ALL": "1"} if complete else {}
    session.run("pytest", "-q", *arguments, *session.posargs, env={**ALONE, **wanted})


def _covered(session: nox.Session, *arguments: str) -> None:
    """Run tests and note the lines that they reach, for the session ``tests`` to add up."""
    session.run(
        "pytest",
        *("-q", "--cov", "--cov-report=", "--cov-fail-under=0", *arguments, *session.posargs),
        env={
            **ALONE,
            "BLAZEN_REQUIRE_ALL": "1",
            "COVERAGE_FILE": str(COVERAGE / f".coverage.{session.name}"),
        },
    )


def _files_of(backend: str) -> list[str]:
    return sorted(map(str, (ROOT / "tests" / "backends").glob(f"test_{backend}*.py")))


@nox.session
def lint(session: nox.Session) -> None:
    """Style and formatting."""
    session.install("--group=lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Every annotation, strictly; engines count as untyped, so none is built for this."""
    _install(session, *LIBRARIES, groups=("test", "types", "peers", "clients"))
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation; a warning is an error."""
    session.install("--group=docs")
    session.run("mkdocs", "build", "--strict", "--site-dir", str(ROOT / "site"))


@nox.session(python=_oldest_and_newest())
def core(session: nox.Session) -> None:
    """The core on the oldest and the newest Python of this machine, without a single extra."""
    _install(session)
    # What takes long is the same on each Python, and the session "tests" has all of it.
    chosen = ("-m", "not long", "--ignore=tests/test_packaging.py", "--ignore=tests/backends")
    _pytest(session, *PARALLEL, *chosen, complete=False)


def _alone(backend: str) -> None:
    @nox.session(name=backend)
    def alone(session: nox.Session) -> None:
        _install(session, backend, *BESIDE.get(backend, ()), *STARTERS, groups=("test", "engines"))
        _covered(session, *PARALLEL, *_files_of(backend))

    alone.__doc__ = f"The {backend!r} backend, with its own extra alone."


for _backend in BACKENDS:
    _alone(_backend)


@nox.session
def packaging(session: nox.Session) -> None:
    """Real installs of this checkout, in every way that the docs name."""
    session.install("--group=test", "--group=packaging")
    # Each test has an environment of its own: they may run side by side, in any order.
    side_by_side = ("--numprocesses=logical", "--maxprocesses=4", "--dist=worksteal")
    _pytest(session, *side_by_side, "tests/test_packaging.py")


@nox.session
def tests(session: nox.Session) -> None:
    """Everything installed, every test that has no session of its own, and the coverage of all."""
    _install(session, *EXTRAS, groups=("test", "engines", "peers", "clients", "packaging"))
    _fetch(session, "pocketsphinx-testdata", CLIPS)
    _fetch(session, "chromium", BROWSER)
    elsewhere = [file for backend in BACKENDS for file in _files_of(backend)]
    elsewhere.append("tests/test_packaging.py")
    _covered(session, *PARALLEL, *(f"--ignore={file}" for file in elsewhere))
    found = [str(COVERAGE / f".coverage.{name}") for name in [*BACKENDS, "tests"]]
    whole = all(map(os.path.exists, found))
    session.run("coverage", "combine", "--keep", *filter(os.path.exists, found))
    # Run by itself it can't know what the backends' own sessions reach.
    floor = [] if whole else ["--fail-under=0"]
    session.run("coverage", "report", "--skip-covered", *floor)


def _fetch(session: nox.Session, package: str, brings: Path) -> None:
    """Bring what no Python package has, where apt can: clips of readers, a browser.

    Without the clips one test is skipped; without the browser those of the pages fail.
    """
    if not brings.exists() and shutil.which("apt-get") and os.geteuid() == 0:
        get = ("apt-get", "-q", "-y")
        for words in (("update",), ("install", package)):
            session.run_install(*(*get, *words), external=True, silent=True, success_codes=[0, 100])


@nox.session
def bench(session: nox.Session) -> None:
    """Measure against the raw engines; ``nox -s bench -- --record`` keeps it for the docs."""
    _install(session, *EXTRAS, groups=("test", "peers", "clients"))
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """A chat answer and a small search, on the starter models."""
    _install(session, *DEMO, groups=())
    session.run("python", "examples/demo.py", *session.posargs)
