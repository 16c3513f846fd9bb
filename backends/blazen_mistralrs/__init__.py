"""mistral.rs, in process."""

from blazen_mistralrs.model import MistralRsModel

__all__ = ["MistralRsModel"]
