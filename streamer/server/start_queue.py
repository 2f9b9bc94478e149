"""The queue of utterances that wait for the synthesizer to have room; `admission` keeps one for all clients.

It is fair among clients: the one with the fewest utterances in service is served next, and if the queue is full, the
one with the most is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Collection
from typing import Final

from streamer.errors import OverloadedError
from streamer.server.flow_control import Clock
from streamer.synthesis import Room

POLL_S: Final = 0.02
"""How often the synthesizer is asked for room while an utterance waits for it."""
TELL_AFTER_S: Final = 0.3
"""How long an utterance waits before its client is told so: of some that begin at one moment each waits for a first
sound or two of the others, and is heard soon."""
TELL_S: Final = 0.25
"""How often a waiting client is told its place, if that has changed."""
MAX_WAITING: Final = 256
"""Utterances that may wait before one is refused at once."""
RETRY_RANGE_S: Final = (0.5, 30.0)
"""Bounds of the time after which a refused client is told to try again."""
JITTER: Final = 0.1
"""By which part of it that time varies, so that clients that were refused together do not return together."""
Tell = Callable[[int], object]
"""Called with a waiting utterance's place in the queue, from 1, when that has changed."""


class ClientShare:
    """What one client has of the synthesizer. `weight`: how much it may have, relative to other clients."""

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight
        self.num_in_service = 0
        self.sound_s = 0.0
        """How much of their sound was made."""
        self.num_beyond = 0
        """How many of these were let in although there was no place."""
        self.turn = 0
        """When one of its utterances was last let in, counted in turns of all clients; 0: none was yet."""
        self.returns_at_s = 0.0
        """When the last of its refused utterances was told to be tried again."""

    def of(self, num_more: int = 0) -> float:
        """Return what the client has with this many more utterances in service, by its weight."""
        return (self.num_in_service + num_more) / self.weight

    def has_less_than(self, other: ClientShare, num_more: int = 0) -> bool:
        """Whether, with these, it has fewer in service than one with several, or as many and less of their sound."""
        if other.num_in_service < 2:
            return False
        ours = (self.of(num_more), self.sound_s / self.weight)
        return ours < (other.of(), other.sound_s / other.weight)

    def retry_after_s(self, now_s: float, wait_s: float, interval_s: float) -> float:
        """Return when a refused utterance is to be tried again, each of this client's later than the one before.

        `wait_s`: until there may be room for the first; `interval_s`: until there may be room for another.
        """
        shortest_s, longest_s = RETRY_RANGE_S
        self.returns_at_s = max(now_s + wait_s, self.returns_at_s + interval_s)
        self.returns_at_s = min(now_s + longest_s, self.returns_at_s)
        retry_s = (self.returns_at_s - now_s) * random.uniform(1 - JITTER, 1 + JITTER)  # nosec B311
        return round(max(shortest_s, retry_s), 2)


class _Waiting:
    """One utterance in the queue; `has_begun`: its client has heard some of it already."""

    def __init__(
        self, share: ClientShare, number: int, tell: Tell, tell_at_s: float, *, has_begun: bool
    ) -> None:
        self.share = share
        self.number = number
        self.tell = tell
        self.tell_at_s = tell_at_s
        self.has_begun = has_begun
        self.is_let_in = False
        self.refusal: OverloadedError | None = None
        self.is_decided = asyncio.Event()
        self.told_place = 0


