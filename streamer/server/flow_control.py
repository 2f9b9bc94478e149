"""How fast data may flow: sound by the client's playback, frames by what the client takes, text by its bytes.

Kernel buffers take minutes of Opus for a client that reads nothing, so waiting for `send` paces nothing.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Final, Protocol

from streamer.server.light_event import LightEvent

OUTBOX_FRAMES: Final = 64
"""How many frames of a connection wait to be written before nothing more is put."""
REST_MS: Final = 200
"""How long an utterance rests that has sent all it may; then it sends what has become due at once, because a timer and
a wake-up for every packet cost more than the packet."""
BEAT_S: Final = 0.02
"""Rests end at multiples of this time, so that one wake-up of the process serves every utterance that is due."""
LATE_S: Final = 0.2
"""How late a packet may leave that was made in time; if playback stops for longer, the event loop is to blame."""
Clock = Callable[[], float]


class PlaybackClock:
    """Knows how far the client has played an utterance's sound, and so when the next packet may leave.

    `lead_ms` is how much sound the client may have that it has not played; None for no limit. Times in ms are
    positions in the utterance's sound.
    """

    def __init__(self, lead_ms: int | None, now_s: Clock = time.monotonic) -> None:
        self.lead_ms = lead_ms
        self._now_s = now_s
        self._zero_s: float | None = None  # when position 0 was played, or would have been
        self._earliest_s: float | None = None  # not before the utterance before this one is over
        self._sent_ms = 0.0
        self._moved = LightEvent()

    @property
    def is_paced(self) -> bool:
        return self.lead_ms is not None

    @property
    def position_ms(self) -> float:
        """What is being played now; negative while the utterance before this one still plays."""
        if self._zero_s is not None:
            return min((self._now_s() - self._zero_s) * 1000, self._sent_ms)
        if self._earliest_s is not None:
            return min((self._now_s() - self._earliest_s) * 1000, 0.0)
        return 0.0

    @property
    def sent_ms(self) -> float:
        """How much sound was sent."""
        return self._sent_ms

    @property
    def ends_s(self) -> float:
        """When all that was sent so far will have been played."""
        if self._zero_s is None:
            return self._now_s()
        return self._zero_s + self._sent_ms / 1000

    @property
    def remaining_s(self) -> float:
        """How long what was sent so far still plays."""
        return max(0.0, self._sent_ms - self.position_ms) / 1000

    def begin_after(self, other: PlaybackClock) -> None:
        """Expect this sound to be played once the other's is over."""
        self._earliest_s = other.ends_s

    def wait_s(self, start_ms: float, end_ms: float) -> float:
        """How long the packet from `start_ms` to `end_ms` has to wait."""
        if self.lead_ms is None:
            return 0.0
        return max(0.0, min(start_ms, end_ms - self.lead_ms) - self.position_ms) / 1000

    async def until_due(self, start_ms: float, end_ms: float) -> bool:
        """Return when that packet may leave, which a report of the client may bring forward.

        The result is whether it can leave in time: it was made before, and the event loop was not late either.
        """
        loop = asyncio.get_running_loop()
        is_in_time = False
        while (wait_s := self.wait_s(start_ms, end_ms)) > 0:
            due_s = loop.time() + wait_s
            rested_s = due_s + min(REST_MS, (self.lead_ms or 0) / 4) / 1000
            self._moved.clear()
            leaves_s = max(due_s, rested_s // BEAT_S * BEAT_S)
            timer = loop.call_at(leaves_s, self._moved.set)
            try:
                await self._moved.wait()
            finally:
                timer.cancel()
            is_in_time = loop.time() < leaves_s + LATE_S
        return is_in_time

    def sent(self, start_ms: float, end_ms: float) -> float:
        """Note a packet that was sent; returns for how many seconds playback had underrun before it."""
        now_s = self._now_s()
        underrun_s = 0.0
        if self._zero_s is None:
            self._zero_s = max(now_s, self._earliest_s or 0.0)
        else:
            underrun_s = max(0.0, now_s - self._zero_s - start_ms / 1000)
            self._zero_s += underrun_s
        self._sent_ms = max(self._sent_ms, end_ms)
        return underrun_s

    def played(self, position_ms: float) -> None:
        """Set the clock by what the client says to have played; before any sound there is nothing to play."""
        if self._zero_s is None:
            return
        self._zero_s = self._now_s() - min(position_ms, self._sent_ms) / 1000
        self._moved.set()


class SlowClientError(Exception):
    """The client took nothing for too long, and its connection was cut."""


class Writable(Protocol):
    """The part of `websocket.WebSocket` that the outbox writes to."""

    @property
    def transport(self) -> asyncio.Transport: ...

    def try_send_all(self, messages: Sequence[str | bytes]) -> bool: ...

    async def send_all(self, messages: Sequence[str | bytes]) -> None: ...


class Outbox:
    """The bounded queue of a connection's frames, which a task writes for as long as there are any.

    `begin` runs that task beside others whose end is its own. The task raises `SlowClientError` if the client takes
    nothing for `write_timeout_s`.
    """

    def __init__(
        self,
        connection: Writable,
        write_timeout_s: float,
        count_bytes: Callable[[int], None],
        begin: Callable[[Coroutine[None, None, None]], object],
    ) -> None:
        self._connection = connection
        self._write_timeout_s = write_timeout_s
        self._count_bytes = count_bytes
        self._begin = begin
        self._frames: list[str | bytes] = []
        self._has_room, self._is_written = LightEvent(), LightEvent()
        self._is_written.set()

    async def put(self, frame: str | bytes) -> None:
        """Add a frame once there is room."""
        while len(self._frames) >= OUTBOX_FRAMES:
            self._has_room.clear()
            await self._has_room.wait()
        self._frames.append(frame)
        if self._is_written.is_set():
            self._is_written.clear()
            self._begin(self._write())

    async def emptied(self) -> None:
        """Return when everything put so far was written."""
        await self._is_written.wait()

    async def _write(self) -> None:
        while self._frames:
            frames, self._frames = self._frames, []
            self._has_room.set()
            if not self._connection.try_send_all(frames):
                await self._send_in_time(frames)
            self._count_bytes(sum(map(size_bytes, frames)))
        self._is_written.set()

    async def _send_in_time(self, frames: Sequence[str | bytes]) -> None:
        try:
            async with asyncio.timeout(self._write_timeout_s):
                await self._connection.send_all(frames)
        except TimeoutError:
            self._connection.transport.abort()
            raise SlowClientError from None


def size_bytes(frame: str | bytes) -> int:
    """The size of a frame's payload; that of a text is counted in UTF-8."""
    return len(frame) if isinstance(frame, bytes) or frame.isascii() else len(frame.encode())


class Budget:
    """How much a client may send, in bytes or frames: a token bucket, which fills steadily and holds a burst.

    `max_debt`: how much more than there is can be owed. What one connection owes it pays itself; what many have
    in common must not be owed without bound, because others would pay for those that have left.
    """

    __slots__ = ("_available", "_burst", "_max_debt", "_now_s", "_per_s", "_updated_s")

    def __init__(
        self, per_s: float, burst: float, now_s: Clock = time.monotonic, max_debt: float = math.inf
    ) -> None:
        self._max_debt = max_debt
        self._per_s = per_s
        self._burst = burst
        self._available = burst
        self._now_s = now_s
        self._updated_s = now_s()

    def spend(self, amount: float) -> float:
        """Take this much; returns for how many seconds nothing more should be read."""
        now_s = self._now_s()
        self._available += (now_s - self._updated_s) * self._per_s
        self._available = max(min(self._available, self._burst) - amount, -self._max_debt)
        self._updated_s = now_s
        return max(0.0, -self._available / self._per_s)

    def take(self, amount: float) -> bool:
        """Take this much if there is as much; returns whether it was taken. Nothing is owed."""
        self.spend(0.0)
        if self._available < amount:
            return False
        self._available -= amount
        return True

    @property
    def is_full(self) -> bool:
        """Whether nothing was taken lately, so that there is nothing to remember."""
        return self._available + (self._now_s() - self._updated_s) * self._per_s >= self._burst
