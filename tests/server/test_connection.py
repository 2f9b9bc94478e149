"""A connection as the kernel has it."""

from __future__ import annotations

import asyncio
import socket

import pytest

from streamer.server.connection import Connection
from tests.server.speaking import configured, eventually, running


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "0.0.0.0"])
async def test_a_packet_waits_for_no_acknowledgement(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nagle's algorithm (RFC 896) is off on each connection of every port, or small packets come late."""
    accepted: list[int] = []
    begin = Connection.connection_made

    def note(self: Connection, transport: asyncio.BaseTransport) -> None:
        begin(self, transport)
        sock: socket.socket = transport.get_extra_info("socket")
        accepted.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    monkeypatch.setattr(Connection, "connection_made", note)
    address = "::1" if ":" in host else "127.0.0.1"
    server = {"host": host, "wyoming_host": host, "wyoming_port": 0, "allowed_origins": ("http://[::1]",)}
    async with running(configured(server=server)) as speaking:
        for port in (speaking.server.port, *speaking.server.tcp_ports):
            with socket.create_connection((address, port)) as client:
                client.setblocking(False)
                num_ports = 1 + (port != speaking.server.port)
                await eventually(lambda num_ports=num_ports: len(accepted) == num_ports)
    assert accepted == [1, 1]
