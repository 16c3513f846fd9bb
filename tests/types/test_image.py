"""Pictures in every common form and back."""

from __future__ import annotations

import base64
import io
import json
import pickle
import struct
import subprocess
import sys
import zlib

import pytest

from blazen.errors import MissingExtraError, ValidationError
from blazen.types.audio import Audio
from blazen.types.generation import ImageResponse
from blazen.types.image import Image
from blazen.types.record import decode, encode

np = pytest.importorskip("numpy")
PIL = pytest.importorskip("PIL.Image")

ORIENTATION = 0x0112


def ramp(height=12, width=20, channels=3):
    y, x = np.mgrid[0:height, 0:width]
    planes = [x * 255 // width, y * 255 // height, (x + y) * 3, 255 - x][:channels]
    return np.stack(planes, axis=2).astype(np.uint8)


def encoded(form, array=None, **settings):
    out = io.BytesIO()
    PIL.fromarray(ramp() if array is None else array).save(out, form, **settings)
    return out.getvalue()


def with_orientation(form, turn):
    exif = PIL.Exif()
    exif[ORIENTATION] = turn
    return encoded(form, exif=exif.tobytes(), **({"quality": 95} if form == "JPEG" else {}))


class TestIn:
    @pytest.mark.parametrize(
        ("form", "media_type"),
        [
            ("PNG", "image/png"),
            ("JPEG", "image/jpeg"),
            ("WEBP", "image/webp"),
            ("GIF", "image/gif"),
            ("BMP", "image/bmp"),
            ("TIFF", "image/tiff"),
        ],
    )
    def test_common_files(self, tmp_path, form, media_type):
        data = encoded(form)
        path = tmp_path / "no-suffix"
        path.write_bytes(data)
        image = Image.from_file(path)
        assert image.media_type == media_type
        assert image.size == (image.width, image.height) == (20, 12)
        assert repr(image) == f"Image(20×12 {media_type[6:]})"
        assert image.to_bytes() == image.to_bytes(form.lower()) == data
        pixels = image.to_array()
        assert pixels.shape == (12, 20, 3)
        assert np.abs(pixels.astype(int) - ramp()).mean() < 12

    def test_avif_where_pillow_has_it(self):
        from PIL import features

        if "avif" not in features.modules or not features.check("avif"):
            pytest.skip("this Pillow has no AVIF")
        image = Image.from_bytes(encoded("AVIF"))
        assert image.media_type == "image/avif"
        assert image.size == (20, 12)

    def test_heic_is_known_though_pillow_can_not_read_it(self):
        image = Image.from_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 50)
        assert image.media_type == "image/heic"
        assert image.to_data_url().startswith("data:image/heic;base64,")
        assert "heic" in repr(image)
        with pytest.raises(ValidationError, match="image/heic"):
            image.to_pil()

    def test_progressive_jpeg_tells_its_size_without_pillow(self, monkeypatch):
        image = Image.from_bytes(encoded("JPEG", progressive=True))
        monkeypatch.setitem(sys.modules, "PIL", None)
        assert image.size == (20, 12)

    @pytest.mark.parametrize("turn", range(1, 9))
    @pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
    def test_exif_orientation(self, form, turn):
        array = ramp()
        array[:6, :10] = (255, 0, 0)
        array[6:, :] = array[:6, 10:] = array[6:, :10] = (0, 0, 255)
        exif = PIL.Exif()
        exif[ORIENTATION] = turn
        image = Image.from_bytes(encoded(form, array, exif=exif.tobytes()))
        upright = image.to_array()
        tall = turn >= 5
        assert image.size == ((12, 20) if tall else (20, 12))
        assert upright.shape == ((20, 12, 3) if tall else (12, 20, 3))
        # Where the red corner lands, by EXIF's table of orientations.
        top = turn in (1, 2, 5, 6)
        left = turn in (1, 4, 5, 8)
        corner = upright[2 if top else -3, 2 if left else -3]
        assert corner[0] > 200
        assert corner[2] < 60

    def test_an_animation_gives_its_first_frame(self):
        frames = [PIL.new("RGB", (4, 4), color) for color in ("red", "lime")]
        out = io.BytesIO()
        frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
        assert Image.from_bytes(out.getvalue()).to_array()[0, 0].tolist() == [255, 0, 0]

    def test_palette_transparency_survives(self):
        palette = PIL.new("P", (2, 1))
        palette.putpalette([255, 0, 0, 0, 255, 0])
        palette.putpixel((1, 0), 1)
        out = io.BytesIO()
        palette.save(out, "PNG", transparency=1)
        pixels = Image.from_bytes(out.getvalue()).to_array()
        assert pixels[0].tolist() == [[255, 0, 0, 255], [0, 255, 0, 0]]

    def test_sixteen_bits_keep_the_upper_eight(self):
        deep = PIL.fromarray(np.array([[0, 1000, 40000, 65535]], np.uint16))
        image = Image.from_pil(deep)
        assert image.to_array().ravel().tolist() == [0, 3, 156, 255]
        assert Image.from_bytes(image.to_bytes("png")) == image
        assert image.resized(2).size == (2, 1)
        assert image.resized(2).to_array().max() > 100
        shrunk = Image.from_bytes(image.to_bytes("jpeg", quality=100)).to_array().ravel()
        assert np.abs(shrunk.astype(int) - [0, 3, 156, 255]).max() < 8


