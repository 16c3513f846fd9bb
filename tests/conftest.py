"""What every test may use: markers, and the runner of code that documents show.

A test that needs an optional package says so::

    pytestmark = pytest.mark.needs("xllamacpp", "starter:chat")

Each name is an extra of blazen, a group of ``pyproject.toml`` or a starter model; without a name,
all extras are meant. Where one is missing the test is skipped and says which; with
``BLAZEN_REQUIRE_ALL=1``, as the complete environments of nox set it, it fails instead. The same
holds for ``pytest.importorskip`` at the head of a module that imports such a package, and for whole
folders (`ROOMS`).

What takes many seconds, and is the same on each Python, is marked ``long``.
"""

from __future__ import annotations

import ast
import asyncio
import gc
import inspect
import os
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
REQUIRE_ALL = os.environ.get("BLAZEN_REQUIRE_ALL") == "1"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
GROUPS: dict[str, list[str]] = PROJECT["dependency-groups"]
# Whole folders of tests that import what only these bring.
ROOMS = {
    "cli": ("cli",),
    "mcp": ("cli", "mcp", "clients"),
    "server": ("cli", "server", "clients"),
}


def missing(name: str) -> list[str]:
    """The packages that an extra, or the starter model, still lacks here."""
    kind, colon, starter = name.partition(":")
    if colon and kind == "starter":
        from blazen.weights.starter import TABLE

        wanted: Iterable[str] = TABLE[starter].requirements
    else:
        wanted = EXTRAS.get(name) or GROUPS[name]
    return [text for text in wanted if not _is_there(Requirement(text))]


def _is_there(requirement: Requirement) -> bool:
    if requirement.marker is not None and not requirement.marker.evaluate():
        return True
    try:
        version = distribution(requirement.name).version
    except PackageNotFoundError:
        return False
    return requirement.specifier.contains(version, prereleases=True)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out a room whose packages are not there, unless none may be missing."""
    if REQUIRE_ALL or collection_path.parent != ROOT / "tests":
        return None
    wanted = ROOMS.get(collection_path.name, ())
    return True if any(missing(name) for name in wanted) else None


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "needs(*names): the extras, groups and starters that the test must have; none named: all",
    )
    config.addinivalue_line(
        "markers", "long: takes many seconds and is the same on each Python; begun first"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Side by side, begin with the modules and classes that take long, else one runs on alone.

    Then come those with many tests, as pytest-xdist itself has it.
    """
    if not hasattr(config, "workerinput"):
        return
    places = {item: item.nodeid.rpartition("::")[0] for item in items}
    size = Counter(places.values())
    for item, place in places.items():
        if item.get_closest_marker("long"):
            size[place] = len(items)
    items.sort(key=lambda item: -size[places[item]])


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for name in mark.args or EXTRAS:
            absent = missing(name)
            if absent:
                reason = f"needs {name}: {', '.join(absent)} is not installed"
                if REQUIRE_ALL:
                    pytest.fail(reason, pytrace=False)
                pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    return _not_silently(report)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    return _not_silently(report)


def _not_silently(report: Any) -> Any:
    if REQUIRE_ALL and report.skipped and "could not import" in str(report.longrepr):
        report.outcome = "failed"
        report.longrepr = f"not to be skipped here: {report.longrepr[-1]}"
    return report


@pytest.fixture(scope="module", autouse=True)
def _what_was_imported_is_not_searched() -> None:
    """Keep modules out of the collections that tests ask for: an engine is half a million things.

    The suites collect after each test.
    """
    gc.collect()
    gc.freeze()


class Snippets:
    """Runs pieces of code one after another in one namespace, as a notebook does.

    Each may use ``await`` at its top level. One that does not is run without a running loop, so
    that it may call ``asyncio.run`` itself.
    """

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self._loop = asyncio.new_event_loop()

    def run(self, source: str, path: Path, line: int = 1) -> None:
        """Run one piece; ``line`` is where it begins in its file, for tracebacks."""
        code = compile(
            "\n" * (line - 1) + source,
            str(path),
            "exec",
            flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
            dont_inherit=True,
        )
        if code.co_flags & inspect.CO_COROUTINE:
            self._loop.run_until_complete(eval(code, self.names))
        else:
            exec(code, self.names)

    def close(self) -> None:
        """Unload the models that the code left loaded, end the workers that wait, and the loop."""
        from blazen.isolation import spares

        for value in list(self.names.values()):
            unload = getattr(value, "unload_all", None) or getattr(value, "unload", None)
            if inspect.iscoroutinefunction(unload) and not isinstance(value, type):
                self._loop.run_until_complete(unload())
        spares.dismiss()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


@pytest.fixture
def snippets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Generator[Callable[..., None], None, None]:
    """Gives ``run(source, path, line)``, in an empty folder that it may import from."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    runner = Snippets()
    try:
        yield runner.run
    finally:
        runner.close()
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
                del sys.modules[name]
