"""Connects to a server again and again without a pause, from an address of its own, in each way that costs the least.

`fairness.py` runs it in a process of its own beside a polite client: `python -m benchmarks.connect_floods KIND PORT`.
The address is another one of this machine's, for which Linux needs nothing to be set up.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
import struct
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final
from urllib.parse import urlsplit

ADDRESS: Final = "127.0.0.2"
NUM_AT_ONCE: Final = 32
"""Connections that are opened at the same time."""
ANSWER_TIMEOUT_S: Final = 2.0
RESET: Final = struct.pack("ii", 1, 0)
HANDSHAKE: Final = (
    b"GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer hog-key\r\n\r\n"
)
KINDS: Final[dict[str, tuple[bytes, bool]]] = {
    "flood of connects": (b"", False),
    "flood of half handshakes": (HANDSHAKE[:40], False),
    "flood of upgrades": (HANDSHAKE, True),
    "flood of probes": (b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", True),
}
"""What is sent, and whether the answer is waited for."""


async def _connect(port: int, sent: bytes, *, waits: bool) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as sock, contextlib.suppress(OSError, TimeoutError):
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        sock.bind((ADDRESS, 0))
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            await loop.sock_connect(sock, ("127.0.0.1", port))
            if sent:
                await loop.sock_sendall(sock, sent)
            if waits:
                await loop.sock_recv(sock, 4096)


async def _flood(port: int, sent: bytes, *, waits: bool) -> None:
    async def connect() -> None:
        while True:
            await _connect(port, sent, waits=waits)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(NUM_AT_ONCE):
            tasks.create_task(connect())


def process(kind: str) -> Callable[[str], Coroutine[Any, Any, None]]:
    """Return what floods a server, by its address, until it is cancelled."""

    async def flood(url: str) -> None:
        command = (sys.executable, "-m", "benchmarks.connect_floods", kind, str(urlsplit(url).port))
        running = await asyncio.create_subprocess_exec(*command)
        try:
            await running.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                running.kill()
            await running.wait()

    return flood


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=tuple(KINDS))
    parser.add_argument("port", type=int)
    arguments = parser.parse_args()
    sent, waits = KINDS[arguments.kind]
    os.nice(19)  # a flood comes from another machine, and takes no processor of the server's
    asyncio.run(_flood(arguments.port, sent, waits=waits))


if __name__ == "__main__":
    main()
