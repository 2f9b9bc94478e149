"""Fetching: what a repository holds at a commit arrives whole, is gone on with after a break, and is checked."""

from __future__ import annotations

import hashlib
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from huggingface_hub import constants

from streamer.errors import StoreError
from streamer.store.hub import check_space, fetch, fetch_address, look_up
from tests.fakes.hub import LARGE_BYTES, FakeHub, use_hub

SMALL, LARGE = b'{"a": 1}', bytes(range(256)) * (LARGE_BYTES // 100)
FILES = {"config.json": SMALL, "weights/model.bin": LARGE}


def test_a_repository_is_looked_up_with_its_commit_sizes_and_licence(hub: FakeHub) -> None:
    """Branches and commits lead to the files they held."""
    first = hub.add("suno/bark", FILES)
    second = hub.add("suno/bark", {"config.json": b"{}"}, revision="next")
    found = look_up("suno/bark")
    assert (found.commit, found.licence) == (first, "mit")
    assert found.size_bytes(FILES) == len(SMALL) + len(LARGE)
    assert look_up("suno/bark", revision="next").commit == second
    assert set(look_up("suno/bark", revision=first).files) == set(FILES)


def test_files_arrive_with_their_checksums_and_progress(hub: FakeHub, tmp_path: Path) -> None:
    """Each below the directory, at its own path; every byte is reported."""
    hub.add("suno/bark", FILES)
    progress: list[int] = []
    digests = fetch(look_up("suno/bark"), FILES, tmp_path / "a", on_progress=progress.append)
    for name, content in FILES.items():
        assert (tmp_path / "a" / name).read_bytes() == content
        assert digests[name] == hashlib.sha256(content).hexdigest()
    assert sum(progress) == len(SMALL) + len(LARGE)


def test_a_broken_download_goes_on_where_it_broke(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What arrived is kept under another name; the next run asks for the rest only."""
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)  # what is written at a time
    hub.add("suno/bark", FILES)
    hub.cut_after = 5000
    repository = look_up("suno/bark")
    with pytest.raises(StoreError, match=r"model\.bin was not fetched.*503"):
        fetch(repository, FILES, tmp_path)
    assert not (tmp_path / "weights/model.bin").exists()
    hub.cut_after, hub.is_down, hub.requests = None, False, []
    progress: list[int] = []
    fetch(repository, FILES, tmp_path, on_progress=progress.append)
    assert (tmp_path / "weights/model.bin").read_bytes() == LARGE
    assert [asked for _, asked in hub.requests] == ["bytes=5000-"]
    assert sum(progress) == len(SMALL) + len(LARGE)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_what_the_hub_said_is_thrown_away(hub: FakeHub, tmp_path: Path, name: str) -> None:
    """Large files are held against their SHA-256, small ones against git's checksum."""
    hub.add("suno/bark", FILES)
    hub.spoils = name
    with pytest.raises(StoreError, match=r"is damaged: its checksum is .* run this again"):
        fetch(look_up("suno/bark"), [name], tmp_path)
    assert not (tmp_path / name).exists()


def test_what_is_there_is_not_fetched_again(hub: FakeHub, tmp_path: Path) -> None:
    """A second run only checks it."""
    hub.add("suno/bark", FILES)
    repository = look_up("suno/bark")
    digests = fetch(repository, FILES, tmp_path)
    hub.requests.clear()
    assert fetch(repository, FILES, tmp_path) == digests
    assert not hub.requests


@pytest.mark.parametrize(
    ("name", "revision", "expected"),
    [
        ("suno/nothing", None, "suno/nothing cannot be looked up: .* has no such repository"),
        ("suno/bark", "v9", "there is no such revision"),
        ("../../etc", None, "is no repository's name"),
        ("bark", None, "is no repository's name"),
    ],
)
def test_a_wrong_name_is_told(hub: FakeHub, name: str, revision: str | None, expected: str) -> None:
    """Of a repository or of a revision."""
    hub.add("suno/bark", FILES)
    with pytest.raises(StoreError, match=expected):
        look_up(name, revision=revision)


def test_a_path_out_of_the_directory_is_refused(hub: FakeHub, tmp_path: Path) -> None:
    """Though a hub should list it."""
    hub.add("suno/bark", {"../escaped": SMALL})
    with pytest.raises(StoreError, match="leads out of the directory"):
        fetch(look_up("suno/bark"), ["../escaped"], tmp_path / "in")
    assert not (tmp_path / "escaped").exists()


def test_no_network_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the way around it."""
    use_hub(monkeypatch, "http://127.0.0.1:9")  # the port that discards; nobody listens
    with pytest.raises(StoreError, match=r"no way to the network .*use their directory"):
        look_up("suno/bark")


def test_offline_what_the_cache_holds_is_found(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the commit that the cache's branch names; without it the message names the switch."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(StoreError, match="HF_HUB_OFFLINE forbids the network"):
        look_up("suno/bark")
    commit = "a" * 40
    kept = own_cache / "models--suno--bark"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text(commit)
    for name, content in FILES.items():
        path = kept / "snapshots" / commit / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    found = look_up("suno/bark")
    assert found.commit == commit
    fetch(found, FILES, tmp_path / "a")
    assert (tmp_path / "a/weights/model.bin").read_bytes() == LARGE


def test_a_plain_address_is_checked_by_the_beginning_of_its_checksum(hub: FakeHub, tmp_path: Path) -> None:
    """As torch's hub names files; another file is thrown away."""
    hub.plain["/codec.th"] = LARGE
    digest = hashlib.sha256(LARGE).hexdigest()
    address, path = f"{hub.address}/codec.th", tmp_path / "codec.th"
    assert fetch_address(address, path, sha256_prefix=digest[:8]) == digest
    assert path.read_bytes() == LARGE
    path.unlink()
    with pytest.raises(StoreError, match="another file than expected"):
        fetch_address(address, path, sha256_prefix="00000000")
    assert not path.exists()


def test_a_full_disk_is_told_before_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what is needed and what is free, for a directory that is not there yet."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**10, 0, 10**9))
    check_space(tmp_path / "not/yet", 9 * 10**8)
    with pytest.raises(StoreError, match="5,000 MB are needed there, but 1,000 MB are free"):
        check_space(tmp_path / "not/yet", 5 * 10**9)
