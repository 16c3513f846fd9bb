"""Fetching one file from a URL: resumed, checked, and in its place only when it is whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from blazen.errors import DownloadError, ValidationError
from blazen.offline import is_offline
from blazen.types.progress import OnProgress
from blazen.weights.cache import arrive, hash_file, read_receipt, write_receipt
from blazen.weights.download.bar import reporting
from blazen.weights.download.transfer import Checksum, Transfer
from blazen.weights.target import Target, public_url


def download(
    url: str,
    destination: str | os.PathLike[str],
    *,
    sha256: str | None = None,
    headers: Mapping[str, str] | None = None,
    on_progress: OnProgress | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    timeout: float = 30,
    offline: bool | None = None,
) -> Path:
    """Fetch a file from a URL into a place of your own, and give that place.

    A file that is there already is left alone, unless ``sha256`` is given and it has another hash.
    What an interrupted call left (``.NAME.partial``) is resumed. The server's certificate is
    checked, and proxies are taken from the environment. ``timeout`` is for one silence of the
    server, not for the whole. ``cancelled`` is asked between blocks.

    Raises `DownloadError`, or `ModelNotFoundError` where the server has no such file.
    """
    if Target.parse(url).source not in ("url", "hub"):
        raise ValidationError(f"{url!r:.120} is no http(s) URL")
    place = Path(os.path.abspath(Path(destination).expanduser()))  # noqa: PTH100 - keeps links
    if place.is_dir():
        raise ValidationError(f"{place} is a folder: name the file to download into")
    checksum = Checksum.sha256(sha256) if sha256 else None
    return fetch(
        url,
        place,
        checksum=checksum,
        headers=headers,
        on_progress=on_progress,
        cancelled=cancelled,
        timeout=timeout,
        offline=offline,
    )


def fetch(
    url: str,
    destination: Path,
    *,
    target: str | None = None,
    size: int | None = None,
    checksum: Checksum | None = None,
    headers: Mapping[str, str] | None = None,
    name: str | None = None,
    locks: Path | None = None,
    on_progress: OnProgress | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    timeout: float = 30,
    offline: bool | None = None,
) -> Path:
    """Fetch a file as `download` does; with ``target`` a receipt is kept beside it."""

    def ready(place: Path) -> bool:
        return place.exists() and (checksum is None or _matches(place, checksum))

    if is_offline(offline):
        if ready(destination):
            return destination
        raise DownloadError(
            f"{public_url(url)} is not on this machine, and blazen is offline "
            "(offline=True, BLAZEN_OFFLINE or HF_HUB_OFFLINE): fetch it once while online"
        )
    with (
        arrive(destination, resume=True, locks=locks, ready=ready, cancelled=cancelled) as partial,
        reporting(on_progress) as report,
    ):
        if partial is not None:
            shown = name or destination.name
            transfer = Transfer(url, partial, size, checksum, shown, report, cancelled)
            transfer.run(dict(headers or {}), timeout)
            if target is not None:
                write_receipt(destination, transfer.receipt(target))
            transfer.origin.unlink(missing_ok=True)
    return destination


def _matches(place: Path, checksum: Checksum) -> bool:
    receipt = read_receipt(place)
    if receipt is not None and checksum.algorithm == "sha256" and "." in receipt.sha256:
        # Hashing gigabytes at each load is what `verify` is for.
        same = receipt.sha256["."] == checksum.expected
        return same and receipt.sizes.get(".") == place.stat().st_size
    found = hash_file(place, algorithm=checksum.algorithm, prefix=checksum.prefix)
    return found == checksum.expected
