"""A protocol is added by adding its folder."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from streamer import server
from tests.server import toy_protocol
from tests.server.speaking import running

ENDPOINTS = """
from streamer.server.toy.protocol import ToyProtocol

def add_routes(routes, service):
    routes.websocket("/toy/{name}", ToyProtocol)
"""


@pytest.fixture
def toy_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy protocol in a folder of its own, as if it lay beside the others."""
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "__init__.py").touch()
    shutil.copy(toy_protocol.__file__, folder / "protocol.py")
    (folder / "endpoints.py").write_text(ENDPOINTS)
    monkeypatch.setattr(server, "__path__", [*server.__path__, str(tmp_path)])
    for name in ("toy", "toy.protocol", "toy.endpoints"):
        monkeypatch.delitem(sys.modules, f"streamer.server.{name}", raising=False)


@pytest.mark.usefixtures("toy_folder")
async def test_a_folder_is_all_that_a_protocol_needs() -> None:
    """Text goes in and sound comes out over a real connection, beside the protocols that were there."""
    async with running() as speaking:
        address = f"ws://127.0.0.1:{speaking.server.port}/toy/somebody"
        async with connect(address, compression=None) as websocket:
            assert str(await websocket.recv()).startswith("hello ")
            await websocket.send("One two.")
            await websocket.send("bye")
            frames = [frame async for frame in websocket]
        assert [frame for frame in frames if isinstance(frame, str)] == ["1 says One|two.", "1 completed"]
        num_bytes = sum(len(frame) for frame in frames if isinstance(frame, bytes))
        assert num_bytes == pytest.approx(2 * 24 * 20 * len("One two."), rel=0.1)
        assert speaking.server.routes.find_websocket("/v1/stream") is not None
