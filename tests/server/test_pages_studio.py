"""The studio: a spoken text is heard again, pictures appear, and meshes can be turned."""

from __future__ import annotations

import io
import json
import re
import struct
import wave
from collections.abc import Callable
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import pytest

from tests.server.browsing import Tab, numbers_in
from tests.server.conftest import RunningServer
from tests.server.test_pages_chat import DOT

pytestmark = [pytest.mark.long, pytest.mark.needs("server", "clients")]
speaks = pytest.mark.needs(
    "server", "clients", "piper", "starter:speak", "whispercpp", "starter:transcribe"
)


@speaks
def test_what_is_spoken_can_be_transcribed(
    visit: Callable[..., Tab], server: RunningServer, tmp_path: Path
) -> None:
    tab = visit(server)
    page = tab.open("/studio#speak")
    page.focus("#speak [name=voice]")
    page.wait_for_selector("#voices option", state="attached")
    page.fill("#speak [name=input]", "The lamp on the table is warm.")
    page.click("#speak .primary")
    page.wait_for_selector("#speak audio")
    with page.expect_download() as got:
        page.get_by_role("button", name="Download").click()
    file = tmp_path / "speech.wav"
    got.value.save_as(file)
    with wave.open(io.BytesIO(file.read_bytes())) as sound:
        seconds = (file.stat().st_size - 44) / sound.getframerate() / 2
    facts = page.inner_text("#speak .result .number")
    minutes, shown, *_ = numbers_in(facts)
    assert 60 * minutes + shown == pytest.approx(seconds, abs=0.1)
    tab.shot("studio-speak")
    page.click("#tab-transcribe")
    page.set_input_files("#transcribe [name=file]", file)
    page.click("#transcribe .primary")
    page.wait_for_selector("#transcribe .segments")
    words = re.sub(r"[^a-z ]", "", page.inner_text("#transcribe .whole").lower())
    # Small models: one letter may be misheard, as "lap" for "lamp".
    assert SequenceMatcher(None, words, "the lamp on the table is warm").ratio() > 0.9
    begun, ended = page.inner_text("#transcribe .segments button").split("–")
    assert numbers_in(begun)[1] < numbers_in(ended)[1] <= seconds + 1
    with page.expect_download() as got:
        page.click("#transcribe .subtitles")
    text = Path(got.value.path()).read_text("utf-8")
    assert text.startswith("WEBVTT\n\n00:00:0")
    assert "table" in text
    tab.shot("studio-transcribe")


@speaks
def test_the_microphone_becomes_a_wav_file_and_a_text(
    visit: Callable[..., Tab], server: RunningServer
) -> None:
    page = visit(server, permissions=["microphone"]).open("/studio")
    page.click("#transcribe .record")
    page.wait_for_selector("#transcribe .recording:text-matches('0:0[1-9]')")
    page.click("#transcribe .record")
    page.wait_for_selector("#transcribe audio:not([hidden])")
    with page.expect_request("**/v1/audio/transcriptions") as asked:
        page.click("#transcribe .primary")
    assert asked.value.method == "POST"
    page.wait_for_selector("#transcribe .whole")  # beeps are no words, but they are a sound


@speaks
def test_the_chat_hears_and_reads_aloud(visit: Callable[..., Tab], server: RunningServer) -> None:
    page = visit(server, permissions=["microphone"]).open("/chat")
    page.route(
        "**/v1/audio/transcriptions",
        lambda route: route.fulfill(json={"text": " Good evening."}),
    )
    page.click("#mic")
    page.wait_for_selector("#mic[aria-pressed=true]")
    page.click("#mic")
    page.wait_for_selector("#mic-state:empty", state="attached")
    assert page.input_value("#input") == "Good evening."
    page.click("#settings-open")
    page.fill("[name=max_tokens]", "8")
    page.click("#send")
    page.wait_for_selector(".answered:not(.running) .acts")
    with page.expect_response("**/v1/audio/speech") as spoken:
        page.get_by_role("button", name="Read aloud").click()
    assert spoken.value.status == 200
    asked = spoken.value.request.post_data_json
    assert (asked["model"], asked["response_format"]) == ("speak", "wav")
    assert asked["input"].split()[0] in page.inner_text(".prose")
    # It is read to its end, and then the button is up again.
    page.wait_for_selector("[aria-label='Read aloud'][aria-pressed=false]")


