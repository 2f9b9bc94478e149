"""Downloads files of a Hugging Face repository, or of a plain address: resumable, and checked; below `models`.

The hub is the one that `HF_ENDPOINT` names; with `HF_HUB_OFFLINE` only files in Hugging Face's cache are found.
`huggingface_hub` reads both, and the token for private repositories. Its own `hf_hub_download` is not used because it
deletes what has arrived when a download breaks off, and a model is one file of several gigabytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import Final

import httpx2
from huggingface_hub import (
    HfApi,
    constants,
    errors,
    get_session,
    get_token,
    hf_hub_url,
    hf_raise_for_status,
    try_to_load_from_cache,
)

from streamer.errors import StoreError

REPOSITORY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
"""`owner/name`, as the hub allows it."""
SPARE_BYTES: Final = 64 << 20
"""Free space to leave on a disk beside what is written to it."""
_REASONS: Final[Mapping[type[Exception], str]] = {
    errors.OfflineModeIsEnabled: "HF_HUB_OFFLINE forbids the network",
    errors.GatedRepoError: "its owner must grant you access: ask for it on {hub}, and set HF_TOKEN",
    errors.RepositoryNotFoundError: "{hub} has no such repository, or your HF_TOKEN gives no access to it",
    errors.RevisionNotFoundError: "there is no such revision",
    errors.HFValidationError: "{error}",
    errors.HfHubHTTPError: "{error}; try again later",
    httpx2.HTTPError: "the network cannot be reached ({error}). What has arrived is kept: run this again, or copy the "
    "files here and use their directory",
    httpx2.InvalidURL: "{error}; check HF_ENDPOINT",
    OSError: "{error}; run this again",
}
"""What to say about an error: the first entry that it is an instance of counts."""
_NO_SUCH_RANGE: Final = (HTTPStatus.OK, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
"""The statuses with which a server ignores a range, or has fewer bytes."""
Progress = Callable[[int], None]
"""Called with the number of bytes that have been added."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as the hub describes it: large ones have a `sha256`, all others a `git_blob` (git's SHA-1)."""

    size_bytes: int
    sha256: str | None = None
    git_blob: str | None = None


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository at one commit. The keys of `files` are paths in it."""

    name: str
    commit: str
    licence: str | None
    files: Mapping[str, RemoteFile]

    def size_bytes(self, names: Iterable[str]) -> int:
        return sum(self.files[name].size_bytes for name in names)


def look_up(name: str, *, revision: str | None = None) -> Repository:
    """Return the files of repository `name` at `revision` (a branch, tag or commit; None: the main branch).

    Raises `StoreError` if there is no such repository or revision, or the hub cannot be reached.
    """
    if not REPOSITORY.fullmatch(name):
        raise StoreError(
            f"{name[:200]!r} is not the name of a repository: give owner/name, such as suno/bark"
        )
    if constants.is_offline_mode():
        return _look_up_in_cache(name, revision)
    with _one_line_errors(f"{name} cannot be looked up"):
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
    """Download the files `names` of `repository` into `destination`, and return the SHA-256 of each.

    Whole files that are there already are kept, and the download of a partial file continues. Files in Hugging Face's
    cache are copied. Raises `StoreError` if the network fails (another run continues) or a checksum is wrong.
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
            _download(url, path, remote.size_bytes, get_token(), on_progress)
        digests[name] = _checked(path, remote, f"{name} of {repository.name}")
    return digests


def fetch_address(url: str, path: Path, *, sha256_prefix: str, on_progress: Progress = lambda _: None) -> str:
    """Download `url` to `path`, and return its SHA-256, which must begin with `sha256_prefix`.

    Raises `StoreError` if the network fails (another run continues) or another file arrives.
    """
    if path.is_file():
        on_progress(path.stat().st_size)
    elif constants.is_offline_mode():
        raise StoreError(f"{url} is needed, but HF_HUB_OFFLINE forbids the network: put it at {path}")
    else:
        _download(url, path, None, None, on_progress)
    digest = sha256(path)
    if not digest.startswith(sha256_prefix):
        path.unlink()
        raise StoreError(f"{url} is not the expected file: its SHA-256 is {digest}; try again")
    return digest