class TestArrays:
    @pytest.mark.parametrize("channels", [1, 3, 4])
    @pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
    def test_round_trip(self, channels, dtype):
        pixels = ramp(channels=channels)
        given = pixels if dtype == "uint8" else (pixels / 255).astype(dtype)
        image = Image.from_array(given)
        assert image.size == (20, 12)
        assert np.array_equal(image.to_array(), pixels)
        assert np.array_equal(Image.from_bytes(image.to_bytes()).to_array(), pixels)

    def test_two_dimensions_and_slices(self):
        assert Image.from_array(ramp()[:, :, 0]).to_array().shape == (12, 20, 1)
        flipped = ramp()[::-1, ::2]
        assert np.array_equal(Image.from_array(flipped).to_array(), flipped)

    def test_the_callers_array_stays_its_own(self):
        pixels = ramp()
        image = Image.from_array(pixels)
        pixels[:] = 0
        assert image.to_array().max() > 0
        image.to_array()[:] = 0
        assert image.to_array().max() > 0
        image.to_pil().putpixel((0, 0), (9, 9, 9))
        assert image.to_array()[0, 0].tolist() == ramp()[0, 0].tolist()
        with pytest.raises(AttributeError):
            image.size = (1, 1)

    @pytest.mark.parametrize(
        ("array", "words"),
        [
            (np.full((4, 4, 3), np.nan), "NaN"),
            (np.full((4, 4, 3), 2.0), "from 2 to 2"),
            (np.full((4, 4, 3), -0.5), "between 0 and 1"),
            (np.zeros((4, 4, 2)), "shape"),
            (np.zeros((3, 4, 4)) + 0.0, "shape"),
            (np.zeros((0, 4, 3)), "shape"),
            (np.zeros(4), "shape"),
            (np.zeros((4, 4, 3), np.int64), "uint8"),
            (np.zeros((4, 4), bool), "uint8"),
            (np.broadcast_to(np.uint8(0), (10000, 10000)), "10,000×10,000"),
        ],
    )
    def test_what_is_no_picture_is_refused(self, array, words):
        if array.shape == (3, 4, 4):
            array = array.transpose(1, 0, 2)[:, :, :2]
        with pytest.raises(ValidationError, match=words):
            Image.from_array(array)

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "La", "P", "PA", "CMYK", "RGBa", "HSV", "I"])
    def test_every_pillow_mode(self, mode):
        image = Image.from_pil(PIL.new(mode, (6, 4)))
        assert image.to_array().shape[:2] == (4, 6)
        assert Image.from_dict(image.to_dict()) == image
        for form in ("png", "jpeg", "webp", "gif", "bmp", "tiff"):
            assert Image.from_bytes(image.to_bytes(form)).size == (6, 4)

    def test_floats_in_pillow_have_no_scale(self):
        with pytest.raises(ValidationError, match="scale"):
            Image.from_pil(PIL.new("F", (4, 4)))
        with pytest.raises(ValidationError, match="no pixels"):
            Image.from_pil(PIL.new("RGB", (0, 4)))
        with pytest.raises(ValidationError, match="no Pillow image"):
            Image.from_pil("photo.png")


