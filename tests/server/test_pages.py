"""The pages as they are served: types, caching, and what they may do."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest

import blazen.server.pages as pages
from blazen.catalog import Catalog
from blazen.server.app import create_app
from blazen.server.pages.site import PAGES, TYPES, site
from blazen.server.settings import ServerSettings
from tests.server.conftest import RunningServer, running

pytestmark = pytest.mark.needs("server", "clients")

STATIC = Path(pages.__file__).parent / "static"
OWN_SCRIPTS = {f"{name}.js" for name in PAGES}


def client(catalog: Catalog, **settings: object) -> httpx.AsyncClient:
    app = create_app(catalog, ServerSettings(**settings))
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8642", trust_env=False
    )


class Marks(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inline: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_data(self, data: str) -> None:
        if self._inside in ("script", "style") and data.strip():
            self.inline.append(data)


@pytest.mark.parametrize("name", PAGES)
async def test_a_page_is_whole_and_holds_nothing_inline(echo_catalog: Catalog, name: str) -> None:
    async with client(echo_catalog) as asked:
        answer = await asked.get(f"/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "{{" not in answer.text
    marks = Marks(answer.text)
    assert marks.inline == []
    styled = [tag for tag, given in marks.tags if "style" in given]
    handlers = [key for _, given in marks.tags for key in given if key.startswith("on")]
    assert styled == handlers == []
    addresses = [
        given[key]
        for tag, given in marks.tags
        for key in ("src", "href")
        if tag in ("script", "link", "img", "use", "a") and given.get(key)
    ]
    assert not [address for address in addresses if ":" in str(address)]
    assert sum(tag == "h1" for tag, _ in marks.tags) == 1
    assert sum(tag == "main" for tag, _ in marks.tags) == 1


@pytest.mark.parametrize("name", PAGES)
async def test_a_page_may_do_only_what_it_needs(echo_catalog: Catalog, name: str) -> None:
    async with client(echo_catalog) as asked:
        headers = (await asked.get(f"/{name}")).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-cache"


async def test_every_file_has_its_type_and_is_kept_under_its_version(
    echo_catalog: Catalog,
) -> None:
    names = sorted(path.name for path in STATIC.iterdir())
    assert names == sorted(site().files)
    async with client(echo_catalog) as asked:
        for name in names:
            kept = await asked.get(f"/static/{site().version}/{name}")
            assert kept.status_code == 200
            assert kept.content == (STATIC / name).read_bytes()
            assert kept.headers["content-type"] == TYPES[Path(name).suffix]
            assert "immutable" in kept.headers["cache-control"]
            plain = await asked.get(f"/static/{name}")
            assert plain.content == kept.content
            assert plain.headers["cache-control"] == "no-cache"


async def test_what_the_browser_has_is_not_sent_again(echo_catalog: Catalog) -> None:
    async with client(echo_catalog) as asked:
        first = await asked.get("/static/design.css")
        tag = first.headers["etag"]
        for given in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            again = await asked.get("/static/design.css", headers={"If-None-Match": given})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == tag
        other = await asked.get("/static/design.css", headers={"If-None-Match": '"other"'})
        assert other.status_code == 200
        page = await asked.get("/chat")
        again = await asked.get("/chat", headers={"If-None-Match": page.headers["etag"]})
        assert again.status_code == 304
        head = await asked.head("/chat")
        assert head.headers["content-length"] == str(len(page.content))
        assert head.content == b""


@pytest.mark.parametrize(
    "path",
    [
        "/static/none.js",
        "/static/0000000000000000/chat.js",
        "/static/..%2Fsite.py",
        "/static/%2e%2e/site.py",
        "/static/chat.js/",
        "/static/",
    ],
)
async def test_what_is_not_a_file_of_the_pages_is_not_found(
    echo_catalog: Catalog, path: str
) -> None:
    async with client(echo_catalog) as asked:
        answer = await asked.get(path)
    assert answer.status_code == 404
    assert "import" not in answer.text


async def test_other_addresses_lead_to_the_pages(echo_catalog: Catalog) -> None:
    async with client(echo_catalog) as asked:
        expert = await asked.get("/chat?expert", follow_redirects=True)
        icon = await asked.get("/favicon.ico", follow_redirects=True)
    assert expert.url.path == "/expert"
    assert icon.headers["content-type"] == "image/svg+xml"


async def test_without_pages_there_are_none(echo_catalog: Catalog) -> None:
    async with client(echo_catalog, pages=False) as asked:
        for path in ("/chat", "/static/design.css"):
            assert (await asked.get(path)).status_code == 404


def test_where_a_key_is_set_the_files_need_none(echo_catalog: Catalog) -> None:
    with running(echo_catalog, api_key="secret-of-the-door") as server:
        assert httpx.get(f"{server.url}/chat").status_code == 200
        assert httpx.get(f"{server.url}/static/design.css").status_code == 200
        assert httpx.get(f"{server.url}/api/models").status_code == 401


def test_scripts_name_only_files_that_are_there() -> None:
    used = set(OWN_SCRIPTS)
    for path in STATIC.glob("*.js"):
        text = path.read_text("utf-8")
        named = re.findall(r'(?:from|import|URL\()\s*"\./([\w.-]+)"', text)
        used.update(named)
        assert [name for name in named if not (STATIC / name).exists()] == [], path.name
    assert {path.name for path in STATIC.glob("*.js")} - used == {"theme.js"}  # the frame has it


def test_scripts_turn_no_text_into_markup_and_know_no_other_place() -> None:
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
    for path in STATIC.glob("*.js"):
        text = path.read_text("utf-8")
        assert not re.findall(forbidden, text), path.name
        addresses = set(re.findall(r'["`(]https?://[\w.]+', text)) - {'"http://www.w3.org'}
        assert addresses == set(), path.name
    for path in STATIC.glob("*.css"):
        assert not re.findall(r"@import|url\(", path.read_text("utf-8")), path.name


def test_icons_that_are_used_are_in_the_sheet() -> None:
    sheet = (STATIC / "icons.svg").read_text("utf-8")
    there = set(re.findall(r'id="(\w+)"', sheet))
    html = (STATIC.parent / "html").glob("*.html")
    texts = [path.read_text("utf-8") for path in (*STATIC.glob("*.js"), *html)]
    used = {
        name
        for text in texts
        for name in re.findall(r'(?:icons\}\}#|picture: "|icon\(")(\w+)', text)
    }
    assert used <= there
    assert there - used <= {"light", "dark", *PAGES}


def test_a_started_server_serves_them(echo_server: RunningServer) -> None:
    answer = httpx.get(echo_server.url, follow_redirects=True)
    assert answer.url.path == "/chat"
    assert "<title>Chat · blazen</title>" in answer.text
