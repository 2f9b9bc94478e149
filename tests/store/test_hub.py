"""Downloads: the files of a repository at a commit arrive whole, continue after a break, and are checked."""

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
    """A branch or a commit leads to the files that it holds."""
    first = hub.add("suno/bark", FILES)
    second = hub.add("suno/bark", {"config.json": b"{}"}, revision="next")
    found = look_up("suno/bark")
    assert (found.commit, found.licence) == (first, "mit")
    assert found.size_bytes(FILES) == len(SMALL) + len(LARGE)
    assert look_up("suno/bark", revision="next").commit == second
    assert set(look_up("suno/bark", revision=first).files) == set(FILES)


def test_files_arrive_with_their_checksums_and_progress(hub: FakeHub, tmp_path: Path) -> None:
    """Each arrives in the directory, at its own path, and every byte is reported."""
    hub.add("suno/bark", FILES)
    progress: list[int] = []
    digests = fetch(look_up("suno/bark"), FILES, tmp_path / "a", on_progress=progress.append)
    for name, content in FILES.items():
        assert (tmp_path / "a" / name).read_bytes() == content
        assert digests[name] == hashlib.sha256(content).hexdigest()
    assert sum(progress) == len(SMALL) + len(LARGE)


def test_a_broken_download_is_continued_by_the_next_run(hub: FakeHub, tmp_path: Path) -> None:
    """What arrived is kept under another name; the next run asks for the rest only."""
    hub.add("suno/bark", FILES)
    hub.cut_after, hub.is_down_after_cut = 5000, True
    repository = look_up("suno/bark")
    with pytest.raises(StoreError, match=r"model\.bin was not downloaded.*503.*; try again later$"):
        fetch(repository, FILES, tmp_path)
    assert not (tmp_path / "weights/model.bin").exists()
    hub.is_down, hub.requests = False, []
    progress: list[int] = []
    fetch(repository, FILES, tmp_path, on_progress=progress.append)
    assert (tmp_path / "weights/model.bin").read_bytes() == LARGE
    assert [asked for _, asked in hub.requests] == ["bytes=5000-"]
    assert sum(progress) == len(SMALL) + len(LARGE)


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_broken_connection_is_retried(hub: FakeHub, tmp_path: Path, knows_ranges: bool) -> None:
    """In the same run, because bytes had arrived. If the server ignores the range, the file starts over."""
    hub.add("suno/bark", FILES)
    hub.cut_after, hub.knows_ranges = 5000, knows_ranges
    progress: list[int] = []
    fetch(look_up("suno/bark"), FILES, tmp_path, on_progress=progress.append)
    assert (tmp_path / "weights/model.bin").read_bytes() == LARGE
    assert sum(progress) == len(SMALL) + len(LARGE)


@pytest.mark.parametrize(
    ("left", "asked"),
    [(b"", [None]), (LARGE[:1], ["bytes=1-"]), (LARGE[:-1], [f"bytes={len(LARGE) - 1}-"]), (LARGE, [])],
)
def test_an_earlier_runs_bytes_are_not_asked_for(
    hub: FakeHub, tmp_path: Path, left: bytes, asked: list[str | None]
) -> None:
    """None of them, one, all but one, or all."""
    hub.add("suno/bark", FILES)
    repository = look_up("suno/bark")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/model.bin.incomplete").write_bytes(left)
    hub.requests.clear()
    fetch(repository, ["weights/model.bin"], tmp_path)
    assert [path.name for path in (tmp_path / "weights").iterdir()] == ["model.bin"]
    assert (tmp_path / "weights/model.bin").read_bytes() == LARGE
    assert [range_asked for _, range_asked in hub.requests] == asked


@pytest.mark.parametrize("left", [bytes(5000), LARGE + b"more"])
def test_wrong_bytes_of_an_earlier_run_are_thrown_away(hub: FakeHub, tmp_path: Path, left: bytes) -> None:
    """Another file's, or too many: the checksum finds them, and the next run starts over."""
    hub.add("suno/bark", FILES)
    repository = look_up("suno/bark")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/model.bin.incomplete").write_bytes(left)
    with pytest.raises(StoreError, match="is damaged"):
        fetch(repository, ["weights/model.bin"], tmp_path)
    fetch(repository, ["weights/model.bin"], tmp_path)
    assert (tmp_path / "weights/model.bin").read_bytes() == LARGE


def test_only_the_hub_is_given_the_token(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Private repositories need it; a plain address must not see it."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.add("suno/bark", FILES)
    hub.plain["/codec.th"] = LARGE
    repository = look_up("suno/bark")
    hub.authorizations.clear()
    fetch(repository, ["config.json"], tmp_path)
    digest = hashlib.sha256(LARGE).hexdigest()
    fetch_address(f"{hub.address}/codec.th", tmp_path / "codec.th", sha256_prefix=digest)
    assert hub.authorizations == ["Bearer hf_secret", None]


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_what_the_hub_said_is_thrown_away(hub: FakeHub, tmp_path: Path, name: str) -> None:
    """Large files are compared with their SHA-256, small ones with git's checksum."""
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
        ("../../etc", None, "is not the name of a repository"),
        ("bark", None, "is not the name of a repository"),
    ],
)
def test_a_wrong_name_is_told(hub: FakeHub, name: str, revision: str | None, expected: str) -> None:
    """The message tells a repository from a revision that does not exist."""
    hub.add("suno/bark", FILES)
    with pytest.raises(StoreError, match=expected):
        look_up(name, revision=revision)


def test_a_path_out_of_the_directory_is_refused(hub: FakeHub, tmp_path: Path) -> None:
    """Even if the hub lists it, nothing is written."""
    hub.add("suno/bark", {"../escaped": SMALL})
    with pytest.raises(StoreError, match="leads out of the directory"):
        fetch(look_up("suno/bark"), ["../escaped"], tmp_path / "in")
    assert not (tmp_path / "escaped").exists()


def test_no_network_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says how to do without."""
    use_hub(monkeypatch, "http://127.0.0.1:9")  # the port that discards; nobody listens
    with pytest.raises(StoreError, match=r"the network cannot be reached .*use their directory"):
        look_up("suno/bark")


def test_offline_what_the_cache_holds_is_found(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found at the commit that the cache's branch names; if it is not there, the message names the variable."""
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
    """torch's hub names files so. Another file is thrown away."""
    hub.plain["/codec.th"] = LARGE
    digest = hashlib.sha256(LARGE).hexdigest()
    address, path = f"{hub.address}/codec.th", tmp_path / "codec.th"
    assert fetch_address(address, path, sha256_prefix=digest[:8]) == digest
    assert path.read_bytes() == LARGE
    path.unlink()
    with pytest.raises(StoreError, match="is not the expected file"):
        fetch_address(address, path, sha256_prefix="00000000")
    assert not path.exists()


def test_a_full_disk_is_told_before_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what is needed and what is free, also for a directory that does not exist yet."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**10, 0, 10**9))
    check_space(tmp_path / "not/yet", 9 * 10**8)
    with pytest.raises(StoreError, match="5,000 MB are needed there, but 1,000 MB are free"):
        check_space(tmp_path / "not/yet", 5 * 10**9)
