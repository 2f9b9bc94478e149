"""What a session knows of one utterance: how it was asked for, how far it got, and why it was stopped.

`protocol` creates it, `speaker` speaks it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Literal

from streamer.errors import StreamerError
from streamer.server.admission import Permit
from streamer.server.flow_control import PlaybackClock
from streamer.server.heard import HeardWords
from streamer.server.native import messages
from streamer.speech.settings import SpeechSettings
from streamer.speech.text_feed import TextFeed


@dataclass(eq=False, slots=True)
class Utterance:
    """What the session knows of an utterance, from its `started` to its `done` and a little longer."""

    id: str
    stream: int
    settings: SpeechSettings
    clock: PlaybackClock
    permit: Permit
    after: Utterance | None = None
    ref: str | None = None
    feed: TextFeed = field(default_factory=TextFeed)
    is_ended: bool = False
    num_spoken_chars: int = 0
    num_sentences: int = 0
    words: HeardWords = field(default_factory=HeardWords)
    sent: asyncio.Event = field(default_factory=asyncio.Event)
    stopped_by: StreamerError | Literal["client", "drain"] | None = None
    cancel_ref: str | None = None
    played_ms: float | None = None
    scope: asyncio.Timeout | None = None
    first_text_s: float | None = None

    @property
    def num_waiting_chars(self) -> int:
        return self.feed.num_chars - self.num_spoken_chars

    def append(self, text: str) -> None:
        if self.first_text_s is None and text:
            self.first_text_s = time.monotonic()
        self.feed.append(text)

    def end(self) -> None:
        self.is_ended = True
        self.feed.end()

    def stop(self, cause: StreamerError | Literal["client", "drain"]) -> None:
        """Have it end now: `cancelled`, or `failed` where the cause is an error. Idempotent."""
        if self.stopped_by is None:
            self.stopped_by = cause
            if self.scope is not None:
                self.scope.reschedule(asyncio.get_running_loop().time())

    def close_ranks(self) -> None:
        """Stand in line behind whoever those stood behind that left it before their permit."""
        while self.after is not None and self.after.after is not None and self.after.sent.is_set():
            self.after = self.after.after

    def heard(self, played_ms: float | None) -> messages.Heard | None:
        """The text heard until `played_ms`, else until where the listener was last known to be."""
        if played_ms is None:
            played_ms = self.played_ms
        if played_ms is None and self.clock.is_paced:
            played_ms = self.clock.position_ms
        if played_ms is None:
            return None
        # Nobody has heard what was not sent, whatever he says.
        char_end = self.words.until(min(played_ms, self.clock.sent_ms))
        return messages.Heard(text=self.feed.text[:char_end], char_end=char_end)
