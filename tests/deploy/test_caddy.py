"""The proxy of compose.yaml, run before a server: streams pass as they come, and keys stay out of its log."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import socket
import ssl
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import Client, configured, running

CADDYFILE = Path(__file__).parents[2] / "deploy" / "caddy" / "Caddyfile"
CADDY = shutil.which("caddy") or shutil.which("caddy", path=str(Path(sys.executable).parent))
pytestmark = pytest.mark.skipif(CADDY is None, reason="Caddy is not installed")
TLS = ssl.create_default_context()
TLS.check_hostname, TLS.verify_mode = False, ssl.CERT_NONE  # the proxy vouches for itself on localhost


@dataclass
class Proxy:
    """The running proxy: its port for TLS, and what it has logged so far."""

    port: int
    log: list[str]


def free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [opened.getsockname()[1] for opened in sockets]


@contextlib.asynccontextmanager
async def proxy(upstream_port: int, directory: Path) -> AsyncIterator[Proxy]:
    """Our Caddyfile on ports that are free, in front of a port of this machine."""
    http, https, probe = free_ports(3)
    text = CADDYFILE.read_text(encoding="utf-8")
    for written, port in (("http_port 8080", http), ("https_port 8443", https), ("127.0.0.1:8081", probe)):
        assert written in text
        text = text.replace(written, re.sub(r"\d+$", str(port), written))
    file = directory / "Caddyfile"
    file.write_text(text, encoding="utf-8")
    environment = {
        **os.environ,
        "UPSTREAM": f"127.0.0.1:{upstream_port}",
        "XDG_DATA_HOME": str(directory),
        "XDG_CONFIG_HOME": str(directory),
    }
    assert CADDY is not None
    process = await asyncio.create_subprocess_exec(
        *(CADDY, "run", "--adapter", "caddyfile", "--config", str(file)),
        stdin=DEVNULL,
        stderr=PIPE,
        env=environment,
    )
    log: list[str] = []

    async def read_log() -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            log.append(line.decode())

    reading = asyncio.create_task(read_log())
    try:
        async with asyncio.timeout(60):
            while not await answers(https):
                assert process.returncode is None, "".join(log)
                await asyncio.sleep(0.05)
        yield Proxy(https, log)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await reading


async def answers(port: int) -> bool:
    """Whether the proxy has its certificate and answers over TLS."""
    try:
        _, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=TLS, server_hostname="localhost", ssl_handshake_timeout=5
        )
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def send(port: int, request: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=TLS, server_hostname="localhost")
    writer.write(request.replace("\n", "\r\n").encode())
    return reader, writer


async def test_a_websocket_passes_both_ways_while_it_is_open(tmp_path: Path) -> None:
    """Sound arrives before the text has ended, and the server is told the host that the client wrote."""
    async with running() as server, proxy(server.server.port, tmp_path) as between:
        host = f"localhost:{between.port}"
        options = {"ssl": TLS, "host": "127.0.0.1", "origin": f"https://{host}"}
        async with connect(f"wss://{host}/v1/stream", proxy=None, **options) as ws:
            client = Client(ws)
            await client.until("session")
            await client.say("start", id="a")
            await client.say("text", id="a", text="The first sentence is here. The sec")
            await client.until("sentence_end", id="a", index=0)
            assert client.frames()
            await client.say("end", id="a")
            done = await client.until("done")
    assert (done["reason"], done["packets"]) == ("completed", len(client.frames()))


async def test_sound_over_http_is_not_kept_back(tmp_path: Path) -> None:
    """The first bytes of a body arrive though the rest of it is never made."""
    fake = FakeSynthesizer()
    fake.stall_on = "second"
    body = '{"text": "The first sentence is here. The second never ends.", "encoding": "pcm_s16le"}'
    fields = f"Host: localhost\nContent-Type: application/json\nContent-Length: {len(body)}"
    config = configured(server={"allowed_origins": ("https://localhost",)})
    async with running(config, fake) as server, proxy(server.server.port, tmp_path) as between:
        reader, writer = await send(between.port, f"POST /v1/speech HTTP/1.1\n{fields}\n\n{body}")
        async with asyncio.timeout(30):
            head = await reader.readuntil(b"\r\n\r\n")
            sound = await reader.readexactly(8000)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    assert head.startswith(b"HTTP/1.1 200") and len(set(sound)) > 100


async def test_the_server_is_told_the_clients_address_and_nothing_that_a_client_made_up(
    tmp_path: Path,
) -> None:
    """The proxy writes `X-Forwarded-For` itself, and keeps the Host header."""
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    upstream = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with upstream, proxy(upstream.sockets[0].getsockname()[1], tmp_path) as between:
        made_up = "X-Forwarded-For: 6.6.6.6\nX-Forwarded-Host: evil.example"
        reader, writer = await send(
            between.port, f"GET / HTTP/1.1\nHost: localhost:{between.port}\n{made_up}\nConnection: close\n\n"
        )
        assert b" 204 " in await reader.readline()
        writer.close()
    fields = dict(line.split(": ", 1) for line in heads[0].decode().split("\r\n")[1:] if line)
    assert (fields["Host"], fields["X-Forwarded-For"]) == (f"localhost:{between.port}", "127.0.0.1")
    assert b"evil" not in heads[0]


async def test_keys_do_not_get_into_its_log(tmp_path: Path) -> None:
    """What fails is logged, without the query and the headers in which clients have their keys."""
    (nobody,) = free_ports(1)
    async with proxy(nobody, tmp_path) as between:
        request = (
            "GET /tts?api_key=sesame-q HTTP/1.1\nHost: localhost\nX-API-Key: sesame-h\nConnection: close\n\n"
        )
        reader, writer = await send(between.port, request)
        assert b" 502 " in await reader.readline()
        writer.close()
        async with asyncio.timeout(10):
            while not any('"status":502' in line for line in between.log):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    assert any("/tts" in line for line in between.log)
    assert not any("sesame" in line for line in between.log)
