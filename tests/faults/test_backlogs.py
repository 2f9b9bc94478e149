"""A client that vanishes takes with it what it had said and nobody had read yet, however much that is."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import struct
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

from tests.server.speaking import Running, configured, eventually, figure, running

WAY_IN = (
    b"GET %s HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def _message(**message: str) -> bytes:
    return Frame(Opcode.TEXT, json.dumps(message).encode()).serialize(mask=True)


TINY = Frame(Opcode.TEXT, b"x").serialize(mask=True)
SPEAK, CANCEL = _message(type="speak", id="a", text="One two three four five."), _message(type="cancel")
BACKLOGS = {
    "tiny messages": (WAY_IN % b"/v1/stream", TINY * 9000),
    "a speak and tiny messages": (WAY_IN % b"/v1/stream" + SPEAK, TINY * 9000),
    "speaks and cancels": (WAY_IN % b"/v1/stream", (SPEAK + CANCEL) * 900),
    "pings": (WAY_IN % b"/v1/stream", _message(type="ping", t="a") * 2500),
    "deepgram": (WAY_IN % b"/v1/speak", _message(type="Speak", text="One.") * 2500),
    "silent ones of deepgram": (WAY_IN % b"/v1/speak", _message(type="KeepAlive") * 2500),
    "requests": (b"", b"GET /v1/voices HTTP/1.1\r\nHost: test\r\n\r\n" * 2500),
    "requests behind a long one": (
        b"POST /v1/speech HTTP/1.1\r\nHost: test\r\nContent-Length: 21\r\n\r\n" + b'{"text":"One. Two. "}',
        b"GET /x HTTP/1.1\r\nHost: test\r\n\r\n" * 5000,
    ),
    "wyoming": (b"", b'{"type": "ping"}\n' * 6000),
    "silent ones of wyoming": (b"", b'{"type": "unknown"}\n' * 6000),
    "texts of wyoming": (b"", b'{"type": "synthesize", "data": {"text": "One two three."}}\n' * 1500),
}


def _port(server: Running, backlog: str) -> int:
    return server.server.tcp_ports[0] if "wyoming" in backlog else server.server.port


async def _send(line: socket.socket, data: bytes) -> None:
    """Send as much as is taken without waiting for long."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(0.2):
            await loop.sock_sendall(line, data)
    except TimeoutError:
        pass


@pytest.mark.parametrize("is_reset", [True, False], ids=["reset", "closed"])
@pytest.mark.parametrize("backlog", BACKLOGS)
async def test_a_backlog_is_dropped_with_its_client(
    backlog: str, is_reset: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing of it is carried out at the rate at which a client that is there would be heard, or answered."""
    begun, data = BACKLOGS[backlog]
    limits: dict[str, Any] = {"max_bytes_per_s": 1024, "max_message_bytes": 1024}
    caplog.set_level(logging.WARNING, "asyncio")
    async with running(configured(server={"wyoming_port": 0}, **limits)) as server:
        with socket.create_connection(("127.0.0.1", _port(server, backlog))) as line:
            line.setblocking(False)
            await _send(line, begun + data)
            await eventually(lambda: server.server.num_connections)
            for _ in range(20):  # a part of it is carried out
                await asyncio.sleep(0)
            if is_reset:
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await eventually(lambda: not server.server.num_connections)
        num_begun = sum(
            figure(server.server, "tts_requests_total", outcome=outcome) or 0
            for outcome in ("ok", "truncated", "cancelled", "client_gone", "error")
        )
        assert num_begun <= 60  # what a client may say at once is twice `max_message_bytes`
    assert not [record for record in caplog.records if record.name == "asyncio"]
