"""Options of images: the picture to start from, and its mask, in any form."""

from __future__ import annotations

import io

import pytest

from blazen import Image, ImageOptions
from blazen.errors import ValidationError

np = pytest.importorskip("numpy")
Pillow = pytest.importorskip("PIL.Image")

PIXELS = np.arange(8 * 8 * 3, dtype="uint8").reshape(8, 8, 3)


def as_png():
    kept = io.BytesIO()
    Pillow.fromarray(PIXELS).save(kept, "PNG")
    return kept.getvalue()


FORMS = {
    "an image": lambda folder: Image.from_array(PIXELS),
    "an array": lambda folder: PIXELS,
    "a PIL image": lambda folder: Pillow.fromarray(PIXELS),
    "bytes": lambda folder: as_png(),
    "a path": lambda folder: folder / "a.png",
    "a path as a text": lambda folder: str(folder / "a.png"),
    "its dictionary": lambda folder: Image.from_array(PIXELS).to_dict(),
}


@pytest.mark.parametrize("form", FORMS)
def test_an_image_and_a_mask_are_taken_in_any_form(tmp_path, form):
    (tmp_path / "a.png").write_bytes(as_png())
    given = FORMS[form](tmp_path)
    for options in (
        ImageOptions(image=given, mask=given),
        ImageOptions.of({"image": given, "mask": given}),
    ):
        assert isinstance(options.image, Image)
        assert isinstance(options.mask, Image)
        assert (options.image.to_array() == PIXELS).all()
        assert (options.mask.to_array() == PIXELS).all()
        assert ImageOptions.from_json(options.to_json()) == options


@pytest.mark.parametrize("name", ["image", "mask"])
@pytest.mark.parametrize("wrong", [7, ["a.png"], object(), {"no": "image"}, "data:nothing"])
def test_what_is_no_image_is_refused_when_the_options_are_made(name, wrong):
    given = {"image": PIXELS, name: wrong}
    for make in (lambda: ImageOptions(**given), lambda: ImageOptions.of(given)):
        with pytest.raises(ValidationError, match=rf"^{name}: ") as caught:
            make()
        assert len(str(caught.value)) < 200
