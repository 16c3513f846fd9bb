"""What models want before a text: one thing before a query, another before a passage.

fastembed's own ``query_embed`` puts nothing there for most of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from blazen_fastembed.folders import read_json


@dataclass(frozen=True)
class Prefixes:
    """What is put before a query, and before a passage."""

    query: str = ""
    passage: str = ""


_SEARCH = Prefixes("Represent this sentence for searching relevant passages: ")
_E5 = Prefixes("query: ", "passage: ")
_TASK = "Given a web search query, retrieve relevant passages that answer the query"

# As the models' own cards say. The first that fits the last part of a name counts.
_PUBLISHED: tuple[tuple[str, Prefixes], ...] = (
    (r"multilingual-e5-.*instruct", Prefixes(f"Instruct: {_TASK}\nQuery: ")),
    (r"(multilingual-)?e5-(small|base|large)(-unsupervised)?(-v2)?", _E5),
    (r"bge-(small|base|large)-en(-v1\.5)?", _SEARCH),
    (r"bge-(small|base|large)-zh(-v1\.5)?", Prefixes("为这个句子生成表示以用于检索相关文章：")),
    (r"mxbai-embed-(xsmall|large)-v1|uae-large-v1", _SEARCH),
    (r"snowflake-arctic-embed-(m|l)-v2\.0", Prefixes("query: ")),
    (r"snowflake-arctic-embed-(xs|s|m|m-long|l|m-v1\.5)", _SEARCH),
    (r"nomic-embed-text-v\d.*", Prefixes("search_query: ", "search_document: ")),
    (r"qwen3-embedding-.*", Prefixes(f"Instruct: {_TASK}\nQuery:")),
    (r"embeddinggemma-.*", Prefixes("task: search result | query: ", "title: none | text: ")),
)
_EXPORT = r"(-onnx)?(-q|-int8)?"
_QUERY = ("query", "search_query", "retrieval.query")
_PASSAGE = ("passage", "document", "search_document", "retrieval.passage", "corpus")


def prefixes_of(name: str, folder: Path) -> Prefixes:
    """Give what a model wants: what its folder says, or else what is published for its name."""
    settings = read_json(folder / "config_sentence_transformers.json")
    prompts = settings.get("prompts")
    if isinstance(prompts, dict):
        said = Prefixes(_first(prompts, _QUERY), _first(prompts, _PASSAGE))
        if said != Prefixes():  # newer tools write empty ones beside every model
            return said
    names = (name, str(read_json(folder / "config.json").get("_name_or_path", "")))
    for pattern, prefixes in _PUBLISHED:
        for one in names:
            last = one.rstrip("/\\").replace("\\", "/").rpartition("/")[2].partition("@")[0]
            if re.fullmatch(f"({pattern}){_EXPORT}", last.lower()):
                return prefixes
    return Prefixes()


def _first(prompts: dict[str, object], names: tuple[str, ...]) -> str:
    found = (prompts[name] for name in names if name in prompts)
    return next((prompt for prompt in found if isinstance(prompt, str)), "")
