"""What the documents say is true: their Python runs, their commands are the checks' own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# A fence in another language is shown, not run; Python must not hide under any of these.
SHOWN = {"sh", "toml", "text", "json", "yaml"}
# Their code asks a provider. It finds a server of ours, which speaks the provider's wire format.
ASKING = {
    "anthropic.md",
    "gateways.md",
    "gemini.md",
    "middleware.md",
    "openai-media.md",
    "openai.md",
    "providers.md",
}
# It shows programs of others, which warn of themselves.
NOISY = {"use-with.md"}


class Fence(NamedTuple):
    language: str
    title: str
    line: int
    source: str


def fences(text: str) -> list[Fence]:
    found = []
    opening = re.compile(r"^( *)(`{3,})([^\n`]*)\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
    for match in opening.finditer(text):
        language, _, rest = match[3].strip().partition(" ")
        title = re.search(r'title="([^"]+)"', rest)
        line = text.count("\n", 0, match.start(4)) + 1
        found.append(Fence(language, title[1] if title else "", line, textwrap.dedent(match[4])))
    return found


def _pages() -> list[object]:
    return [
        pytest.param(
            page,
            id=str(page.relative_to(ROOT)),
            marks=[pytest.mark.filterwarnings("ignore")] if page.name in NOISY else [],
        )
        for page in PAGES
        if any(fence.language == "python" for fence in fences(page.read_text("utf-8")))
    ]


@pytest.mark.needs
@pytest.mark.long
@pytest.mark.parametrize("page", _pages())
def test_python_of_a_page_runs_in_its_order(page, snippets, tmp_path, request):
    if page.name in ASKING:
        request.getfixturevalue("providers")
    written = []
    for fence in fences(page.read_text("utf-8")):
        if fence.title:
            # A file of the example: what follows imports it, or reads it.
            file = tmp_path / fence.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(fence.source, "utf-8")
            written += [file] if fence.language == "python" else []
        elif fence.language == "python":
            snippets(fence.source, page, fence.line)
    used = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    for file in written:
        if file.name.startswith("test_"):
            _passes(file)
        else:
            assert str(file) in used, f"{file.name} is shown and never imported"


@pytest.fixture
def providers(monkeypatch):
    """Lead what asks a provider to a server of ours, and give it no other key."""
    from blazen_openai.gateways import GATEWAYS
    from tests.wire.every import every_provider

    for row in GATEWAYS.values():
        for variable in row.keys:
            monkeypatch.delenv(variable, raising=False)
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
    with every_provider() as (_, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield


def _passes(file: Path) -> None:
    """Run a test file of a page as its reader would: with the examples installed."""
    examples = [str(path.parent) for path in (ROOT / "examples").glob("*/pyproject.toml")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-o", "asyncio_mode=auto", file.name],
        cwd=file.parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*examples, *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_fence_names_a_language_that_is_run_or_shown(page):
    for fence in fences(page.read_text("utf-8")):
        assert fence.language in SHOWN | {"python"}, f"line {fence.line - 1}: {fence.language!r}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_fence_is_closed_and_seen(page):
    text = page.read_text("utf-8")
    assert len(re.findall(r"^ *```", text, re.MULTILINE)) == 2 * len(fences(text))


def test_ci_runs_what_the_readme_tells_a_person_to_run():
    script = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    commands = [line for line in script if not line.startswith(("#", "set ", "cd "))]
    told = [line.replace("pip install ", "pip install --quiet ") for line in _readme_commands()]
    assert commands
    assert "\n".join(commands) in "\n".join(told)


def _readme_commands() -> list[str]:
    shell = [f.source for f in fences(PAGES[0].read_text("utf-8")) if f.language == "sh"]
    return [line for source in shell for line in source.splitlines()]


def test_changelog_has_an_entry_for_this_version():
    conf = (ROOT / "pyproject.toml").read_text("utf-8")
    version = re.search(r'^version = "(.+)"$', conf, re.MULTILINE)
    changelog = (ROOT / "docs" / "changelog.md").read_text("utf-8")
    assert version
    assert re.search(
        rf"^## {re.escape(version[1])}\b.*?\n- \S", changelog, re.MULTILINE | re.DOTALL
    )


def test_every_page_is_in_the_navigation():
    menu = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:\n")[2]
    named = set(re.findall(r": (\S+\.md)$", menu, re.MULTILINE))
    assert {page.relative_to(ROOT / "docs").as_posix() for page in PAGES[1:]} == named
