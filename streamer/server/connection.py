"""An accepted connection: reading, and writing that waits for the client, whatever is spoken over it.

`http_connection` reads requests from it and `websocket` frames. Kernel buffers and write buffers are kept small, so
that a client that reads nothing is noticed.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import Callable
from typing import Final, cast

SEND_BUFFER_BYTES: Final = 65_536
"""The kernel's send buffer of a connection."""
MAX_UNSENT_BYTES: Final = 1_048_576
"""Unsent bytes at which a connection is cut; only answers to pings can pile up so far, beside every queue."""
READ_BYTES: Final = 16_384
"""The most bytes that one read returns."""
LINGER_S: Final = 2.0
"""How long a client may take to notice an answer that came before its request was read."""
_WRITE_LIMIT_BYTES: Final = 16_384


class ClientGoneError(ConnectionError):
    """The client has closed the connection, or takes nothing from it any more."""


class Connection:
    """One TCP connection, with or without TLS."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        write_timeout_s: float,
        count_slow_client: Callable[[], None],
    ) -> None:
        self.address = _address(writer)
        self._reader = reader
        self._writer = writer
        self._write_timeout_s = write_timeout_s
        self._count_slow_client = count_slow_client
        self.transport.set_write_buffer_limits(_WRITE_LIMIT_BYTES)
        with contextlib.suppress(OSError):  # of a connection that is gone already
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            # asyncio does this only for sockets that it made itself: a packet must not wait for the last one's ACK.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def transport(self) -> asyncio.Transport:
        """The transport, to abort it."""
        return cast("asyncio.Transport", self._writer.transport)

    @property
    def num_unsent_bytes(self) -> int:
        """The bytes written that the kernel has not taken yet."""
        return self.transport.get_write_buffer_size()

    @property
    def is_congested(self) -> bool:
        """Whether a write should wait for the client."""
        return self.num_unsent_bytes > _WRITE_LIMIT_BYTES

    async def start_tls(self, context: ssl.SSLContext, timeout_s: float) -> None:
        """Make the TLS handshake. Raises `OSError` (`ssl.SSLError`) if it fails.

        Reading must have been paused since the connection was made.
        """
        await self._writer.start_tls(context, ssl_handshake_timeout=timeout_s)
        self.transport.set_write_buffer_limits(_WRITE_LIMIT_BYTES)

    async def read(self) -> bytes:
        """Return what came, at most `READ_BYTES`; nothing at the end, in whichever way the connection ended."""
        try:
            return await self._reader.read(READ_BYTES)
        except OSError:
            return b""

    def write(self, data: bytes) -> None:
        """Write without waiting."""
        self.transport.write(data)

    async def drain(self) -> None:
        """Wait until there is room to write.

        Raises `ClientGoneError` if the connection is closed, or is cut because the client takes nothing.
        """
        if not self.is_congested and not self.transport.is_closing():
            return
        try:
            async with asyncio.timeout(self._write_timeout_s):
                await self._writer.drain()
        except TimeoutError:
            self._count_slow_client()
            self.abort()
            raise ClientGoneError from None
        except OSError:
            raise ClientGoneError from None

    def write_eof(self) -> None:
        """Tell the client that nothing will follow; under TLS that closes the connection."""
        if self.transport.is_closing():
            return
        if self._writer.can_write_eof():
            with contextlib.suppress(OSError):
                self._writer.write_eof()
        else:
            self._writer.close()

    async def linger(self) -> None:
        """Let the client read an answer before the close: unread bytes at a close would destroy it on the way."""
        self.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while await self.read():
                    pass

    async def close(self) -> None:
        """Send what is left, as far as the client takes it in time, and close."""
        self._writer.close()
        try:
            async with asyncio.timeout(self._write_timeout_s):
                await self._writer.wait_closed()
        except TimeoutError:
            if self.num_unsent_bytes:
                self._count_slow_client()
        except OSError:
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        """Close at once; what was not sent is lost."""
        self.transport.abort()

    @property
    def _socket(self) -> socket.socket:
        sock: socket.socket = self._writer.get_extra_info("socket")
        return sock


def _address(writer: asyncio.StreamWriter) -> str:
    """Return the client's address: an IPv4 one looks the same to a socket that takes IPv6, too."""
    peer = writer.get_extra_info("peername")
    if not isinstance(peer, tuple) or not peer:
        return "local"
    return re.sub(r"^::ffff:(?=[\d.]+$)", "", str(peer[0]))
