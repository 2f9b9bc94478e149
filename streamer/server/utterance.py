"""An utterance as protocol, session and speaker share it: its text, how far the client has heard it, its place in line.

What only one of them needs is kept there.
"""

from __future__ import annotations

import asyncio
import time

from streamer.audio.formats import AudioFormat
from streamer.server.flow_control import PlaybackClock
from streamer.server.heard import HeardWords
from streamer.speech.events import SentenceStarted, SpeechEvent, WordTimes
from streamer.speech.settings import SpeechSettings
from streamer.speech.text_feed import Piece, TextFeed
from streamer.telemetry.traces import NO_SPAN, Span


class Utterance:
    """One utterance, from its opening to its end and a little longer.

    `id` is the client's name for it; `trace_id` is ours, in every log line about it, and unique within the process.
    `pre_skip`: samples at 48 kHz that a decoder gives before the sound begins. `starts_safely`: whether the first
    packet is held until playback will not stop. `is_over` is set when nothing more of the utterance will be sent.
    """

    def __init__(
        self,
        utterance_id: str,
        trace_id: str,
        settings: SpeechSettings,
        audio_format: AudioFormat,
        clock: PlaybackClock,
        *,
        pre_skip: int = 0,
        starts_safely: bool = False,
        after: Utterance | None = None,
        span: Span = NO_SPAN,
    ) -> None:
        self.id = utterance_id
        self.trace_id = trace_id
        self.settings = settings
        self.audio_format = audio_format
        self.clock = clock
        self.pre_skip = pre_skip
        self.starts_safely = starts_safely
        self.span = span
        self.feed = TextFeed()
        self.first_text_s: float | None = None
        self.num_begun_chars = 0
        """Characters up to the end of the last sentence that has begun to be sent."""
        self.was_stopped = False
        self.is_over = asyncio.Event()
        self._after = after
        self._active_s = time.monotonic()
        self._words = HeardWords()
        self._played_ms: float | None = None

    @property
    def num_waiting_chars(self) -> int:
        """Characters that were written and have not begun to be sent."""
        return self.feed.num_chars - self.num_begun_chars

    @property
    def silent_s(self) -> float:
        """For how long nothing was written or sent, while its text was awaited and its turn had come."""
        is_waiting_for_turn = self._after is not None and not self._after.is_over.is_set()
        if is_waiting_for_turn or not self.feed.is_awaited:
            return 0.0
        return time.monotonic() - self._active_s

    def touch(self) -> None:
        """Note that something was written or sent."""
        self._active_s = time.monotonic()

    def write(self, piece: Piece) -> None:
        """Append text, a flush or the end."""
        self.touch()
        if self.first_text_s is None and piece and isinstance(piece, str):
            self.first_text_s = time.monotonic()
        self.feed.put(piece)

    def follow(self, event: SpeechEvent) -> None:
        """Note how far the sound has come, which `heard_chars` is judged by."""
        if isinstance(event, SentenceStarted):
            self.num_begun_chars = max(self.num_begun_chars, event.char_end)
            self._words.begin_sentence(event.expected_words)
        elif isinstance(event, WordTimes):
            self._words.end_sentence(event.words)

    def played(self, position_ms: float) -> None:
        """Note what the client says to have played, and pace by it."""
        self._played_ms = position_ms
        self.clock.played(position_ms)

    def stopped_at(self, played_ms: float | None) -> None:
        """Note how much of the sound the client had played when it cancelled; None if it did not say so."""
        self._played_ms = self._played_ms if played_ms is None else played_ms

    def heard_chars(self, played_ms: float | None = None) -> int | None:
        """The end in the text of the last word that was heard whole until `played_ms`.

        Without `played_ms` the client's last report counts, and without a report the clock; None without either.
        """
        if played_ms is None:
            played_ms = self._played_ms
        if played_ms is None and self.clock.is_paced:
            played_ms = self.clock.position_ms
        if played_ms is None:
            return None
        # What was not sent cannot have been heard, whatever the client says.
        return self._words.until(min(played_ms, self.clock.sent_ms))

    async def wait_for_turn(self) -> None:
        """Return when every utterance that this one is to be heard behind is over."""
        while (before := self._after) is not None:
            await before.is_over.wait()
            if not before.was_stopped:
                self.clock.begin_after(before.clock)
            self._after = before._after  # set if that one was cancelled while it waited itself

    def close_ranks(self) -> None:
        """Stand directly behind what cancelled utterances stood behind, and forget these."""
        while self._after is not None and self._after._after is not None and self._after.is_over.is_set():
            self._after = self._after._after
