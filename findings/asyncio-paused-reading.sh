#!/usr/bin/env bash
# A transport of asyncio that is paused for reading, and has nothing to write, never learns that its peer has gone.
set -euo pipefail
python3 - <<'PY'
import asyncio
import select
import socket
import struct
import sys

print("Python", sys.version.split()[0], "on", sys.platform)


class Paused(asyncio.Protocol):
    def __init__(self) -> None:
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set()


async def told(how: str, *, paused: bool) -> tuple[bool, bool]:
    """Whether connection_lost comes within a second of the peer's end, and whether poll() on the socket sees it."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: protocols.append(Paused()) or protocols[-1], "127.0.0.1", 0)
    protocols: list[Paused] = []
    peer = socket.create_connection(server.sockets[0].getsockname())
    while not protocols:
        await asyncio.sleep(0.01)
    protocol = protocols[0]
    if paused:
        protocol.transport.pause_reading()
    if how == "reset":
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    try:
        await asyncio.wait_for(protocol.lost.wait(), 1)
        is_told, is_seen = True, True
    except TimeoutError:
        poll = select.poll()
        poll.register(protocol.transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
        is_told, is_seen = False, bool(poll.poll(0))
    protocol.transport.abort()
    server.close()
    return is_told, is_seen


async def main() -> None:
    for how in ("closed", "reset"):
        for paused in (False, True):
            is_told, is_seen = await told(how, paused=paused)
            print(f"peer {how}, reading {'paused' if paused else 'on'}: connection_lost {is_told}, seen by poll() {is_seen}")
            assert is_told != paused, "this has changed"
            assert is_seen


asyncio.run(main())
PY
