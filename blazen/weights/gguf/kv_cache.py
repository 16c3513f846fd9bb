"""How many bytes each layer of a GGUF model keeps of the past: keys and values, or a state.

It follows what llama.cpp allocates. An attention layer keeps keys and values for every token; one
with a sliding window only for the window and one batch; a recurrent layer keeps a state of fixed
size for each sequence.
"""

from __future__ import annotations

from dataclasses import dataclass

from blazen.errors import ValidationError
from blazen.weights.gguf.model import GgufFile
from blazen.weights.gguf.types import BLOCKS

ENCODERS = frozenset(
    {
        "bert",
        "dream",
        "eurobert",
        "gemma-embedding",
        "jina-bert-v2",
        "jina-bert-v3",
        "llada",
        "llada-moe",
        "modern-bert",
        "neo-bert",
        "nomic-bert",
        "nomic-bert-moe",
        "rnd1",
        "wavtokenizer-dec",
    }
)
"""What reads its whole input at once and so keeps nothing."""
_RECURRENT = frozenset({"arwkv7", "mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7"})
_INTERVALS = frozenset({"minimax-01", "qwen35", "qwen35moe", "qwen3next"})
# Each n-th layer sees everything, the others a window. A sign says which of the n it is: the last
# (plus) or the first (minus). The files of these architectures need not say it themselves.
_WINDOW_PERIODS = {
    "afmoe": 4,
    "cohere2": 4,
    "cohere2moe": -4,
    "exaone-moe": 4,
    "exaone4": 4,
    "gemma2": 2,
    "gemma3": 6,
    "gemma3n": 5,
    "gpt-oss": 2,
    "laguna": -4,
    "llama4": 4,
    "mellum": 4,
    "olmo2": 4,
    "plamo3": 8,
    "smallthinker": -4,
}
_WINDOWS = {"gemma2": 4096, "llama4": 8192, "exaone-moe": 128, "smallthinker": 4096}
_WINDOW_OFF = frozenset({"phi3"})  # has the key, but llama.cpp keeps everything
_MAX_LAYERS = 1024
_PAD = 256


