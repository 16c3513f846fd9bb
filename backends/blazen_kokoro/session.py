"""The model itself, in ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blazen.bridge import Job
from blazen.errors import LoadError, UnsupportedError
from blazen.hardware import Device
from blazen.onnx import open_session

if TYPE_CHECKING:
    from blazen_kokoro.sound import Samples
    from blazen_kokoro.voices import Style

_TOKENS = ("tokens", "input_ids")


@dataclass(frozen=True)
class Session:
    """A loaded model, and how this export of it wants its inputs."""

    runtime: Any
    tokens: str
    whole_speed: bool
    """Whether the speed is a whole number, as in some exports."""
    device: Device

    @classmethod
    def open(cls, path: Path, threads: int, device: Device) -> Session:
        """Load a file, and check that it is a Kokoro."""
        runtime = open_session(path, device, threads)
        kinds = {entry.name: entry.type for entry in runtime.get_inputs()}
        tokens = next((name for name in _TOKENS if name in kinds), None)
        if tokens is None or set(kinds) != {tokens, "style", "speed"}:
            raise LoadError(
                f"{path} is no Kokoro: it takes {', '.join(kinds)}, not tokens, style and speed"
            )
        return cls(runtime, tokens, "int" in kinds["speed"], device)

    def run(self, job: Job, tokens: list[int], style: Style, speed: float) -> Samples | None:
        """Give the sound of some symbols; ``None`` where the job was cancelled meanwhile."""
        import numpy
        import onnxruntime

        if self.whole_speed and speed != int(speed):
            raise UnsupportedError(f"this export of Kokoro takes whole speeds only, not {speed}")
        once = onnxruntime.RunOptions()
        # Or the memory of the longest text would be kept for good: nearly a gigabyte was seen.
        once.add_run_config_entry("memory.enable_memory_arena_shrinkage", _arena(self.device))
        job.on_cancel(lambda: setattr(once, "terminate", True))
        feeds = {
            self.tokens: numpy.array([[0, *tokens, 0]], dtype="int64"),
            "style": style,
            "speed": numpy.array([speed], dtype="int32" if self.whole_speed else "float32"),
        }
        try:
            samples: Samples = self.runtime.run(None, feeds, once)[0]
        except Exception:
            if job.cancelled:
                return None
            raise
        return samples.reshape(-1)


def _arena(device: Device) -> str:
    return "cpu:0" if device == Device.Cpu else f"cpu:0;gpu:{device.index or 0}"
