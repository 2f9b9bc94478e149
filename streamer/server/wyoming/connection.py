"""Wyoming's events on an accepted connection, read with bounds; the session takes them as frames."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK

from streamer.config import LimitsConfig
from streamer.errors import StreamerError
from streamer.server.connection import ClientGoneError, Connection
from streamer.server.flow_control import Budget
from streamer.server.message_reader import MessageReader
from streamer.server.wyoming.messages import error_event, invalid, read_header

MAX_PAYLOAD_BYTES: Final = 65_536
"""The most bytes of an event's payload. Clients that are spoken to send none; it is read and dropped."""


class EventConnection:
    """Implements `client_connection.ClientConnection`. A frame is an event without its payload."""

    def __init__(self, connection: Connection, limits: LimitsConfig) -> None:
        self._connection = connection
        self._max_bytes = limits.max_message_bytes
        self._reader = MessageReader(connection)
        self._budget = Budget(limits.max_bytes_per_s, 2 * limits.max_message_bytes)  # of payloads
        self._unread = bytearray()
        self._num_to_skip = 0  # bytes of a payload
        self._close_code: int | None = None
        self._is_broken = False

    @property
    def transport(self) -> asyncio.Transport:
        return self._connection.transport

    @property
    def close_code(self) -> int | None:
        return self._close_code

    async def recv(self) -> bytes:
        """Return the next event. Cancelling it loses nothing.

        Raises `websockets.exceptions.ConnectionClosed` at the end of the connection, and behind an event that cannot be
        read, of which the client has been told.
        """
        try:
            while self._connection.lost.is_set() or (event := self._next()) is None:
                data = await self._reader.read(has_begun=bool(self._unread or self._num_to_skip))
                if not data:
                    raise _closed(is_clean=not self._unread)
                await self._take(data)
        except TimeoutError:
            self._refuse(invalid("the rest of an event did not come in time"))
            raise _closed(is_clean=False) from None
        except StreamerError as error:
            self._refuse(error)
            raise _closed(is_clean=False) from None
        return event

    async def rest(self, pause_s: float) -> None:
        """Let this time pass before the next event is read, unless the connection ends."""
        await self._connection.ended.wait_for(pause_s)

    def try_send_all(self, messages: Sequence[str | bytes]) -> bool:
        """Send several events if that needs no waiting; returns whether they were sent."""
        if self._connection.is_congested or self.transport.is_closing():
            return False
        self._write(messages)
        return True

    async def send_all(self, messages: Sequence[str | bytes]) -> None:
        """Send several events, and wait for room once. Raises `websockets.exceptions.ConnectionClosed`."""
        self._write(messages)
        try:
            await self._connection.drain()
        except ClientGoneError:
            raise _closed(is_clean=False) from None

    async def close(self, code: int = 1000, reason: str = "") -> None:  # noqa: ARG002
        """End the connection; Wyoming has no close codes, and this one is for the log."""
        self._close_code = code
        if self._is_broken:
            await self._connection.linger()
        await self._connection.close()

    def _write(self, messages: Sequence[str | bytes]) -> None:
        self._connection.write(
            b"".join(message.encode() if isinstance(message, str) else message for message in messages)
        )

    def _refuse(self, error: StreamerError) -> None:
        self._is_broken = True
        self._connection.write(error_event(error))

    async def _take(self, data: bytes) -> None:
        """Keep what is not of a payload, and wait as long as that takes at the rate of messages."""
        skipped = min(self._num_to_skip, len(data))
        self._num_to_skip -= skipped
        if skipped and not self._num_to_skip:
            self._reader.begin()
        self._unread += data[skipped:]
        await self._connection.ended.wait_for(self._budget.spend(skipped))

    def _next(self) -> bytes | None:
        """Take one event from what was read; None if it is not whole. Raises `StreamerError`."""
        if self._num_to_skip:
            return None
        end = self._unread.find(b"\n")
        if end < 0 and len(self._unread) <= self._max_bytes:
            return None
        if not 0 <= end <= self._max_bytes:
            raise invalid(f"the line of an event is longer than {self._max_bytes} bytes")
        header = read_header(bytes(self._unread[:end]))
        num_data, num_payload = header.data_length or 0, header.payload_length or 0
        if end + num_data > self._max_bytes:
            raise invalid(f"an event has more than {self._max_bytes} bytes of data; send text in pieces")
        if num_payload > MAX_PAYLOAD_BYTES:
            raise invalid(f"an event has a payload of more than {MAX_PAYLOAD_BYTES} bytes")
        size = end + 1 + num_data
        if len(self._unread) < size:
            return None
        event = bytes(self._unread[:size])
        del self._unread[:size]
        skipped = min(num_payload, len(self._unread))
        del self._unread[:skipped]
        self._num_to_skip = num_payload - skipped
        if not self._num_to_skip:
            self._reader.begin()
        self._budget.spend(skipped)
        return event


def _closed(*, is_clean: bool) -> ConnectionClosed:
    return (ConnectionClosedOK if is_clean else ConnectionClosedError)(None, None)