class TestOut:
    @pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "webp", "gif", "bmp", "tiff", "tif"])
    def test_save(self, tmp_path, suffix):
        path = Image.from_array(ramp()).save(tmp_path / f"a.{suffix}")
        back = Image.from_file(path)
        assert back.media_type == {
            "jpg": "image/jpeg",
            "tif": "image/tiff",
        }.get(suffix, f"image/{suffix}")
        assert np.abs(back.to_array().astype(int) - ramp()).mean() < 12
        if suffix in {"png", "bmp", "tiff", "tif"}:
            assert np.array_equal(back.to_array(), ramp())

    def test_the_original_bytes_are_saved(self, tmp_path):
        data = with_orientation("JPEG", 6)
        assert Image.from_bytes(data).save(tmp_path / "a.jpg").read_bytes() == data
        turned = Image.from_file(Image.from_bytes(data).save(tmp_path / "a.png"))
        assert turned.to_pil().size == (12, 20)

    def test_quality(self):
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
        image = Image.from_array(noise)
        assert len(image.to_bytes("jpeg", quality=20)) < len(image.to_bytes("jpeg")) / 2
        with pytest.raises(ValidationError, match="quality"):
            image.to_bytes("jpeg", quality=0)

    def test_jpeg_has_white_where_nothing_was(self):
        image = Image.from_array(np.zeros((8, 8, 4), np.uint8))
        assert Image.from_bytes(image.to_bytes("jpeg")).to_array().min() > 250

    @pytest.mark.parametrize("name", ["a.xyz", "a", "a.heic"])
    def test_an_unknown_format(self, tmp_path, name):
        with pytest.raises(ValidationError, match="'png', 'jpeg'"):
            Image.from_array(ramp()).save(tmp_path / name)

    def test_resized(self):
        image = Image.from_array(ramp(100, 400))
        assert image.resized(100).size == (100, 25)
        assert image.resized(1).size == (1, 1)
        assert image.resized(400) is image
        photo = Image.from_bytes(encoded("JPEG", ramp(100, 400))).resized(50)
        assert photo.size == (50, 12)
        assert photo.media_type == "image/jpeg"
        assert Image.from_bytes(photo.to_bytes()).media_type == "image/jpeg"
        assert Image.from_dict(photo.to_dict()).size == (50, 12)
        with pytest.raises(ValidationError, match="max_side"):
            image.resized(0)

    def test_data_url(self):
        data = encoded("WEBP")
        text = Image.from_bytes(data).to_data_url()
        assert text == "data:image/webp;base64," + base64.b64encode(data).decode()
        assert Image.of(text).to_bytes() == data


