"""Getting a picture ready: the object in the middle, on grey, as the network was trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blazen.errors import ValidationError
from blazen.types.image import Image
from blazen.types.image_codec import MAX_PIXELS

if TYPE_CHECKING:
    from torch import Tensor

_RATIO = 0.85
_GREY = 127
"""Half of 255, cut down as every colour is."""
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)


def pixels_of(image: Image) -> Any:
    """Give uint8 pixels with 3 channels, or with 4 where some of it is transparent."""
    import numpy as np

    pixels = image.to_array()
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    if pixels.shape[2] == 4 and pixels[..., 3].min() == 255:
        pixels = pixels[..., :3]
    return pixels


def centred(pixels: Any, ratio: float | None) -> Any:
    """Give RGB with the object in the middle of a square of grey; opaque pixels stay as they are.

    ``ratio`` is how much of the square the object fills.
    """
    import numpy as np

    if pixels.shape[2] == 3:
        if ratio is not None:
            raise ValidationError(
                "foreground_ratio needs to know what the object is: give an image whose "
                "background is transparent, or ask with remove_background=True"
            )
        return pixels
    cut = _cropped(pixels)
    square = max(cut.shape[:2])
    side = int(square / (_RATIO if ratio is None else ratio))
    if side * side > MAX_PIXELS:
        raise ValidationError(
            f"an object of {cut.shape[1]:,}×{cut.shape[0]:,} in a square of {side:,}×{side:,} is "
            f"more than the {MAX_PIXELS:,} pixels allowed: make the image smaller"
        )
    values = cut.astype(np.float32) / 255
    alpha = values[..., 3:]
    on_grey = values[..., :3] * alpha + 0.5 * (1 - alpha)
    # In two steps, each of which puts the odd pixel below and to the right.
    return _padded(_padded((on_grey * 255).astype(np.uint8), square), side)


def normalised(pixels: Any, side: int) -> Tensor:
    """Give what the encoder takes: shape (1, 3, side, side)."""
    import numpy as np
    import torch
    import torch.nn.functional as F  # noqa: N812 - as torch's own documents call it

    values = np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32) / 255
    resized = F.interpolate(
        torch.from_numpy(values)[None],
        (side, side),
        mode="bilinear",
        align_corners=False,
        antialias=True,
    )
    mean = torch.tensor(_MEAN, dtype=torch.float32)[:, None, None]
    deviation = torch.tensor(_DEVIATION, dtype=torch.float32)[:, None, None]
    return (resized - mean) / deviation


def _cropped(pixels: Any) -> Any:
    rows, columns = pixels[..., 3].nonzero()
    if not len(rows):
        raise ValidationError("the image is transparent everywhere: it shows no object")
    # The last row and column are left out, as they were when the network was trained.
    cut = pixels[rows.min() : rows.max(), columns.min() : columns.max()]
    if not cut.size:
        raise ValidationError("the object in the image is a single line of pixels")
    return cut


def _padded(pixels: Any, side: int) -> Any:
    import numpy as np

    height, width = pixels.shape[:2]
    above, left = (side - height) // 2, (side - width) // 2
    around = ((above, side - height - above), (left, side - width - left), (0, 0))
    return np.pad(pixels, around, constant_values=_GREY)
