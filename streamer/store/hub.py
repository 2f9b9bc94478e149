"""Brings files of a Hugging Face repository, or of a plain address, into a directory: resumed, and checked.

The hub is `HF_ENDPOINT`'s; with `HF_HUB_OFFLINE` only what Hugging Face's cache holds is found. Both, and the token for
private repositories, are read by `huggingface_hub`.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import httpx2
from huggingface_hub import HfApi, constants, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

from streamer.errors import StoreError

REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
"""`owner/name`, as the hub allows it."""
_BLOCK_BYTES = 1 << 20
_SPARE_BYTES = 64 << 20
"""Room left beside what is written, so that a disk is never filled to its last byte."""
Progress = Callable[[int], None]
"""Is told how many more bytes are there."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as the hub describes it; `sha256` of large files, `git_blob` (git's SHA-1) of all others."""

    size_bytes: int
    sha256: str | None = None
    git_blob: str | None = None


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository at one commit; `files` by their paths in it."""

    name: str
    commit: str
    licence: str | None
    files: Mapping[str, RemoteFile]

    def size_bytes(self, names: Iterable[str]) -> int:
        return sum(self.files[name].size_bytes for name in names)


def look_up(name: str, *, revision: str | None = None) -> Repository:
    """The files of repository `name` at `revision` (a branch, tag or commit; None: the main branch).

    Raises `StoreError` where there is no such repository or revision, or no way to the hub.
    """
    if not REPOSITORY.fullmatch(name):
        raise StoreError(f"{name[:200]!r} is no repository's name: owner/name, as suno/bark")
    if constants.is_offline_mode():
        return _look_up_in_cache(name, revision)
    with _clear_errors(f"{name} cannot be looked up"):
        api = HfApi(endpoint=constants.ENDPOINT)
        found = api.model_info(
            name, revision=revision, files_metadata=True, timeout=constants.HF_HUB_ETAG_TIMEOUT
        )
    files = {
        sibling.rfilename: RemoteFile(
            sibling.size or 0, sibling.lfs.sha256 if sibling.lfs else None, sibling.blob_id
        )
        for sibling in found.siblings or ()
    }
    licence = found.card_data.get("license") if found.card_data else None
    return Repository(name, found.sha or "", licence if isinstance(licence, str) else None, files)


def fetch(
    repository: Repository,
    names: Iterable[str],
    destination: Path,
    *,
    on_progress: Progress = lambda _: None,
) -> dict[str, str]:
    """Bring the files `names` of `repository` below `destination`; returns the SHA-256 of each.

    What lies there already is kept if it is whole, and gone on with if it is half. Files in Hugging Face's cache are
    copied. Raises `StoreError` where the network fails (run again, it goes on) or a file is not what the hub said.
    """
    digests = {}
    for name in names:
        if name not in repository.files:
            raise StoreError(f"{repository.name} has no file {name!r}")
        if not is_inside(name):
            raise StoreError(f"{repository.name}: {name!r} leads out of the directory")
        remote, path = repository.files[name], destination / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            on_progress(remote.size_bytes)
        elif cached := _in_cache(repository.name, name, repository.commit):
            shutil.copyfile(cached, path)
            on_progress(remote.size_bytes)
        else:
            url = hf_hub_url(repository.name, name, revision=repository.commit, endpoint=constants.ENDPOINT)
            _download(url, path, build_hf_headers(), remote.size_bytes or None, on_progress)
        digests[name] = _checked(path, remote, f"{name} of {repository.name}")
    return digests


def fetch_address(url: str, path: Path, *, sha256_prefix: str, on_progress: Progress = lambda _: None) -> str:
    """Bring what lies at `url` to `path`; returns its SHA-256, which must begin with `sha256_prefix`."""
    if path.is_file():
        on_progress(path.stat().st_size)
    elif constants.is_offline_mode():
        raise StoreError(f"{url} is needed, but HF_HUB_OFFLINE forbids the network: put it at {path}")
    else:
        _download(url, path, {}, None, on_progress)
    digest = sha256(path)
    if not digest.startswith(sha256_prefix):
        path.unlink()
        raise StoreError(f"{url} brought another file than expected: its SHA-256 is {digest}; try again")
    return digest


def check_space(directory: Path, needed_bytes: int) -> None:
    """Raise `StoreError` where the disk of `directory`, which need not exist yet, lacks room."""
    existing = next(parent for parent in (directory, *directory.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if needed_bytes + _SPARE_BYTES > free:
        raise StoreError(
            f"{directory}: {megabytes(needed_bytes)} are needed there, but {megabytes(free)} are free: "
            "make room, or choose another place"
        )


def megabytes(size_bytes: float) -> str:
    """`1,234 MB`, as people read sizes."""
    return f"{size_bytes / 1e6:,.0f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e6:.1f} MB"


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(
    url: str, path: Path, headers: dict[str, str], size_bytes: int | None, on_progress: Progress
) -> None:
    """Download to a neighbour of `path`, going on with what an earlier run left there, and rename."""
    half = path.with_name(path.name + ".incomplete")
    with _clear_errors(f"{path.name} was not fetched"), half.open("ab") as file:
        if size_bytes is not None and file.tell() > size_bytes:
            file.truncate(0)
        http_get(
            url,
            file,
            resume_size=file.tell(),
            headers=headers,
            expected_size=size_bytes,
            displayed_filename=path.name,
            tqdm_class=_bar(on_progress),
        )
    half.rename(path)


def _bar(on_progress: Progress) -> Any:
    """`huggingface_hub` reports to something that looks like tqdm's class."""

    class Bar(contextlib.AbstractContextManager["Bar"]):
        def __init__(self, *_arguments: object, initial: int = 0, **_options: object) -> None:
            on_progress(initial)

        def update(self, num_bytes: int) -> None:
            on_progress(num_bytes)

        def __exit__(self, *_error: object) -> None:
            pass

    return Bar