class StartQueue:
    """Lets utterances in as far as the synthesizer has room; `room` is None if it refuses none.

    There is room for a new utterance if the machine can supply one listener more, and if hardly any of the present ones
    is so short of sound that it would underrun. A client that has less than another with several in service waits for
    neither (as long as those let in like this are fewer than the places), and its sentences are preferred: one that
    takes everything does not keep the others out, and hears itself what it costs. An utterance that has begun waits for
    a place only.
    """

    def __init__(self, room: Callable[[], Room | None], now_s: Clock = time.monotonic) -> None:
        self._room = room
        self._now_s = now_s
        self._waiting: list[_Waiting] = []
        self._arriving: set[_Waiting] = set()  # let in, and not known to the synthesizer yet
        self._in_service: set[ClientShare] = set()
        self._returning: set[ClientShare] = set()  # refused; some have returned since
        self._numbers = itertools.count()
        self._turns = itertools.count(1)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def num_waiting(self) -> int:
        """The utterances that wait."""
        return len(self._waiting)

    async def enter(
        self, share: ClientShare, timeout_s: float, tell: Tell, *, has_begun: bool = False
    ) -> None:
        """Return when the utterance may ask the synthesizer for a sentence, which it must do at once.

        It must `leave` later. Raises `OverloadedError` for a new utterance for which there is no room within
        `timeout_s`. One that `has_begun` is never refused.
        """
        tell_at_s = self._now_s() + TELL_AFTER_S
        waiting = _Waiting(share, next(self._numbers), tell, tell_at_s, has_begun=has_begun)
        self._waiting.append(waiting)
        self._serve()
        try:
            if not waiting.is_let_in:
                self._refuse_one_too_many()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(None if has_begun else timeout_s):
                        await waiting.is_decided.wait()
        except asyncio.CancelledError:
            if waiting.is_let_in:
                self.leave(share)
            raise
        finally:
            self._arriving.discard(waiting)
            if not waiting.is_let_in and waiting in self._waiting:
                self._waiting.remove(waiting)
        if not waiting.is_let_in:
            raise waiting.refusal or self._refusal(waiting)

    def leave(self, share: ClientShare) -> None:
        """Count an utterance out that was let in: it has no unfinished sentence any more."""
        share.num_in_service -= 1
        share.num_beyond = min(share.num_beyond, share.num_in_service)
        if not share.num_in_service:
            self._in_service.discard(share)
        self._serve()

    def is_preferred(self, share: ClientShare) -> bool:
        """Whether a client's sentences go before others': it has less than another client, and there is no room."""
        room = self._room()
        return room is not None and not room.is_enough() and self._is_behind(share)

    def retry_after_s(self, share: ClientShare, number: float = math.inf) -> float:
        """Return when a client that is refused now should try again, if listeners stay as long as earlier ones did.

        Its turn comes behind the clients in service, those that have waited for longer than its utterance, which has
        this `number`, and those that were refused before and have still to return.
        """
        room, now_s = self._room(), self._now_s()
        interval_s, longest_s = RETRY_RANGE_S
        if room is not None:
            self._returning = {other for other in self._returning if other.returns_at_s > now_s}
            waiting = {other.share for other in self._waiting if other.number < number}
            num_clients = len(self._in_service | self._returning | waiting | {share})
            interval_s = room.mean_stay_s / room.max_listeners * num_clients
            if interval_s < longest_s:  # beyond that all are told the same, and more need not be remembered
                self._returning.add(share)
        return share.retry_after_s(now_s, interval_s, interval_s)

    def _serve(self) -> None:
        """Let in whoever may begin now, and look again soon if others wait."""
        if not self._waiting:
            return
        room = self._room()
        for waiting in self._in_order():
            if room is None or self._may_begin(waiting, room):
                has_place = room is None or room.num_listeners + len(self._arriving) < room.max_listeners
                waiting.share.num_beyond += not has_place
                self._waiting.remove(waiting)
                self._arriving.add(waiting)
                self._in_service.add(waiting.share)
                waiting.share.num_in_service += 1
                waiting.share.turn = next(self._turns)
                waiting.is_let_in = True
                waiting.is_decided.set()
        if self._waiting and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(POLL_S, self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        self._serve()
        now_s = self._now_s()
        due = [waiting for waiting in self._waiting if waiting.tell_at_s <= now_s and not waiting.has_begun]
        if due:
            self._tell(due, now_s + TELL_S)

    def _in_order(self) -> list[_Waiting]:
        """Return the waiting utterances in the order of service.

        They are ordered by what their clients have, then by who was let in longest ago (else a client with a long queue
        would take every turn of a machine with one place), then as they came.
        """
        num_before = Counter[ClientShare]()
        keys: list[tuple[float, int, int, _Waiting]] = []
        for waiting in sorted(self._waiting, key=lambda waiting: (not waiting.has_begun, waiting.number)):
            share = waiting.share
            keys.append((share.of(num_before[share]), share.turn, waiting.number, waiting))
            num_before[share] += 1
        return [waiting for *_, waiting in sorted(keys, key=lambda key: key[:3])]

    def _may_begin(self, waiting: _Waiting, room: Room) -> bool:
        num_arriving = len(self._arriving)
        if room.is_enough(num_arriving):
            return True
        num_listeners, num_places = room.num_listeners + num_arriving, room.max_listeners
        if self._is_behind(waiting.share, 1):
            is_crowded = room.num_unheard + num_arriving > room.max_short
            num_beyond = sum(other.num_beyond for other in self._in_service)
            return num_beyond < num_places and (waiting.has_begun or not is_crowded)
        return waiting.has_begun and num_listeners < num_places

    def _is_behind(self, share: ClientShare, num_more: int = 0) -> bool:
        return any(share.has_less_than(other, num_more) for other in self._in_service)

    def _refuse_one_too_many(self) -> None:
        if len(self._waiting) <= MAX_WAITING:
            return
        new = [waiting for waiting in self._in_order() if not waiting.has_begun]
        if len(new) > MAX_WAITING:
            self._waiting.remove(new[-1])
            new[-1].refusal = self._refusal(new[-1])
            new[-1].is_decided.set()

    def _refusal(self, waiting: _Waiting) -> OverloadedError:
        room = self._room()
        served = "" if room is None else f"{room.num_listeners} utterances are being spoken, and "
        message = f"{served}this machine cannot keep one more supplied with sound: try later"
        return OverloadedError(message, retry_after_s=self.retry_after_s(waiting.share, waiting.number))

    def _tell(self, some: Collection[_Waiting], next_at_s: float) -> None:
        """Tell these their places, which are found once for all of them, unless they know them."""
        places = {waiting: place for place, waiting in enumerate(self._in_order(), 1)}
        for waiting in some:
            waiting.tell_at_s = next_at_s
            if places[waiting] != waiting.told_place:
                waiting.told_place = places[waiting]
                waiting.tell(waiting.told_place)
