"""The page works behind a proxy that serves it below a path: it requests only addresses below that path."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from streamer.server.app import Server
from tests.browser.browsing import browsing, serving, speak, until

PREFIX = b"/voice"


@contextlib.asynccontextmanager
async def _proxied(server: Server) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Run a proxy that knows only `/voice` and below; yield its port, and the requested paths that it does not know."""
    unknown: list[bytes] = []

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            writer.close()
            return
        method, target, rest = head.split(b" ", 2)
        path = target.removeprefix(PREFIX)
        if path == target or path[:1] not in (b"", b"/", b"?"):
            unknown.append(target)
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            writer.close()
            return
        if b"\r\nupgrade:" not in rest.lower():  # each connection carries one request
            rest = rest.replace(b"\r\nConnection: keep-alive", b"\r\nConnection: close")
        upstream, downstream = await asyncio.open_connection("127.0.0.1", server.port)
        path = path if path.startswith(b"/") else b"/" + path
        downstream.write(b"%b %b %b" % (method, path, rest))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pipe(reader, downstream))
            tasks.create_task(pipe(upstream, writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as proxy:
        yield proxy.sockets[0].getsockname()[1], unknown


@pytest.mark.parametrize("path", ["/voice/", "/voice", "/voice?path=wasm", "/voice/?path=wasm"])
async def test_the_page_works_below_a_path(path: str) -> None:
    """The page plays and lists its voices and its model, even if its address has no slash at the end."""
    async with serving() as server, _proxied(server) as (port, unknown):
        async with browsing(f"http://localhost:{port}{path}") as page:
            await speak(page, "Hello there, this is a first sentence.")
            await until(page, "player.state === 'idle' && player.done.length === 1")
            assert await page.evaluate("() => window.streamerPlayer.done[0].reason") == "completed"
            assert await page.evaluate("() => location.pathname") == "/voice/"
            query = path.partition("?")[2]
            assert await page.evaluate("() => location.search") == (f"?{query}" if query else "")
            await page.wait_for_function("() => document.querySelectorAll('#voice option').length === 2")
            await page.wait_for_function(
                "() => document.querySelector('#model').textContent.includes('fake')"
            )
            color = await page.evaluate(
                "() => getComputedStyle(document.querySelector('#speak')).borderRadius"
            )
            assert color not in ("", "0px")  # the style sheet was found
        # Before it redirects, the page without its slash may have requested its files in the wrong place.
        has_slash = path.startswith("/voice/")
        assert not [
            target for target in unknown if has_slash or not target.startswith((b"/player/", b"/fav"))
        ]
