"""One repository of the hub: what its client is asked, and what its errors mean."""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from blazen.errors import DownloadError, ModelNotFoundError, ValidationError
from blazen.extras import need
from blazen.types.progress import OnProgress, Progress
from blazen.weights.cache import lock
from blazen.weights.download import fetch, web
from blazen.weights.download.transfer import Checksum, check_space
from blazen.weights.hub import snapshots
from blazen.weights.hub.snapshots import HubFile, Listing
from blazen.weights.target import check_hub_file

T = TypeVar("T")
_ATTEMPTS = 3
_PLAIN = re.compile(r"[0-9A-Za-z_-][0-9A-Za-z._-]*")


@dataclass
class Remote:
    """One repository, asked over the network; made for one call."""

    repo: str
    root: Path
    token: str | None
    endpoint: str | None
    timeout: float
    cancelled: Callable[[], bool]

    def __post_init__(self) -> None:
        self.client = need(
            "huggingface_hub", extra="hub", what=f"fetching {self.repo} from the hub"
        )
        from huggingface_hub import constants

        # Its telemetry asks the network what program runs it. Its warning is about our choice.
        constants.HF_HUB_DISABLE_TELEMETRY = True
        constants.HF_HUB_DISABLE_SYMLINKS_WARNING = True
        self.largest = constants.MAX_HTTP_DOWNLOAD_SIZE
        self.folder = snapshots.repo_folder(self.root, self.repo)

    def look_up(self, filename: str, revision: str | None) -> tuple[str, HubFile]:
        """Ask for the commit, size and hash of one file."""
        url = self._url(filename, revision)
        meta = self._ask(
            lambda: self.client.get_hf_file_metadata(
                url, token=self.token, timeout=self.timeout, library_name="blazen"
            ),
            filename,
            revision,
        )
        if not meta.commit_hash or not meta.etag:
            raise DownloadError(
                f"what answers for {self.repo} is no hub (no commit, no hash): check HF_ENDPOINT "
                "and the proxy settings"
            )
        return meta.commit_hash, HubFile(filename, meta.size, meta.etag)

    def list_all(self, revision: str | None) -> tuple[str, list[HubFile]]:
        """Ask for the commit of a revision, and for all its files; both are noted."""
        api = self.client.HfApi(endpoint=self.endpoint, token=self.token, library_name="blazen")

        def ask() -> tuple[str, list[HubFile]]:
            commit = api.model_info(self.repo, revision=revision, timeout=self.timeout).sha
            tree = api.list_repo_tree(self.repo, recursive=True, revision=commit)
            found = [entry for entry in tree if isinstance(entry, self.client.hf_api.RepoFile)]
            files = [HubFile(f.path, f.size, f.lfs.sha256 if f.lfs else f.blob_id) for f in found]
            return commit, files

        commit, files = self._ask(ask, None, revision)
        for file in files:
            check_hub_file(file.name)
        snapshots.keep_listing(self.folder, commit, Listing(True, tuple(files)))
        return commit, files

    def read_start(
        self, filename: str, revision: str | None, read: Callable[[Callable[[int], bytes]], T]
    ) -> T:
        """Give what ``read`` makes of the first bytes of a file; the rest is not fetched."""

        def ask() -> T:
            with web.opened(url, self._account(), self.timeout) as response:
                done = 0

                def more(count: int) -> bytes:
                    nonlocal done
                    self._check_cancelled()
                    block = web.read(response, count)
                    done += len(block)
                    if not block and done < (total or 0):
                        raise web.Transient(f"arrived truncated: {done} of {total} bytes")
                    return block

                total = web.length(response)
                return read(more)

        url = self._url(filename, revision)
        return self._ask(ask, filename, revision)

    def bring_all(self, files: list[HubFile], commit: str, report: OnProgress) -> None:
        """Fetch files one after the other, and report on all of them together."""
        total = sum(file.size or 0 for file in files)
        absent = [f for f in files if not self._pointer(commit, f.name).is_file()]
        self.folder.mkdir(parents=True, exist_ok=True)
        check_space(self.folder, sum(self._left(file) for file in absent), self.repo)
        if absent:  # listing is open to everybody: only a file's own answer tells what is gated
            self.look_up(absent[0].name, commit)
        before = total - sum(file.size or 0 for file in absent)
        for file in absent:

            def add(progress: Progress, before: int = before) -> None:
                report(Progress("download", before + progress.done, total, detail=self.repo))

            self.bring(file, commit, add)
            before += file.size or 0
        report(Progress("download", total, total, detail=self.repo))

    def bring(self, file: HubFile, commit: str, report: OnProgress) -> Path:
        """Fetch one file of a commit, and give its path in the snapshot."""
        # Both become names of files here, and both are the server's words.
        if not _PLAIN.fullmatch(file.hash) or not _PLAIN.fullmatch(commit):
            raise DownloadError(f"the hub gave {self.repo}/{file.name} no usable hash or commit")
        blob = self.folder / "blobs" / file.hash
        if (file.size or 0) <= self.largest:
            fetch(
                self._url(file.name, commit),
                blob,
                size=file.size,
                checksum=_checksum(file),
                headers=self._account(),
                name=file.name,
                locks=self.root / ".locks",
                on_progress=report,
                cancelled=self.cancelled,
                timeout=self.timeout,
                offline=False,
            )
            path = self._link(file, commit, None)
        else:  # the hub gives files of this size to its own client only
            with lock(blob, locks=self.root / ".locks", cancelled=self.cancelled):
                for stale in blob.parent.glob(f"{file.hash}*.incomplete"):
                    stale.unlink()
                blob.parent.mkdir(parents=True, exist_ok=True)
                check_space(blob.parent, file.size or 0, file.name)
                path = self._link(
                    file,
                    commit,
                    _progress_class(self.client.utils.tqdm, file, report, self.cancelled),
                )
        if not path.is_symlink():  # this system has no links, and the client made a copy
            blob.unlink(missing_ok=True)
        snapshots.keep_listing(self.folder, commit, Listing(False, (file,)))
        return path

    def _link(self, file: HubFile, commit: str, progress: Any) -> Path:
        import inspect

        # Version 1.0 of the client has no such hook: there a file of this size comes unreported.
        hooked = "tqdm_class" in inspect.signature(self.client.hf_hub_download).parameters
        hook = {"tqdm_class": progress} if progress is not None and hooked else {}
        given = self._ask(
            lambda: self.client.hf_hub_download(
                self.repo,
                file.name,
                revision=commit,
                cache_dir=self.root / "hub",
                endpoint=self.endpoint,
                token=self.token,
                etag_timeout=self.timeout,
                library_name="blazen",
                **hook,
            ),
            file.name,
            commit,
        )
        return Path(given)

    def _ask(
        self, call: Callable[[], T], file: str | None, revision: str | None, attempt: int = 1
    ) -> T:
        try:
            with _translated(self.repo, file, revision):
                return call()
        except web.Transient as error:
            if attempt == _ATTEMPTS:
                raise DownloadError(
                    f"the hub can't be reached for {self.repo}: {error} (tried {attempt} times); "
                    "what is cached still works"
                ) from error
            web.pause(attempt, error.retry_after, self._check_cancelled)
        return self._ask(call, file, revision, attempt + 1)

    def _check_cancelled(self) -> None:
        if self.cancelled():
            raise DownloadError(f"the download of {self.repo} was cancelled")

    def _url(self, filename: str, revision: str | None) -> str:
        with _translated(self.repo, filename, revision):
            url = self.client.hf_hub_url(
                self.repo, filename, revision=revision, endpoint=self.endpoint
            )
        return str(url)

    def _account(self) -> dict[str, str]:
        headers = self.client.utils.build_hf_headers(token=self.token, library_name="blazen")
        return {key: value for key, value in headers.items() if key.lower() == "authorization"}

    def _pointer(self, commit: str, name: str) -> Path:
        return self.folder / "snapshots" / commit / name

    def _left(self, file: HubFile) -> int:
        return 0 if (self.folder / "blobs" / file.hash).exists() else file.size or 0


