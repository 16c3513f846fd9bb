"""How likely the tokens of an answer were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blazen.types.completion import LikelyToken, TokenLogprob
from blazen_llamacpp.vocabulary import Vocabulary

if TYPE_CHECKING:
    import numpy


def token_logprob(
    vocabulary: Vocabulary, logits: numpy.ndarray[Any, Any], token: int, top: int
) -> TokenLogprob:
    """Say how likely a token was before any setting of the sampling, and what was likelier."""
    import numpy

    wide = logits.astype("f8")
    highest = float(wide.max())
    total = highest + float(numpy.log(numpy.exp(wide - highest).sum()))
    best: list[int] = []
    if top:
        some = numpy.argpartition(wide, -top)[-top:]
        best = some[numpy.argsort(-wide[some], kind="stable")].tolist()
    return TokenLogprob(
        vocabulary.text(token),
        float(wide[token]) - total,
        tuple(LikelyToken(vocabulary.text(t), float(wide[t]) - total) for t in best),
    )
