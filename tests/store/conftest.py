"""A hub for the tests of the store, and none of this machine's own Hugging Face files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import close_session, constants

from tests.fakes.hub import FakeHub, running_hub, use_hub
from tests.fakes.hugging_face_bark import bark, hugging_face_directory, suno_directory  # noqa: F401


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return tmp_path / "cache"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """An empty hub, asked by `streamer.store.hub` until the test ends."""
    close_session()  # its client would keep the settings of the environment, proxies among them
    with running_hub() as hub:
        use_hub(monkeypatch, hub.address)
        yield hub
        close_session()