def test_pictures_appear(visit: Callable[..., Tab], echo_server: RunningServer) -> None:
    tab = visit(echo_server)
    page = tab.open("/studio#images")
    page.fill("#images [name=prompt]", "A lighthouse in the evening")
    page.fill("#images [name=n]", "2")
    page.click("#images .primary")
    page.wait_for_selector("#images .gallery img >> nth=1")
    for image in page.locator("#images .gallery img").all():
        assert image.get_attribute("alt") == "A lighthouse in the evening"
        assert image.evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 0
    tab.shot("studio-images")


def test_a_mesh_is_made_of_a_picture(visit: Callable[..., Tab], echo_server: RunningServer) -> None:
    page = visit(echo_server).open("/studio#mesh")
    dot = {"name": "dot.png", "mimeType": "image/png", "buffer": DOT}
    page.set_input_files("#mesh [name=picture]", [dot])
    page.click("#mesh .primary")
    page.wait_for_selector("#view[data-drawn]")
    assert int(page.get_attribute("#view", "data-drawn")) > 0
    with page.expect_download() as got:
        page.click("#mesh .save")
    assert got.value.suggested_filename == "dot.glb"
    assert Path(got.value.path()).read_bytes()[:4] == b"glTF"


def cube(colours: bool) -> bytes:
    """A cube as GLB: of eight corners, each with a colour, or with a texture of four."""
    corners = [(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
    faces = [0, 1, 3, 0, 3, 2, 4, 6, 7, 4, 7, 5, 0, 4, 5, 0, 5, 1]
    faces += [2, 3, 7, 2, 7, 6, 0, 2, 6, 0, 6, 4, 1, 5, 7, 1, 7, 3]
    parts = [
        struct.pack("<24f", *(value for corner in corners for value in corner)),
        struct.pack("<36H", *faces),
    ]
    attributes = {"POSITION": 0}
    accessors: list[dict[str, Any]] = [
        {"bufferView": 0, "componentType": 5126, "count": 8, "type": "VEC3"},
        {"bufferView": 1, "componentType": 5123, "count": 36, "type": "SCALAR"},
    ]
    more: dict[str, Any] = {}
    primitive: dict[str, Any] = {"attributes": attributes, "indices": 1}
    if colours:
        parts.append(bytes(255 * (v > 0) for c in corners for v in (*c, 1)))
        attributes["COLOR_0"] = 2
        accessors.append({"bufferView": 2, "componentType": 5121, "normalized": True,
                          "count": 8, "type": "VEC4"})  # fmt: skip
    else:
        parts += [struct.pack("<16f", *(v for x, y, _ in corners for v in (x > 0, y > 0))), DOT]
        attributes["TEXCOORD_0"] = 2
        accessors.append({"bufferView": 2, "componentType": 5126, "count": 8, "type": "VEC2"})
        more = {
            "images": [{"bufferView": 3, "mimeType": "image/png"}],
            "textures": [{"source": 0}],
            "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}],
        }
        primitive["material"] = 0
    views, data = [], b""
    for part in parts:
        views.append({"buffer": 0, "byteOffset": len(data), "byteLength": len(part)})
        data += part + bytes(-len(part) % 4)
    text = json.dumps({
        "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "rotation": [0, 0.3826834, 0, 0.9238795], "scale": [2, 1, 1]}],
        "meshes": [{"primitives": [primitive]}], "accessors": accessors, "bufferViews": views,
        "buffers": [{"byteLength": len(data)}], **more,
    }).encode()  # fmt: skip
    text += b" " * (-len(text) % 4)
    body = struct.pack("<II", len(text), 0x4E4F534A) + text
    body += struct.pack("<II", len(data), 0x004E4942) + data
    return struct.pack("<III", 0x46546C67, 2, 12 + len(body)) + body


PIXELS = """(canvas) => {
  const copy = document.createElement("canvas");
  [copy.width, copy.height] = [canvas.width, canvas.height];
  const context = copy.getContext("2d");
  context.drawImage(canvas, 0, 0);
  const { data } = context.getImageData(0, 0, copy.width, copy.height);
  const seen = new Set();
  for (let at = 0; at < data.length; at += 4) {
    const coarse = [...data.slice(at, at + 3)].map((part) => part >> 4).join();
    if (data[at + 3]) seen.add(coarse);
  }
  return seen.size;
}"""


@pytest.mark.parametrize("colours", [True, False], ids=["vertex-colours", "texture"])
def test_a_mesh_is_turned_by_mouse_and_keys(
    visit: Callable[..., Tab], echo_server: RunningServer, colours: bool
) -> None:
    tab = visit(echo_server)
    page = tab.open("/studio#mesh")
    file = {"name": "cube.glb", "mimeType": "model/gltf-binary", "buffer": cube(colours)}
    page.set_input_files("#mesh [name=glb]", [file])
    page.wait_for_selector("#view[data-drawn='12']")
    facts = page.inner_text("#mesh-facts")
    assert "12 triangles" in facts
    assert ("vertex colours" if colours else "a texture") in facts
    view = page.locator("#view")
    assert view.evaluate(PIXELS) > (20 if colours else 1)
    tab.shot(f"studio-mesh-{'colours' if colours else 'texture'}")
    yaw = view.get_attribute("data-yaw")
    view.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(f"#view:not([data-yaw='{yaw}'])")
    page.keyboard.press("+")
    page.wait_for_selector("#view[data-distance='2.430']")
    page.keyboard.press("0")
    page.wait_for_selector(f"#view[data-yaw='{yaw}'][data-distance='2.700']")
    box = view.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 100, steps=4)
    page.mouse.up()
    page.wait_for_selector("#view[data-yaw='1.400']")


def test_a_file_that_is_no_mesh_is_refused_in_words(
    visit: Callable[..., Tab], echo_server: RunningServer
) -> None:
    page = visit(echo_server).open("/studio#mesh")
    for number, data in enumerate((b"", b"glTF", b"no mesh, but long enough", cube(True)[:99])):
        file = {"name": f"{number}.glb", "mimeType": "model/gltf-binary", "buffer": data}
        page.set_input_files("#mesh [name=glb]", [file])
        told = page.inner_text(f"#mesh .result .notice:has-text('{number}.glb')")
        assert "GLB file" in told.replace(f"{number}.glb", "")


def test_without_webgl_a_mesh_can_still_be_saved(
    visit: Callable[..., Tab], echo_server: RunningServer
) -> None:
    tab = visit(echo_server)
    tab.page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null;")
    page = tab.open("/studio#mesh")
    file = {"name": "cube.glb", "mimeType": "model/gltf-binary", "buffer": cube(True)}
    page.set_input_files("#mesh [name=glb]", [file])
    page.wait_for_selector("#mesh .notice:has-text('no WebGL')")
    assert "12 triangles" in page.inner_text("#mesh-facts")
    assert page.is_hidden("#mesh .reset")
    with page.expect_download() as got:
        page.click("#mesh .save")
    assert Path(got.value.path()).read_bytes() == cube(True)


def test_the_address_names_the_tool(visit: Callable[..., Tab], echo_server: RunningServer) -> None:
    page = visit(echo_server).open("/studio#speak")
    assert page.is_visible("#speak")
    page.evaluate("location.hash = '#mesh'")
    page.wait_for_selector("#mesh", state="visible")
    assert page.is_hidden("#speak")
