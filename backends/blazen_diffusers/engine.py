"""A loaded pipeline, and the other pipelines that share its weights."""

from __future__ import annotations

import inspect
import logging
from dataclasses import dataclass, field
from typing import Any

from blazen import torch as blazen_torch
from blazen.errors import UnsupportedError
from blazen_diffusers.plan import Plan
from blazen_diffusers.previews import Previews
from blazen_diffusers.quiet import quiet

log = logging.getLogger("blazen.diffusers")

TASKS = {
    "text": ("AutoPipelineForText2Image", "can't start from a prompt alone: give image="),
    "image": ("AutoPipelineForImage2Image", "can't start from an image"),
    "mask": ("AutoPipelineForInpainting", "can't paint within a mask"),
}


@dataclass
class Engine:
    """A pipeline, ready to be called on the one thread of its model."""

    name: str
    own: Any
    """The pipeline as it was loaded."""
    scheduler: str | None
    """Which scheduler to take where a request names none."""
    device: Any
    plan: Plan
    batch_size: int
    previews: Previews | None
    scheduler_model: Any = None
    """The pipeline's own scheduler, of which each call has a copy."""
    _by_task: dict[str, Any] = field(default_factory=dict)
    _hooked: Any = None

    def pipeline(self, task: str) -> Any:
        """Give the pipeline for a task (``text``, ``image``, ``mask``), all on the same weights."""
        found = self._by_task.get(task)
        if found is None:
            found = self._by_task[task] = self._made(task)
        if self.plan.offload == "model" and self._hooked is not found:
            # Its hooks hand the GPU from one part to the next, and each pipeline lists its own.
            found.enable_model_cpu_offload(device=self.device)
            self._hooked = found
        return found

    def parameters(self, task: str) -> frozenset[str]:
        """Give what the pipeline for a task may be told."""
        return frozenset(inspect.signature(type(self.pipeline(task)).__call__).parameters)

    def settle(self, pipeline: Any) -> None:
        """Bring everything back to its place after a call that did not come to its end."""
        if self.plan.offload == "model":
            pipeline.maybe_free_model_hooks()

    def close(self) -> None:
        """Let go of all that refers to the weights."""
        while self._by_task:
            self._unhook(self._by_task.popitem()[1])
        self._unhook(self.own)
        self.own = self.previews = self.scheduler_model = self._hooked = None
        blazen_torch.release()

    def _unhook(self, pipeline: Any) -> None:
        if pipeline is not None and self.plan.offload != "none":
            pipeline.remove_all_hooks()

    def _made(self, task: str) -> Any:
        takes = set(inspect.signature(type(self.own).__call__).parameters)
        fits = {
            "text": "image" not in takes,
            "image": "image" in takes and "mask_image" not in takes,
            "mask": "mask_image" in takes,
        }
        if fits[task]:
            return self.own
        import diffusers

        maker, problem = TASKS[task]
        try:
            with blazen_torch.construction, quiet():
                made = getattr(diffusers, maker).from_pipe(self.own)
        except (ValueError, AttributeError, KeyError) as error:
            raise UnsupportedError(f"{self.name} ({type(self.own).__name__}) {problem}") from error
        made.set_progress_bar_config(disable=True)
        return made