def check_space(directory: Path, needed_bytes: int) -> None:
    """Raise `StoreError` if the disk of `directory`, which need not exist yet, has too little space."""
    existing = next(parent for parent in (directory, *directory.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if needed_bytes + SPARE_BYTES > free:
        raise StoreError(
            f"{directory}: {megabytes(needed_bytes)} are needed there, but {megabytes(free)} are free: "
            "free some space, or choose another directory"
        )


def megabytes(size_bytes: float) -> str:
    """Return a size as people read it, such as `1,234 MB`."""
    return f"{size_bytes / 1e6:,.0f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e6:.1f} MB"


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(url: str, path: Path, size_bytes: int | None, token: str | None, on_progress: Progress) -> None:
    """Download to a neighbour of `path`, from where an earlier run broke off, and rename it once it is whole."""
    incomplete = path.with_name(path.name + ".incomplete")
    headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {token}"} if token else {})
    timeout_s = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with _one_line_errors(f"{path.name} was not downloaded"), incomplete.open("ab") as file:
        on_progress(file.tell())
        while size_bytes is None or file.tell() < size_bytes:
            begin = file.tell()
            wanted = headers | ({"Range": f"bytes={begin}-"} if begin else {})
            try:
                with get_session().stream("GET", url, headers=wanted, timeout=timeout_s) as response:
                    if begin and response.status_code in _NO_SUCH_RANGE:  # start over
                        on_progress(-begin)
                        file.truncate(0)
                        file.seek(0)
                    hf_raise_for_status(response)
                    for chunk in response.iter_bytes():
                        file.write(chunk)
                        on_progress(len(chunk))
                break
            except httpx2.TransportError:
                if file.tell() <= begin:
                    raise
    incomplete.rename(path)


def _checked(path: Path, remote: RemoteFile, what: str) -> str:
    """Return the SHA-256 of the file. Deletes it and raises `StoreError` if its checksum is not the hub's."""
    digest = sha256(path)
    expected, found = (
        (remote.sha256, digest) if remote.sha256 else (remote.git_blob, remote.git_blob and _git_blob(path))
    )
    if expected not in (None, found):
        path.unlink()
        raise StoreError(f"{what} is damaged: its checksum is {found}, not {expected}; run this again")
    return digest


def _git_blob(path: Path) -> str:
    content = path.read_bytes()  # some megabytes at most: the hub has a SHA-256 of larger files
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def is_inside(name: str) -> bool:
    """Return whether a path that a repository names stays inside the directory that it is put in."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\\" not in name


def _in_cache(repository: str, name: str, revision: str) -> Path | None:
    """Find a file in Hugging Face's cache, which other programs fill too."""
    found = try_to_load_from_cache(repository, name, revision=revision)
    return Path(found) if isinstance(found, str) else None


def _look_up_in_cache(name: str, revision: str | None) -> Repository:
    config = _in_cache(name, "config.json", revision or constants.DEFAULT_REVISION)
    if config is None:
        raise StoreError(
            f"{name} cannot be looked up: HF_HUB_OFFLINE forbids the network, and it is not in Hugging Face's "
            "cache; copy its files here and use their directory"
        )
    snapshot = config.parent
    files = {
        path.relative_to(snapshot).as_posix(): RemoteFile(path.stat().st_size)
        for path in sorted(snapshot.rglob("*"))
        if path.is_file()
    }
    return Repository(name, snapshot.name, None, files)


@contextlib.contextmanager
def _one_line_errors(what: str) -> Iterator[None]:
    """Turn each error on the way to a hub into a `StoreError` of one line that names the remedy."""
    try:
        yield
    except tuple(_REASONS) as error:
        reason = next(text for kind, text in _REASONS.items() if isinstance(error, kind))
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise StoreError(f"{what}: {reason.format(error=first_line, hub=constants.ENDPOINT)}") from error
