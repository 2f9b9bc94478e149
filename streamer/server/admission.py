"""Who may start: how much each client may have spoken at once, and how often it may begin.

A refusal is immediate and says when to come back. An utterance first waits until its client's rate lets it start, which
`asyncio_throttle` times, and then in the `start_queue` until the synthesizer has room. Connections are counted in
`places`, and what is read has a budget of its own in `flow_control`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

from asyncio_throttle.throttler import Throttler

from streamer.config import LimitsConfig
from streamer.errors import OverloadedError, RateLimitedError
from streamer.server.places import Places
from streamer.server.queued_synthesizer import QueuedSynthesizer
from streamer.server.start_queue import ClientShare, StartQueue, Tell
from streamer.synthesis import Room, Synthesizer
from streamer.telemetry.traces import NO_SPAN, Span

_POLL_S: Final = 0.02
_MAX_QUOTAS: Final = 10_000


class Permit:
    """The permission to speak one utterance: `wait` until it may begin, `release` it when it is over."""

    def __init__(self, quota: ClientQuota, queue: StartQueue, max_wait_s: float) -> None:
        self._quota = quota
        self._queue = queue
        self._max_wait_s = max_wait_s
        self._is_waiting = True
        self._is_released = False
        quota.num_open += 1
        quota.num_waiting += 1

    async def wait(self) -> None:
        """Return when the client's rate lets the utterance begin; cancelling it still needs `release`."""
        began_s = time.monotonic()
        await self._quota.throttler.acquire()
        self._max_wait_s -= time.monotonic() - began_s
        self._stop_waiting()

    def queued(
        self, synthesizer: Synthesizer, tell: Tell = lambda _place: None, span: Span = NO_SPAN
    ) -> QueuedSynthesizer:
        """Return the synthesizer for this utterance, whose sentences wait until there is room for them.

        `tell` is called with the utterance's place in the queue; `span` is its own. A wait that takes too long raises
        `OverloadedError`.
        """
        return QueuedSynthesizer(
            synthesizer, self._queue, self._quota.share, max(0.0, self._max_wait_s), tell, span
        )

    def release(self) -> None:
        """Give the permit back; a second time does nothing."""
        self._stop_waiting()
        if not self._is_released:
            self._is_released = True
            self._quota.num_open -= 1

    def _stop_waiting(self) -> None:
        if self._is_waiting:
            self._is_waiting = False
            self._quota.num_waiting -= 1


class _Throttler(Protocol):
    """The part of `asyncio_throttle.Throttler` used here; the library carries no types."""

    async def acquire(self) -> None: ...


class ClientQuota:
    """What one key has in use, or one address if there are no keys.

    The throttler alone decides when an utterance may start. It lets any number wait, so their number is bounded here.
    """

    def __init__(self, starts_per_s: int) -> None:
        self.num_open = 0
        self.num_waiting = 0
        self.share = ClientShare()
        self.throttler: _Throttler = Throttler(rate_limit=starts_per_s, period=1.0, retry_interval=_POLL_S)


class Admission:
    """Counts connections and utterances; one per server, for every protocol."""

    def __init__(self, limits: LimitsConfig, room: Callable[[], Room | None] = lambda: None) -> None:
        """`room` tells whether the synthesizer can take another listener."""
        self.queue = StartQueue(room)
        self.places = Places(limits)
        self._limits = limits
        self._quotas: dict[str, ClientQuota] = {}

    def admit(self, client_key: str, weight: float = 1.0) -> Permit:
        """Return the permit for one more utterance of a client, named by its key or its address.

        `weight`: how much the client may have, relative to others. Raises `OverloadedError` where too many of its
        utterances are open, `RateLimitedError` if too many of them wait for their start already; both say when to come
        back.
        """
        quota, limits = self._quota(client_key), self._limits
        quota.share.weight = weight
        if quota.num_open >= limits.max_utterances_per_key:
            raise OverloadedError(
                f"{quota.num_open} utterances are open, no more are allowed",
                retry_after_s=self.queue.retry_after_s(quota.share),
            )
        if quota.num_waiting > limits.max_start_wait_s * limits.max_starts_per_s:
            interval_s = 1 / limits.max_starts_per_s
            raise RateLimitedError(
                f"more than {limits.max_starts_per_s} utterances a second",
                retry_after_s=quota.share.retry_after_s(
                    time.monotonic(), quota.num_waiting * interval_s, interval_s
                ),
            )
        return Permit(quota, self.queue, limits.max_start_wait_s)

    def _quota(self, client_key: str) -> ClientQuota:
        """Return a client's quota. Those of clients that have nothing open are kept, until there are too many."""
        quota = self._quotas.get(client_key)
        if quota is None:
            if len(self._quotas) >= _MAX_QUOTAS:
                self._quotas = {name: kept for name, kept in self._quotas.items() if kept.num_open}
            quota = self._quotas[client_key] = ClientQuota(self._limits.max_starts_per_s)
        return quota
