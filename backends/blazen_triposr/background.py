"""Taking the background away, with a network that says which pixels are the object."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from blazen.errors import LoadError, UnsupportedError
from blazen.extras import need

_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)
_SIDE = 320


class Cutter:
    """A U²-Net as ONNX: picture in, how much each pixel belongs to the object out."""

    def __init__(self, path: Path, threads: int) -> None:
        runtime = need("onnxruntime", extra="triposr", what="removing a background")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = runtime.InferenceSession(
                str(path), sess_options=options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise LoadError(f"ONNX Runtime could not load {path}: {error}") from error
        inputs = self._session.get_inputs()
        shape = inputs[0].shape if len(inputs) == 1 else []
        if len(shape) != 4 or shape[1] != 3:
            raise LoadError(f"{path} is no U²-Net: it does not take one picture of 3 colours")
        self._input = inputs[0].name
        self._side = shape[2] if isinstance(shape[2], int) else _SIDE

    def cut(self, pixels: Any) -> Any:
        """Give RGBA: what is not the object is transparent, and black."""
        import numpy as np
        from PIL import Image

        height, width = pixels.shape[:2]
        small = Image.fromarray(pixels).resize((self._side, self._side), Image.Resampling.LANCZOS)
        values = np.asarray(small, np.float32)
        values = (values / max(float(values.max()), 1e-6) - _MEAN) / _DEVIATION
        inputs = {self._input: values.transpose(2, 0, 1)[None].astype(np.float32)}
        mask = np.squeeze(self._session.run(None, inputs)[0])
        if mask.ndim != 2 or not np.isfinite(mask).all():
            raise UnsupportedError(
                f"the background model gave an answer of shape {mask.shape}, and no mask"
            )
        mask = (mask - mask.min()) / max(float(mask.max() - mask.min()), 1e-6)
        whole = Image.fromarray((mask * 255).astype(np.uint8)).resize(
            (width, height), Image.Resampling.LANCZOS
        )
        # Not the mask alone: colours fade to black with it, as where TripoSR's own pages cut.
        clear = Image.new("RGBA", (width, height))
        faded = Image.composite(Image.fromarray(pixels).convert("RGBA"), clear, whole)
        return np.asarray(faded)
