"""A WebSocket on an accepted connection: the protocol is `websockets`' sans-I/O one, the reading and writing ours.

`handshakes` answers what comes before; `session` receives and sends messages.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Sequence
from typing import Final

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from streamer.server.connection import ClientGoneError, Connection
from streamer.server.flow_control import Budget
from streamer.server.light_event import LightEvent
from streamer.server.message_reader import MessageReader

logger = logging.getLogger(__name__)
PING_TIMEOUT_S: Final = 10.0
"""The time that a client has to answer a ping."""
CLOSE_TIMEOUT_S: Final = 3.0
"""The time that a client has to answer a close."""
MAX_MESSAGES: Final = 8
"""Received messages beyond which no more are read."""
FRAMES_PER_S: Final = 20
FRAMES_BURST: Final = 40
"""How many frames without a whole message in them a client may send: control frames, fragments and empty ones."""
MAX_PAUSES: Final = 3
"""How often in a row a client may exceed that, for which it is not read for a while, before it is cut off."""
SLICE_BYTES: Final = 512
"""How much of what came is taken apart at once: it may be a hundred frames."""
FRAME_BEHIND_END_S: Final = 0.0001
"""How long nothing is read after a frame that comes behind a close and only costs time."""
_TICK_TOLERANCE_S: Final = 0.001
"""How much sooner than it was asked for a timer may be called, because the loop's clock has a resolution."""
_MAX_REASON_BYTES: Final = 123
"""What a close frame holds of a reason (RFC 6455, section 5.5)."""