@dataclass(frozen=True)
class CacheShape:
    """What decides on the size of the cache, beside the model."""

    context: int
    """Tokens in all, shared by the sequences."""
    sequences: int
    batch: int
    types: tuple[str, str]
    """Of keys and of values."""
    swa_full: bool
    flash_attention: bool
    unified: bool = False
    """Whether the sequences share one pool, instead of each having a part of its own."""

    @property
    def pools(self) -> int:
        """How many parts there are."""
        return 1 if self.unified else self.sequences

    def cells(self, window: int | None) -> int:
        """Count the tokens that a layer keeps in one part."""
        each = pad(pad(self.context) // self.pools)
        if window is not None and not self.swa_full:
            each = min(each, pad(window * self.sequences // self.pools + self.batch))
        return each

    def seen(self, gguf: GgufFile) -> list[int]:
        """Count the tokens that can be seen, once for each kind of attention layer."""
        if gguf.architecture in ENCODERS:
            return [self.batch]
        windows = _windows(gguf)
        with_keys = _layers_with_keys(gguf, _recurrent_layers(gguf))
        return [self.cells(window) for window in {windows[i] for i in with_keys}]


def layer_count(gguf: GgufFile) -> int:
    """Count the layers; 0 for a file that is no language model."""
    count = gguf.block_count or 0
    if count > _MAX_LAYERS:
        raise ValidationError(f"{gguf.path} claims {count:,} layers, more than any model has")
    return count


def layer_caches(gguf: GgufFile, shape: CacheShape) -> list[int]:
    """Give the bytes that each layer keeps."""
    layers = range(layer_count(gguf))
    if gguf.architecture in ENCODERS:
        return [0 for _ in layers]
    recurrent = _recurrent_layers(gguf)
    windows = _windows(gguf)
    rows = _rows(gguf, windows)
    widest_value = max((value for _, value in rows), default=0)
    with_keys = _layers_with_keys(gguf, recurrent)
    state = _state(gguf) * shape.sequences
    out = []
    for i in layers:
        keys, values = rows[i] if i in with_keys else (0, 0)
        if values and not shape.flash_attention:
            values = widest_value  # without flash attention llama.cpp makes all layers alike
        cells = shape.cells(windows[i]) * shape.pools
        kept = row_bytes(shape.types[0], keys * cells) + row_bytes(shape.types[1], values * cells)
        out.append(kept + (state if i in recurrent else 0))
    return out


def each_layer(gguf: GgufFile, key: str, default: int) -> list[int]:
    """Give a number of the architecture for every layer, though the file may hold one for all."""
    value = gguf.per_layer(key)
    count = layer_count(gguf)
    if value is None:
        return [default] * count
    if isinstance(value, int):
        return [value] * count
    if len(value) < count or min(value) < 0:
        raise ValidationError(
            f"{gguf.path}: {gguf.architecture}.{key} must hold {count} whole numbers, "
            f"not {value!r:.80}"
        )
    return list(value[:count])


def row_bytes(dtype: str, elements: int) -> int:
    """Give the bytes of so many elements in whole blocks."""
    block, width = BLOCKS[dtype.upper()]
    return -(-elements // block) * width


def pad(tokens: int) -> int:
    """Round up as llama.cpp does for what it counts in tokens."""
    return -(-tokens // _PAD) * _PAD


def _rows(gguf: GgufFile, windows: list[int | None]) -> list[tuple[int, int]]:
    """Count the elements that one token takes in the keys and in the values of each layer."""
    width = gguf.embedding_length or 0
    heads = each_layer(gguf, "attention.head_count", 0)
    kv_heads = each_layer(gguf, "attention.head_count_kv", max(heads, default=0))
    latent = gguf.whole("attention.key_length_mla") and gguf.whole("attention.value_length_mla")
    key, value = (gguf.whole(f"attention.{name}_length") for name in ("key", "value"))
    near = [gguf.whole(f"attention.{name}_length_swa") for name in ("key", "value")]
    rows = []
    for count, kv_count, window in zip(heads, kv_heads, windows, strict=True):
        usual = width // count if count else 0
        keys, values = usual if key is None else key, usual if value is None else value
        if window is not None:
            keys, values = near[0] or keys, near[1] or values
        # With latent attention the values are a part of the keys.
        rows.append((keys * kv_count, 0 if latent else values * kv_count))
    return rows


def _layers_with_keys(gguf: GgufFile, recurrent: set[int]) -> set[int]:
    count = layer_count(gguf)
    layers = set(range(count))
    if gguf.architecture == "falcon-h1":  # attention and state side by side in every layer
        return layers
    shared = gguf.whole("attention.shared_kv_layers")
    if shared is not None:
        layers = set(range(max(count - shared, 0)))
    elif gguf.architecture == "gemma3n":
        layers = set(range(min(count, 20)))
    return layers - recurrent


def _windows(gguf: GgufFile) -> list[int | None]:
    """Give the window of each layer, None for one that sees everything."""
    count = layer_count(gguf)
    name = gguf.architecture or ""
    window = gguf.whole("attention.sliding_window")
    pattern = gguf.metadata.get(f"{name}.attention.sliding_window_pattern")
    if window is None:
        window = _WINDOWS.get(name)
    if not window or name in _WINDOW_OFF:
        return [None] * count
    if name == "llama4":
        window = _WINDOWS[name]  # the file gives the length of a chunk in another key
    if isinstance(pattern, tuple) and len(pattern) >= count:
        return [window if windowed else None for windowed in pattern[:count]]
    period = _WINDOW_PERIODS.get(name, 0)
    if type(pattern) is int and pattern >= 0:
        period = -pattern if period < 0 else pattern
    elif not period:
        return [None] * count  # an engine that does not know the pattern keeps everything
    full = 0 if period < 0 else abs(period) - 1
    return [window if not period or i % abs(period) != full else None for i in range(count)]


def _recurrent_layers(gguf: GgufFile) -> set[int]:
    count = layer_count(gguf)
    name = gguf.architecture
    if not _state(gguf):
        return set()
    if name in _RECURRENT or name == "falcon-h1":
        return set(range(count))
    listed = gguf.metadata.get(f"{name}.attention.recurrent_layers")
    if isinstance(listed, tuple) and len(listed) >= count:
        return {i for i in range(count) if listed[i]}
    interval = gguf.whole("full_attention_interval")
    if interval is not None or name in _INTERVALS:
        return {i for i in range(count) if (i + 1) % (interval or 4)}
    heads = each_layer(gguf, "attention.head_count_kv", 1)
    if name in ("nemotron_h", "nemotron_h_moe"):
        wide = each_layer(gguf, "feed_forward_length", 0)
        return {i for i in range(count) if not heads[i] and not wide[i]}
    return {i for i in range(count) if not heads[i]}


def _state(gguf: GgufFile) -> int:
    """Give the bytes of one layer's state for one sequence; 0 if the model keeps none."""
    width = gguf.embedding_length or 0
    heads = max(each_layer(gguf, "attention.head_count", 0), default=0)
    kernel = max((gguf.whole("ssm.conv_kernel") or 0) - 1, 0)
    wkv, short = gguf.whole("wkv.head_size"), gguf.whole("shortconv.l_cache")
    kda = gguf.whole("kda.head_dim")
    if wkv:
        elements = width * ((gguf.whole("token_shift_count") or 2) + wkv)
    elif short:
        elements = width * (short - 1)
    elif kda:
        elements = 3 * (kernel or 3) * heads * kda + kda * kda * heads
    else:
        inner, size = gguf.whole("ssm.inner_size") or 0, gguf.whole("ssm.state_size") or 0
        groups = gguf.whole("ssm.group_count") or 0
        elements = kernel * (inner + 2 * groups * size) + inner * size
    return elements * 4
