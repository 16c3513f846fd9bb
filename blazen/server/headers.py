"""What the GGUF file behind a listing says: read once, and kept while the file stays the same."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from blazen.catalog import Listing
from blazen.chat.template import ChatTemplate
from blazen.errors import BlazenError, UnsupportedError
from blazen.weights.gguf import GgufFile, read_gguf
from blazen.weights.gguf_files import DEFAULT_CONTEXT
from blazen.weights.starter import TABLE, starter_path

_KEPT = 16
_known: OrderedDict[tuple[str, int, int], GgufFile] = OrderedDict()
_lock = threading.Lock()


def header_of(listing: Listing) -> GgufFile:
    """Read the header of a listing's file; it blocks. Where there is none, say why."""
    header = known_header(listing)
    if header is None:
        raise UnsupportedError(
            f"{listing.name!r} is no GGUF file on this server's disk: there is nothing to look "
            "into; a model that is fetched on its first use is there once it was loaded"
        )
    return header


def known_header(listing: Listing) -> GgufFile | None:
    """Read the header of a listing's file; ``None`` where it is no GGUF, or not here."""
    path = _path_of(listing)
    if path is None:
        return None
    try:
        stat = path.stat()
    except OSError:
        return None
    key = (str(path), stat.st_size, stat.st_mtime_ns)
    with _lock:
        header = _known.get(key)
        if header is not None:
            _known.move_to_end(key)
            return header
    header = read_gguf(path)
    with _lock:
        _known[key] = header
        while len(_known) > _KEPT:
            _known.popitem(last=False)
    return header


def template_of(listing: Listing, header: GgufFile) -> ChatTemplate | None:
    """Give the chat template that a model is asked with; ``None`` for a base model."""
    source = listing.options.get("chat_template") or header.chat_template
    if source is None:
        return None
    texts = header.tokenizer.texts if header.tokenizer is not None else {}
    return ChatTemplate(
        source, bos=texts.get("bos", ""), eos=texts.get("eos", ""), name=listing.name
    )


def context_of(listing: Listing, header: GgufFile | None) -> int | None:
    """Give how many tokens a conversation with a model may have; ``None`` where it isn't known."""
    wanted = listing.options.get("context_length")
    if isinstance(wanted, int):
        return wanted
    if header is None:
        return None
    return min(header.context_length or DEFAULT_CONTEXT, DEFAULT_CONTEXT)


def is_base_model(listing: Listing) -> bool:
    """Say whether a model only continues texts: its file has no chat template. It blocks."""
    if listing.kind != "model" or listing.options.get("chat_template"):
        return False
    try:
        header = known_header(listing)
    except BlazenError:
        return False  # what is wrong with the file is said when it is loaded
    return header is not None and header.chat_template is None


def _path_of(listing: Listing) -> Path | None:
    if listing.path is not None:
        found = listing.path
    elif listing.target.startswith("starter:"):
        row = TABLE.get(listing.target.removeprefix("starter:"))
        if row is None or not (row.result or row.files[0].path).endswith(".gguf"):
            return None
        found = starter_path(listing.target)
    else:
        return None
    return found if found.suffix.lower() == ".gguf" or _is_gguf(found) else None


def _is_gguf(path: Path) -> bool:
    from blazen.catalog.gguf import is_gguf

    return path.is_file() and is_gguf(path)