class TestOf:
    def test_every_form(self, tmp_path):
        data = encoded("PNG")
        path = tmp_path / "a.png"
        path.write_bytes(data)
        image = Image.from_file(path)
        assert Image.of(image) is image
        forms = [path, str(path), data, bytearray(data), memoryview(data), image.to_data_url()]
        forms += [ramp(), PIL.open(io.BytesIO(data)), PIL.fromarray(ramp())]
        for form in forms:
            assert Image.of(form) == image
        assert image.path == path
        address = "https://example.org/a.png"
        assert Image.of(address) == Image.from_url(address)
        assert Image.from_url(address).url == address
        assert Image.from_data_url(image.to_data_url()) == image

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            (None, "NoneType"),
            (5, "int"),
            ("missing.png", r"no such image file: 'missing\.png'"),
            ("gopher://a.b/c", "http"),
            (b"", "empty"),
            (b"hello, this is a text", "must be an image"),
            ("data:text/plain,hello%20there", "must be an image"),
            (b"RIFF\x24\0\0\0WAVEfmt ", "audio/wav"),
        ],
    )
    def test_what_is_refused(self, value, words):
        with pytest.raises(ValidationError, match=words):
            Image.of(value)

    @pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
    def test_damaged_files_name_themselves(self, tmp_path, form):
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
        data = encoded(form, noise)
        for name, content in (
            ("half", data[: len(data) // 2]),
            ("head", data[:20]),
            ("junk", data[:16] + b"\xff" * 500),
        ):
            path = tmp_path / f"{name}.bin"
            path.write_bytes(content)
            image = Image.from_file(path)
            assert form.lower() in repr(image)
            with pytest.raises(ValidationError, match=name):
                image.to_pil()

    def test_a_decompression_bomb(self):
        def chunk(kind, body):
            check = zlib.crc32(kind + body)
            return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)

        for side in (10_000, 50_000):
            header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
            bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
            bomb += chunk(b"IDAT", zlib.compress(b"\0" * 100_000)) + chunk(b"IEND", b"")
            with pytest.raises(ValidationError, match="pixels"):
                Image.from_bytes(bomb).to_pil()

    def test_a_postscript_program_is_never_run(self):
        with pytest.raises(ValidationError, match="must be an image"):
            Image.from_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")


class TestValue:
    def test_equal_by_content(self):
        assert Image.from_array(ramp()) == Image.from_array(ramp())
        assert Image.from_array(ramp()) == Image.from_bytes(encoded("PNG"))
        assert Image.from_array(ramp()) != Image.from_array(ramp(channels=4))
        assert Image.from_array(ramp()) != Image.from_bytes(encoded("JPEG"))
        assert Image.from_array(ramp()) != Image.from_bytes(encoded("PNG")[:60])
        assert Image.of("http://a.b/c") != Image.from_array(ramp())
        assert Image.of("http://a.b/c") == Image.of("http://a.b/c")
        assert Image.from_array(ramp()) != 1

    def test_json_tells_kinds_apart(self, tmp_path):
        data = encoded("JPEG")
        path = tmp_path / "a.jpg"
        path.write_bytes(data)
        sound = Audio.from_bytes(b"RIFF....WAVE")
        parts = ["text", Image.from_file(path), sound, Image.from_array(ramp())]
        text = json.dumps(encode(parts))
        path.unlink()
        back = decode(list[str | Image | Audio], json.loads(text))
        assert [type(part) for part in back] == [str, Image, Audio, Image]
        assert back[1].to_bytes() == data
        assert back[2].to_bytes() == sound.to_bytes()
        assert np.array_equal(back[3].to_array(), ramp())

    def test_json_keeps_a_url_unfetched(self):
        image = Image.of("http://127.0.0.1:9/a.png")
        assert image.to_dict() == {"kind": "image", "url": "http://127.0.0.1:9/a.png"}
        assert Image.from_dict(image.to_dict()).url == image.url
        assert repr(image) == "Image('http://127.0.0.1:9/a.png')"

    @pytest.mark.parametrize("data", [{}, {"data": "*"}, {"data": "aGVsbG8="}, {"file": "a"}])
    def test_wrong_json(self, data):
        with pytest.raises(ValidationError):
            Image.from_dict(data)

    def test_pickle(self, tmp_path):
        image = Image.from_array(ramp())
        assert pickle.loads(pickle.dumps(image)) == image
        path = image.save(tmp_path / "a.png")
        assert pickle.loads(pickle.dumps(Image.from_file(path))).path == path

    def test_in_a_notebook(self):
        data = encoded("JPEG")
        bundle = Image.from_bytes(data)._repr_mimebundle_(include=None, exclude=None)
        assert bundle["image/jpeg"] == base64.b64encode(data).decode()
        assert bundle["text/plain"] == "Image(20×12 jpeg)"
        png = Image.from_bytes(encoded("TIFF"))._repr_mimebundle_()["image/png"]
        assert base64.b64decode(png).startswith(b"\x89PNG")
        remote = Image.of('http://a.b/c"><script>')._repr_mimebundle_()["text/html"]
        assert "<script>" not in remote

    @pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF"])
    def test_a_large_one_is_scaled_down_in_a_notebook(self, form):
        out = io.BytesIO()
        PIL.new("RGB", (1500, 3000)).save(out, form)
        bundle = Image.from_bytes(out.getvalue())._repr_mimebundle_()
        media_type = "image/jpeg" if form == "JPEG" else "image/png"
        shown = Image.from_bytes(base64.b64decode(bundle[media_type]))
        assert shown.size == (512, 1024)
        assert shown.media_type == media_type
        assert bundle["text/plain"].startswith("Image(1500×3000")

    def test_a_large_one_that_can_not_be_scaled_is_shown_as_it_is(self):
        out = io.BytesIO()
        PIL.new("RGB", (1500, 3000)).save(out, "PNG")
        cut = out.getvalue()[:200]
        bundle = Image.from_bytes(cut)._repr_mimebundle_()
        assert base64.b64decode(bundle["image/png"]) == cut

    def test_a_response_shows_its_images(self):
        images = tuple(Image.from_array(np.full((4, 4, 3), shade, "uint8")) for shade in (0, 200))
        answer = ImageResponse((*images, Image.of("http://a.b/c.png")), seeds=(7, 8, 9))
        bundle = answer._repr_mimebundle_(include=None, exclude=None)
        assert bundle["text/plain"] == repr(answer)
        for image in images:
            assert image.to_data_url() in bundle["text/html"]
        assert bundle["text/html"].count("<img") == 3
        assert ImageResponse(())._repr_mimebundle_() == {"text/plain": repr(ImageResponse(()))}

    def test_a_folder_that_is_not_there_is_named(self, tmp_path):
        with pytest.raises(ValidationError, match=r"there is no folder .*nowhere") as refusal:
            Image.from_array(ramp()).save(tmp_path / "nowhere" / "a.png")
        assert ".part" not in str(refusal.value)

    def test_a_file_that_can_not_be_written_names_no_part(self, tmp_path):
        name = f"{'x' * 245}.png"  # the part's name is longer, and no file may have it
        with pytest.raises(ValidationError, match="cannot write") as refusal:
            Image.from_array(ramp()).save(tmp_path / name)
        assert ".part" not in str(refusal.value)

    def test_making_one_needs_no_extra(self, tmp_path):
        path = tmp_path / "a.png"
        path.write_bytes(encoded("PNG"))
        code = f"""
import sys
for name in ("av", "numpy", "PIL", "trimesh"):
    sys.modules[name] = None
from blazen.errors import MissingExtraError
from blazen.types.image import Image
import blazen.types.mesh
image = Image.of({str(path)!r})
assert image.size == (20, 12)
assert image.media_type == "image/png"
assert Image.from_dict(image.to_dict()) == image
assert image.to_data_url().startswith("data:image/png;base64,")
try:
    image.to_pil()
except MissingExtraError as error:
    assert "blazen[images]" in str(error)
else:
    raise AssertionError
assert "urllib.request" not in sys.modules
"""
        subprocess.run([sys.executable, "-c", code], check=True)

    def test_the_repr_of_an_unreadable_size(self, monkeypatch):
        image = Image.from_bytes(encoded("WEBP"))
        monkeypatch.setitem(sys.modules, "PIL", None)
        assert repr(image).startswith("Image(webp, the ")
        with pytest.raises(MissingExtraError):
            _ = image.size
