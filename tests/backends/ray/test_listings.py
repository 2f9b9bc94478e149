"""The front end's reading of the directory over HTTP, and what it does with answers that are none."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import pytest

from streamer.backends.ray import listings
from streamer.backends.ray.directory import WorkerDirectory
from streamer.backends.ray.listings import worker_listings


class Proxy:
    """An HTTP server on this machine that answers as a directory does, or with what it is given."""

    def __init__(self, workers: WorkerDirectory) -> None:
        self.workers = workers
        self.answer: bytes | None = None
        self.requests: list[bytes] = []
        self.address = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head)
        path = head.split(b" ")[1].decode()
        fields = dict(line.split(b": ", 1) for line in head.strip().split(b"\r\n")[1:])
        authorization = {name.lower(): value for name, value in fields.items()}.get(b"authorization", b"")
        status, body = self.workers.answer(path.removeprefix("/app"), authorization.decode())
        answer = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (
            status,
            len(body),
            body,
        )
        writer.write(answer if self.answer is None else self.answer)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def proxy(token: str = "") -> AsyncIterator[Proxy]:
    found = Proxy(WorkerDirectory(token))
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    async with server:
        found.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/app"
        yield found


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body)


@pytest.mark.parametrize("slash", ["", "/"])
async def test_the_workers_are_read_again_and_again(slash: str) -> None:
    """Below the application's address, with the token."""
    async with proxy("a secret") as found:
        found.workers.announce("ws://a:1")
        async with contextlib.aclosing(
            worker_listings(found.address + slash, "a secret", interval_s=0)
        ) as updates:
            assert await anext(updates) == ("ws://a:1",)
            found.workers.announce("wss://b:2/worker")
            assert await anext(updates) == ("ws://a:1", "wss://b:2/worker")
        assert all(head.startswith(b"GET /app/workers HTTP/1.1\r\n") for head in found.requests)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"", "nothing answers"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "nothing answers"),
        (b"HTTP/1.1 500 X\r\nContent-Length: 5\r\nConnection: close\r\n\r\nsorry", "the answer is 500 sorry"),
        (
            b"HTTP/1.1 302 X\r\nLocation: /\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            "the answer is 302",
        ),
        (ok(b"[]"), "the answer is no listing"),
        (ok(b'{"workers": ["ws://a:1"'), "the answer is no listing"),
        (ok(b'{"workers": [1]}'), "the answer is no listing"),
        (ok(b'{"workers": ["\xff"]}'), "the answer is no listing"),
        (ok(b'{"workers": ' + b"[" * 100_000), "the answer is no listing"),
        (ok(b'{"workers": ["ws://' + b"a" * 300 + b':1"]}'), "the answer is no listing"),
        (ok(b'{"workers": ["http://a:1"]}'), "'http://a:1' is no worker's address"),
        (ok(b'{"workers": ["ws://user@a:1"]}'), "'ws://user@a:1' is no worker's address"),
        (ok(b" " * (listings.MAX_LISTING_BYTES + 1)), "it is longer than"),
    ],
)
async def test_an_answer_that_is_no_listing_is_told_once(
    answer: bytes, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is yielded meanwhile, and the next listing is."""
    async with proxy() as found:
        found.workers.announce("ws://a:1")
        found.answer = answer
        async with contextlib.aclosing(worker_listings(found.address, interval_s=0)) as updates:
            listing = asyncio.ensure_future(anext(updates))
            while len(found.requests) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            assert not listing.done()
            found.answer = None
            assert await listing == ("ws://a:1",)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"{found.address}/workers: {problem}" in record.getMessage()


async def test_a_wrong_token_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """With the line of the directory, and without the token."""
    async with (
        proxy("a secret") as found,
        contextlib.aclosing(worker_listings(found.address, "another", interval_s=0)) as updates,
    ):
        listing = asyncio.ensure_future(anext(updates))
        while not caplog.records:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        listing.cancel()
        await asyncio.gather(listing, return_exceptions=True)
    assert "the answer is 401 the token is not the workers'" in caplog.text
    assert "another" not in caplog.text


async def test_a_directory_that_never_answers_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After a while, so that one that hangs is not waited for."""
    monkeypatch.setattr(listings, "TIMEOUT_S", 0.05)

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with contextlib.aclosing(worker_listings(address, interval_s=0)) as updates:
            listing = asyncio.ensure_future(anext(updates))
            while not caplog.records:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            listing.cancel()
            await asyncio.gather(listing, return_exceptions=True)
    assert "nothing answers" in caplog.text
