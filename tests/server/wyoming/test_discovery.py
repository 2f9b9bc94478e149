"""The port is announced as Home Assistant looks for it, and the announcement is taken back."""

from __future__ import annotations

import asyncio

import pytest
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from streamer.server.wyoming import discovery
from streamer.server.wyoming.discovery import SERVICE_TYPE, announced, is_loopback


async def test_a_browser_finds_the_port_while_it_is_announced() -> None:
    """Address and port are those that were announced, and the name goes away with them."""
    async with AsyncZeroconf(interfaces=["127.0.0.1"]) as zeroconf:
        changes: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

        class Changes:
            def add_service(self, _zeroconf: object, _kind: str, name: str) -> None:
                changes.put_nowait(("added", name))

            def remove_service(self, _zeroconf: object, _kind: str, name: str) -> None:
                changes.put_nowait(("removed", name))

            def update_service(self, _zeroconf: object, _kind: str, name: str) -> None:
                pass

        browser = AsyncServiceBrowser(zeroconf.zeroconf, SERVICE_TYPE, listener=Changes())  # type: ignore[arg-type]
        async with asyncio.timeout(20):
            async with announced("127.0.0.1", 10_200):
                change, name = await changes.get()
                assert change == "added" and name.startswith("streamer-")
                info = AsyncServiceInfo(SERVICE_TYPE, name)
                assert await info.async_request(zeroconf.zeroconf, 3000)
                assert info.parsed_addresses() == ["127.0.0.1"] and info.port == 10_200
            assert await changes.get() == ("removed", name)
        await browser.async_cancel()


@pytest.mark.parametrize(
    "error", [OSError("no multicast"), RuntimeError("no interfaces"), ValueError("no address")]
)
async def test_a_server_that_cannot_announce_still_serves(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where there is no multicast the block is entered all the same, and the log says why nobody will find the port."""

    def refuse(**_options: object) -> None:
        raise error

    monkeypatch.setattr(discovery, "AsyncZeroconf", refuse)
    async with announced("0.0.0.0", 10_200):
        assert "cannot discover" in caplog.text


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.2", False),
        ("home.example", False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(host: str, answer: bool) -> None:
    assert is_loopback(host) is answer