def _checked(path: Path, remote: RemoteFile, what: str) -> str:
    """The SHA-256 of the file; removed and `StoreError` where it is not the one that the hub described."""
    digest = sha256(path)
    expected, found = remote.sha256, digest
    if expected is None and remote.git_blob is not None:
        expected, found = remote.git_blob, _git_blob(path)
    if expected is not None and found != expected:
        path.unlink()
        raise StoreError(f"{what} is damaged: its checksum is {found}, not {expected}; run this again")
    return digest


def _git_blob(path: Path) -> str:
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def is_inside(name: str) -> bool:
    """Whether a path that a repository gives stays below the directory it is put in."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\\" not in name


def _in_cache(repository: str, name: str, revision: str) -> Path | None:
    """A file of Hugging Face's cache, which other programs fill too."""
    found = try_to_load_from_cache(repository, name, revision=revision)
    return Path(found) if isinstance(found, str) else None


def _look_up_in_cache(name: str, revision: str | None) -> Repository:
    config = _in_cache(name, "config.json", revision or constants.DEFAULT_REVISION)
    if config is None:
        raise StoreError(
            f"{name} cannot be looked up: HF_HUB_OFFLINE forbids the network, and Hugging Face's cache does not "
            "hold it; bring its files here and use their directory"
        )
    snapshot = config.parent
    files = {
        path.relative_to(snapshot).as_posix(): RemoteFile(path.stat().st_size)
        for path in sorted(snapshot.rglob("*"))
        if path.is_file()
    }
    return Repository(name, snapshot.name, None, files)


@contextlib.contextmanager
def _clear_errors(what: str) -> Iterator[None]:
    """Turn whatever goes wrong on the way to a hub into one line."""
    hub = constants.ENDPOINT
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise StoreError(f"{what}: HF_HUB_OFFLINE forbids the network") from error
    except GatedRepoError as error:
        raise StoreError(f"{what}: its owner must let you in; ask on {hub}, and set HF_TOKEN") from error
    except RepositoryNotFoundError as error:
        raise StoreError(f"{what}: {hub} has no such repository, or HF_TOKEN may not see it") from error
    except RevisionNotFoundError as error:
        raise StoreError(f"{what}: there is no such revision") from error
    except HFValidationError as error:
        raise StoreError(f"{what}: {_first_line(error)}") from error
    except HfHubHTTPError as error:
        raise StoreError(f"{what}: {hub} answered {error.response.status_code}; try again later") from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise StoreError(
            f"{what}: no way to the network ({_first_line(error)}). What has arrived is kept; run this again, "
            "or bring the files here and use their directory"
        ) from error
    except OSError as error:
        raise StoreError(f"{what}: {_first_line(error)}; run this again") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