def _http_library() -> Any:
    """Give what the client talks through, whose errors it lets out as they are."""
    import huggingface_hub

    # The second major version of the client moved to the second of its library, of another name.
    second = int(huggingface_hub.__version__.partition(".")[0]) >= 2
    return importlib.import_module("httpx2" if second else "httpx")


@contextlib.contextmanager
def _translated(repo: str, file: str | None, revision: str | None) -> Iterator[None]:
    """Turn what the client raises into what blazen raises."""
    from huggingface_hub import errors

    http = _http_library()

    what = f"{file} of {repo}" if file else repo
    try:
        yield
    except errors.GatedRepoError as error:
        raise DownloadError(
            f"{repo} is gated: accept its conditions on its page, then give your token (HF_TOKEN, "
            "or 'hf auth login')"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ModelNotFoundError(f"{repo} has no revision {revision or 'main'!r}") from error
    except errors.LocalEntryNotFoundError as error:
        raise DownloadError(
            f"the hub can't be reached for {what} ({error.__cause__ or error}); what is cached "
            "still works"
        ) from error
    except errors.EntryNotFoundError as error:
        raise ModelNotFoundError(
            f"{repo} has no file {file!r} (revision {revision or 'main'!r}): check the name"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelNotFoundError(
            f"the hub has no repository {repo!r}, or it is private: check the id; if it is private "
            "give a token that may read it (HF_TOKEN, or 'hf auth login')"
        ) from error
    except errors.HFValidationError as error:
        raise ValidationError(f"{what} can't be on the hub: {error}") from error
    except errors.OfflineModeIsEnabled as error:
        raise DownloadError(
            f"{what} is not on this machine, and HF_HUB_OFFLINE keeps the hub client offline"
        ) from error
    except errors.HfHubHTTPError as error:
        refusal = web.refusal(
            f"{what} on the hub", error.response.status_code, error.response.headers
        )
        raise refusal from error
    except http.ConnectError as error:
        raise DownloadError(
            f"no network to the hub for {what} ({error}): check the connection and the proxy "
            "settings, or work offline with what is cached (BLAZEN_OFFLINE=1)"
        ) from error
    except http.TransportError as error:
        raise web.Transient(f"the connection failed ({type(error).__name__}: {error})") from error
    except OSError as error:
        raise DownloadError(f"{what} can't be fetched or kept: {error}") from error


def _progress_class(
    bar: Any, file: HubFile, report: OnProgress, cancelled: Callable[[], bool]
) -> type[Any]:
    class Reported(bar):  # type: ignore[misc]  # the client's class comes without types
        """Tells our callback what the client tells its bar, and draws nothing."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})

        def update(self, n: float | None = 1) -> None:
            if cancelled():
                raise DownloadError(f"the download of {file.name} was cancelled")
            self.n += int(n or 0)
            report(Progress("download", self.n, file.size, detail=file.name))

    return Reported


def _checksum(file: HubFile) -> Checksum | None:
    if re.fullmatch("[0-9a-f]{64}", file.hash):
        return Checksum("sha256", file.hash)
    if re.fullmatch("[0-9a-f]{40}", file.hash) and file.size is not None:
        return Checksum.git(file.hash, file.size)
    return None