class WebSocket:
    """An open WebSocket, from the end of its handshake to the end of the connection."""

    __slots__ = (
        "_arrived", "_closed", "_connection", "_cut", "_first_bytes", "_fragments", "_frame_budget",
        "_has_room", "_is_taking", "_is_text", "_messages", "_num_pauses", "_num_unfinished_bytes", "_ping",
        "_ping_interval_s", "_ping_timer", "_pinged_s", "_protocol", "_reader",
    )  # fmt: skip

    def __init__(
        self, connection: Connection, first_bytes: bytes, *, max_size: int, ping_interval_s: float
    ) -> None:
        self._connection = connection
        self._reader = MessageReader(connection)
        self._first_bytes = first_bytes
        self._ping_interval_s = ping_interval_s
        self._protocol = ServerProtocol(state=State.OPEN, max_size=(max_size, max_size))
        self._fragments: list[bytes] = []
        self._num_unfinished_bytes = 0  # of the frame that has begun
        self._frame_budget: Budget | None = None  # made by the first frame that it counts
        self._num_pauses = 0
        self._is_text = False
        self._is_taking = True
        self._messages: list[str | bytes] = []
        self._arrived, self._has_room, self._closed = LightEvent(), LightEvent(), LightEvent()
        self._ping = b""  # that has not been answered
        self._pinged_s = 0.0
        self._ping_timer: asyncio.TimerHandle
        self._cut: asyncio.TimerHandle | None = None

    @property
    def transport(self) -> asyncio.Transport:
        """The transport, to abort it."""
        return self._connection.transport

    @property
    def close_code(self) -> int | None:
        """The code of the close; None before the connection has ended."""
        return self._protocol.close_code

    async def serve(self, session: Awaitable[None]) -> None:
        """Run the session, reading and pinging beside it, and close."""
        self._connection.when_ended = self._drop_messages
        # A task group would take as much memory as the task. Whatever ends the reading has the session end.
        loop = asyncio.get_running_loop()
        reading = loop.create_task(self._read())
        self._pinged_s = loop.time()
        self._ping_timer = loop.call_later(self._ping_interval_s, self._tick)
        try:
            await session
            await self.close()
        except Exception:
            logger.exception("an unexpected error")
            await self.close(CloseCode.INTERNAL_ERROR)
        finally:
            self._ping_timer.cancel()
            reading.cancel()
            await asyncio.wait((reading,))
        if not reading.cancelled():
            reading.result()

    async def recv(self) -> str | bytes:
        """Return the next message; raises `websockets.exceptions.ConnectionClosed`. Cancelling it loses nothing."""
        while not self._messages:
            if self._closed.is_set():
                raise self._protocol.close_exc
            self._arrived.clear()
            await self._arrived.wait()
        self._has_room.set()
        return self._messages.pop(0)

    async def rest(self, pause_s: float) -> None:
        """Let this time pass before the next message is taken, unless the connection ends."""
        await self._connection.ended.wait_for(pause_s)

    def try_send_all(self, messages: Sequence[str | bytes]) -> bool:
        """Send several messages if that needs no waiting; returns whether they were sent."""
        is_open = self._protocol.state is State.OPEN and not self.transport.is_closing()
        if self._connection.is_congested or not is_open:
            return False
        self._write_messages(messages)
        return True

    async def send_all(self, messages: Sequence[str | bytes]) -> None:
        """Send several messages, and wait for room once. Raises `websockets.exceptions.ConnectionClosed`."""
        if self._protocol.state is State.OPEN:
            self._write_messages(messages)
            try:
                return await self._connection.drain()
            except ClientGoneError:
                pass
        await self._closed.wait()
        raise self._protocol.close_exc

    async def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close with this code, unless closing has begun, and wait for the end of the connection.

        Messages that were not taken are dropped, and so are those that still come: the end comes behind them.
        """
        self._drop_messages()
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore"))
            self._write()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._closed.wait()
        except TimeoutError:
            self._connection.abort()
            await self._closed.wait()

    def _write_messages(self, messages: Sequence[str | bytes]) -> None:
        for message in messages:
            if isinstance(message, str):
                self._protocol.send_text(message.encode())
            else:
                self._protocol.send_binary(message)
        self._write()

    def _write(self) -> None:
        """Write what the protocol has to send, in one piece."""
        pieces = self._protocol.data_to_send()
        if data := b"".join(pieces):
            self._connection.write(data)
        if b"" in pieces:  # so the library says that nothing will follow
            self._connection.write_eof()
            if not self._closed.is_set():
                self._cut = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._connection.abort)

    async def _read(self) -> None:
        """Take frames from the connection until its end."""
        try:
            data = self._first_bytes or await self._connection.read()
            while data:
                for start in range(0, len(data), SLICE_BYTES):
                    await self._receive(data[start : start + SLICE_BYTES])
                    if self._connection.lost.is_set():
                        return
                # A close may have come with the end, and is in what was read then; the rest is for nobody.
                data = b"" if self._connection.ended.is_set() else await self._read_more()
        finally:
            self._protocol.receive_eof()
            if self._cut is not None:
                self._cut.cancel()  # it would keep the connection in memory
            self._closed.set()
            self._arrived.set()

    def _stop_taking(self) -> None:
        """From now on only the end of the connection is waited for, at which messages no longer count."""
        self._is_taking = False
        self._has_room.set()

    def _drop_messages(self) -> None:
        """Have nothing more of what the client said carried out."""
        self._stop_taking()
        self._messages.clear()

    async def _receive(self, data: bytes) -> None:
        """Take these bytes apart, and return when more may be read."""
        self._num_unfinished_bytes += len(data)
        self._protocol.receive_data(data)
        frames = self._protocol.events_received()
        num_costless = self._take(frames)
        self._write()
        if not self._is_taking:
            await self._connection.ended.wait_for(len(frames) * FRAME_BEHIND_END_S)
        elif num_costless and (pause_s := self._count_costless(num_costless)):
            self._num_pauses += 1
            if self._num_pauses > MAX_PAUSES:
                self._fail(CloseCode.POLICY_VIOLATION, "too many control frames, fragments or empty messages")
            else:
                await self._connection.ended.wait_for(pause_s)
        elif num_costless == 0:
            self._num_pauses = 0
        while len(self._messages) >= MAX_MESSAGES and self._is_taking:
            self._has_room.clear()
            await self._has_room.wait()

    async def _read_more(self) -> bytes:
        """Read on; a message that has begun must end in time."""
        has_begun = bool(self._fragments or self._num_unfinished_bytes) and self._is_taking
        try:
            return await self._reader.read(has_begun=has_begun)
        except TimeoutError:
            self._fail(CloseCode.POLICY_VIOLATION, "the rest of a message did not come in time")
            return await self._connection.read()

    def _take(self, frames: Sequence[object]) -> int:
        """Take in the frames; returns how many of them cost their sender next to nothing."""
        num_costless = 0
        for frame in frames:
            assert isinstance(frame, Frame)
            if not self._is_taking:
                break
            self._num_unfinished_bytes -= _num_bytes(frame)
            if frame.opcode is Opcode.PONG and self._ping and bytes(frame.data) == self._ping:
                self._ping = b""  # so that another pong like this one is costless
            else:
                is_whole = frame.fin and frame.data and frame.opcode in (Opcode.TEXT, Opcode.BINARY)
                num_costless += not is_whole
            if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                self._take_fragment(frame)
            if not self._fragments:  # a ping between two fragments gives their message no more time
                self._reader.begin()
        return num_costless

    def _count_costless(self, number: int) -> float:
        """Count frames; returns for how many seconds nothing more is to be read."""
        self._frame_budget = self._frame_budget or Budget(FRAMES_PER_S, FRAMES_BURST)
        return self._frame_budget.spend(number)

    def _take_fragment(self, frame: Frame) -> None:
        if frame.opcode is not Opcode.CONT:
            self._is_text = frame.opcode is Opcode.TEXT
        self._fragments.append(bytes(frame.data))
        if not frame.fin:
            return
        message = b"".join(self._fragments)
        self._fragments.clear()
        try:
            self._messages.append(message.decode() if self._is_text else message)
            self._arrived.set()
        except UnicodeDecodeError as error:
            self._fail(CloseCode.INVALID_DATA, f"{error.reason} at position {error.start}")

    def _tick(self) -> None:
        """Ping the client when that is due, and give it up if it does not answer in time.

        An answer cancels no timer, because the loop would keep each cancelled one for a while.
        """
        if self._protocol.state is not State.OPEN:
            return
        loop = asyncio.get_running_loop()
        waited_s = loop.time() - self._pinged_s + _TICK_TOLERANCE_S
        if self._ping and waited_s >= PING_TIMEOUT_S:
            self._fail(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")
            return
        next_s = PING_TIMEOUT_S if self._ping else self._ping_interval_s
        if not self._ping and waited_s >= self._ping_interval_s:
            self._ping, self._pinged_s = secrets.token_bytes(4), loop.time()
            self._protocol.send_ping(self._ping)
            self._write()
            next_s = min(PING_TIMEOUT_S, self._ping_interval_s)
        self._ping_timer = loop.call_at(self._pinged_s + next_s, self._tick)

    def _fail(self, code: CloseCode, reason: str) -> None:
        self._stop_taking()
        self._protocol.fail(code, reason)
        self._write()


def _num_bytes(frame: Frame) -> int:
    """The bytes of a client's frame on the wire (RFC 6455, section 5.2): header, length, mask and payload."""
    num_bytes = len(frame.data)
    return 2 + (0 if num_bytes < 126 else 2 if num_bytes < 65_536 else 8) + 4 + num_bytes
