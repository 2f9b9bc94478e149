"""An accepted connection: reading, and writing that waits for the client, whatever is spoken over it.

`http_connection` reads requests from it and `websocket` frames. Kernel buffers and write buffers are kept small, so
that a client that reads nothing is noticed.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Final, cast

from streamer.server.client_address import counted_as, peer_of
from streamer.server.light_event import LightEvent

SEND_BUFFER_BYTES: Final = 65_536
"""The kernel's send buffer of a connection."""
MAX_UNSENT_BYTES: Final = 1_048_576
"""Unsent bytes at which a connection is cut; only answers to pings can pile up so far, beside every queue."""
READ_BYTES: Final = 16_384
"""The most bytes that one read returns."""
LINGER_S: Final = 2.0
"""How long a client may take to notice an answer that came before its request was read."""
KEEPALIVE_S: Final = (15, 5, 5)
"""When the kernel asks a silent client whether it is there, and again, and drops it, each after the one before."""
_WRITE_LIMIT_BYTES: Final = 16_384
_GONE: Final = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)


class ClientGoneError(ConnectionError):
    """The client has closed the connection, or takes nothing from it any more."""


class Connection(asyncio.Protocol):
    """One TCP connection, with or without TLS. `accepted` is called once it is there.

    It is asyncio's protocol itself, because a stream reader and writer would take a tenth of an idle session's memory.
    """

    __slots__ = (
        "_accepted",
        "_arrived",
        "_count_slow_client",
        "_drained",
        "_has_tls",
        "_is_reading_paused",
        "_received",
        "_write_timeout_s",
        "address",
        "ended",
        "lost",
        "transport",
        "when_ended",
    )
    transport: asyncio.Transport
    """The transport, to abort it."""
    address: str
    """Whom the client is counted as: its IPv4 address, or the network of its IPv6 address."""
    ended: LightEvent
    """Set once nothing more will come, in whichever way the connection ended."""
    lost: LightEvent
    """Set once nothing can be sent any more, either."""
    when_ended: Callable[[], None]
    """Called when `ended` is set; what is spoken over the connection sets it."""

    def __init__(
        self,
        *,
        accepted: Callable[[Connection], None],
        write_timeout_s: float,
        count_slow_client: Callable[[], None],
    ) -> None:
        self._accepted = accepted
        self._write_timeout_s = write_timeout_s
        self._count_slow_client = count_slow_client
        self._received = b""
        self._arrived, self._drained = LightEvent(), LightEvent()
        self.ended, self.lost = LightEvent(), LightEvent()
        self.when_ended = _do_nothing
        self._drained.set()
        self._is_reading_paused = False
        self._has_tls = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; asyncio calls this."""
        self.transport = cast("asyncio.Transport", transport)
        self.address = sys.intern(counted_as(peer_of(self.peer_name)))  # many have the same
        self.transport.set_write_buffer_limits(_WRITE_LIMIT_BYTES)
        with contextlib.suppress(OSError):  # of a connection that is gone already
            sock: socket.socket = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            # asyncio does this only for sockets that it made itself: a packet must not wait for the last one's ACK.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _keep_alive(sock)
        self._accepted(self)

    def data_received(self, data: bytes) -> None:
        """Keep what came until it is read, and let no more come if that is much; asyncio calls this."""
        self._received += data
        self._arrived.set()
        if len(self._received) > 2 * READ_BYTES and not self._is_reading_paused:
            self._is_reading_paused = True
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        """Note that nothing more will come; the answer may still be sent, except under TLS. asyncio calls this."""
        self._end()
        return not self._has_tls

    def pause_writing(self) -> None:
        """Have writers wait; asyncio calls this."""
        self._drained.clear()

    def resume_writing(self) -> None:
        """Let writers continue; asyncio calls this."""
        self._drained.set()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        """Wake everything that waits; asyncio calls this. What was not read is dropped: nobody is there to answer."""
        self._received = b""
        self._end()
        self._drained.set()
        self.lost.set()

    @property
    def peer_name(self) -> object:
        """The name of the socket at the other end, which may be a proxy's."""
        return self.transport.get_extra_info("peername")

    @property
    def num_unsent_bytes(self) -> int:
        """The bytes written that the kernel has not taken yet."""
        return self.transport.get_write_buffer_size()

    @property
    def is_congested(self) -> bool:
        """Whether a write should wait for the client."""
        return self.num_unsent_bytes > _WRITE_LIMIT_BYTES

    def has_lost_client(self) -> bool:
        """Whether the client has closed the connection while reading is paused, in which asyncio does not notice."""
        if not self._is_reading_paused or self.transport.is_closing():
            return False
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), _GONE)
        return bool(poll.poll(0))

    async def start_tls(self, context: ssl.SSLContext, timeout_s: float) -> None:
        """Make the TLS handshake. Raises `OSError` (`ssl.SSLError`) if it fails.

        Reading must have been paused since the connection was made.
        """
        self._has_tls = True
        transport = await asyncio.get_running_loop().start_tls(
            self.transport, self, context, server_side=True, ssl_handshake_timeout=timeout_s
        )
        if transport is None:  # it was closed meanwhile
            raise ConnectionAbortedError
        self.transport = transport
        self.transport.set_write_buffer_limits(_WRITE_LIMIT_BYTES)

    async def read(self) -> bytes:
        """Return what came, at most `READ_BYTES`; nothing at the end, in whichever way the connection ended."""
        while not self._received and not self.ended.is_set():
            self._arrived.clear()
            await self._arrived.wait()
        data, self._received = self._received[:READ_BYTES], self._received[READ_BYTES:]
        if self._is_reading_paused and len(self._received) <= READ_BYTES and not self.transport.is_closing():
            self._is_reading_paused = False
            self.transport.resume_reading()
        return data

    def write(self, data: bytes) -> None:
        """Write without waiting; nothing is written to a connection that is closing."""
        if not self.transport.is_closing():  # asyncio would log a warning for each
            self.transport.write(data)

    async def drain(self) -> None:
        """Wait until there is room to write.

        Raises `ClientGoneError` if the connection is closed, or is cut because the client takes nothing.
        """
        if not self.is_congested and not self.transport.is_closing():
            return
        try:
            async with asyncio.timeout(self._write_timeout_s):
                await self._drained.wait()
        except TimeoutError:
            self._count_slow_client()
            self.abort()
            raise ClientGoneError from None
        if self.transport.is_closing():
            await asyncio.sleep(0)  # a writer in a loop would not let the loss of the connection be noticed
        if self.lost.is_set():
            raise ClientGoneError

    def write_eof(self) -> None:
        """Tell the client that nothing will follow; under TLS that closes the connection."""
        if self.transport.is_closing():
            return
        if self.transport.can_write_eof():
            with contextlib.suppress(OSError):
                self.transport.write_eof()
        else:
            self.transport.close()

    async def linger(self) -> None:
        """Let the client read an answer before the close: unread bytes at a close would destroy it on the way."""
        self.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while await self.read():
                    pass

    async def close(self) -> None:
        """Send what is left, as far as the client takes it in time, and close."""
        self.transport.close()
        try:
            async with asyncio.timeout(self._write_timeout_s):
                await self.lost.wait()
        except TimeoutError:
            if self.num_unsent_bytes:
                self._count_slow_client()
        finally:
            self.abort()

    def abort(self) -> None:
        """Close at once; what was not sent is lost."""
        self.transport.abort()

    def _end(self) -> None:
        if not self.ended.is_set():
            self.ended.set()
            self._arrived.set()
            self.when_ended()


def _do_nothing() -> None:
    """Nothing is spoken over the connection yet."""


def _keep_alive(sock: socket.socket) -> None:
    """Have the kernel end the connection of a client that has vanished, whatever is spoken over it."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):  # elsewhere than on Linux the system's own times may count
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S[0])
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_S[1])
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, len(KEEPALIVE_S) - 1)
