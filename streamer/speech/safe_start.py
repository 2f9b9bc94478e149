"""Holds an utterance's first packet until play can go on unbroken, for `start: "safe"`; wraps `pipeline.speak`."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import AsyncGenerator, Callable
from typing import Final

from streamer.audio.packets import TIMESTAMP_HZ, Packet
from streamer.speech.events import (
    PlaybackDelayed,
    SentenceEnded,
    SentenceStarted,
    SpeechEnded,
    SpeechEvent,
)
from streamer.speech.text_feed import TextFeed

SECONDS_PER_CHARACTER: Final = 0.075
"""Slow speech, until a sentence of this utterance has shown its own."""
LARGEST_CHUNK_S: Final = 7.0
"""Sound may arrive in pieces as long as this, after a silence in which all of it was made."""
CHUNK_APART_S: Final = 0.01
"""Packets that come sooner after each other are of one chunk."""
LONGEST_WAIT_S: Final = 3600.0
MEASURED_AFTER_S: Final = 3.0
"""So much sound of this utterance says more of the machine's speed than what was expected."""


async def start_safely(
    events: AsyncGenerator[SpeechEvent, None],
    feed: TextFeed,
    expected_speed: float | None,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncGenerator[SpeechEvent, None]:
    """Yield the events of an utterance, all of them held until its known text can be played without a stop.

    `expected_speed`: seconds of sound made per second; None: not known. From 1 on nothing is held. `HeldBack`
    comes once, before everything, where something is.
    """
    held: list[SpeechEvent] = []
    estimate = _Estimate(feed, expected_speed, clock)
    has_told = False
    async with contextlib.aclosing(events):
        async for event in events:
            held.append(event)
            estimate.add(event)
            is_over = isinstance(event, SpeechEnded)
            wait_s = 0.0 if is_over or not estimate.sound_s else estimate.wait_s()
            if wait_s > 0 and not has_told and estimate.is_measured:
                has_told = True
                yield PlaybackDelayed(round(1000 * wait_s))
            if wait_s == 0 and (is_over or estimate.sound_s):
                break
        for event in held:
            yield event
        async for event in events:
            yield event


class _Estimate:
    """How much sound there is, how fast more comes, and how much is still to come of the text that is known."""

    def __init__(self, feed: TextFeed, expected_speed: float | None, clock: Callable[[], float]) -> None:
        self.sound_s = 0.0
        self._feed = feed
        self._speed = expected_speed
        self._clock = clock
        self.is_measured = expected_speed is not None
        """Whether anything is known of the speed: sound comes in chunks, and the first one says little."""
        self._busy_s = 0.0
        self._busy_until_s = -math.inf
        self._num_spoken_chars = 0
        self._seconds_per_character = SECONDS_PER_CHARACTER
        self._char_end = 0

    def add(self, event: SpeechEvent) -> None:
        if isinstance(event, Packet):
            self.sound_s = max(self.sound_s, (event.timestamp + event.duration) / TIMESTAMP_HZ)
            now_s = self._clock()
            self.is_measured |= self._busy_s > 0 and now_s > self._busy_until_s + CHUNK_APART_S
            self._busy_s += max(0.0, now_s - self._busy_until_s)
            self._busy_until_s = now_s
        elif isinstance(event, SentenceEnded):
            self._num_spoken_chars = self._char_end
            if self._char_end:
                self._seconds_per_character = self.sound_s / self._char_end
        elif isinstance(event, SentenceStarted):
            self._char_end = event.char_end
            # A writer's pause is none of the machine's time.
            self._busy_until_s = max(self._busy_until_s, event.text_ready_s)

    def wait_s(self) -> float:
        """How much longer to wait, by what is known now; 0: begin."""
        speed = self._speed or 0.0
        if self.sound_s >= MEASURED_AFTER_S or self._speed is None:
            speed = self.sound_s / max(1e-6, self._busy_s)
        if speed >= 1:
            return 0.0
        num_chars = self._feed.num_ready_chars
        to_come_s = max(0.0, num_chars * self._seconds_per_character - self.sound_s)
        if self._num_spoken_chars >= num_chars:
            to_come_s = 0.0
        # When the last piece arrives, all before it must just have been played.
        needed_s = to_come_s / speed - max(0.0, to_come_s - LARGEST_CHUNK_S)
        # Never longer than until all of it is made.
        return min(LONGEST_WAIT_S, max(0.0, min(to_come_s, needed_s - self.sound_s)) / speed)
