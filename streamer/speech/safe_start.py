"""Holds an utterance's first packet until playback will not stop, for `start: "safe"`; wraps `pipeline.speak`."""

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
"""How long a character is expected to take, which is slow speech, until a sentence of the utterance has shown it."""
LARGEST_CHUNK_S: Final = 7.0
"""The longest piece in which sound may arrive, after a time in which nothing came."""
CHUNK_APART_S: Final = 0.01
"""Packets that come sooner after each other than this belong to one chunk."""
LONGEST_WAIT_S: Final = 3600.0
MEASURED_AFTER_S: Final = 3.0
"""The sound of an utterance, in seconds, after which its measured speed counts more than the expected one."""


async def start_safely(
    events: AsyncGenerator[SpeechEvent, None],
    feed: TextFeed,
    expected_speed: float | None,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncGenerator[SpeechEvent, None]:
    """Yield the events of an utterance, all of them held until its known text can be played without a stop.

    `expected_speed` is how many seconds of sound are made per second, None if that is not known; at 1 and more nothing
    is held. If something is, `PlaybackDelayed` comes once before everything.
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
    """Estimates how fast sound comes, and how much is still to come of the text that is known."""

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
            # The machine is not to blame for a pause of the writer.
            self._busy_until_s = max(self._busy_until_s, event.text_ready_s)

    def wait_s(self) -> float:
        """How much longer to wait, by what is known now; 0 if playback can begin."""
        speed = self._speed or 0.0
        if self.sound_s >= MEASURED_AFTER_S or self._speed is None:
            speed = self.sound_s / max(1e-6, self._busy_s)
        if speed >= 1:
            return 0.0
        num_chars = self._feed.num_ready_chars
        to_come_s = max(0.0, num_chars * self._seconds_per_character - self.sound_s)
        if self._num_spoken_chars >= num_chars:
            to_come_s = 0.0
        # When the last piece arrives, everything before it may just have been played.
        needed_s = to_come_s / speed - max(0.0, to_come_s - LARGEST_CHUNK_S)
        # It is never longer than until all of the sound is made.
        return min(LONGEST_WAIT_S, max(0.0, min(to_come_s, needed_s - self.sound_s)) / speed)
