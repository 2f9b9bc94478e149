"""What goes into `pipeline.speak` and what comes out: the text feed, and the events of an utterance.

No computation and no model here; `server` turns the events into messages and frames.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from streamer.audio.packets import PacketEncoder, create_encoder
from streamer.synthesis import SamplingParams
from streamer.text.normalize import sanitize
from streamer.text.reading import AS_IT_IS, Reading
from streamer.voices.voice import Voice

Continuity = Literal["preset", "chain", "preset+chain"]
"""What a sentence goes on from: its voice, the voice's last sentence, or both."""


@dataclass(frozen=True, slots=True)
class SpeechSettings:
    """How an utterance sounds and is packed. `max_buffer_ms` None: only finished text is spoken unasked."""

    voice: str
    params: SamplingParams
    encoding: str = "opus"
    sample_rate_hz: int = 24_000
    frame_ms: int = 20
    bitrate: int = 32_000
    reading: Reading = AS_IT_IS
    max_buffer_ms: int | None = 500
    max_audio_s: float = 3600.0
    starts_safely: bool = False
    """Hold the first packet until play can go on unbroken, where the machine is slower than speech."""
    continuity: Continuity = "preset"
    speakers: Mapping[str, str] = field(default_factory=dict)
    """Labels in the text, such as `Alice` of `Alice: Hello.`, and the voices that speak what follows them."""
    tells_history: bool = False
    """Whether `SentenceEnded` is to tell what the sentence was spoken as."""

    def create_encoder(self) -> PacketEncoder:
        """A fresh encoder; raises `InvalidParameterError` where encoding and rate do not go together."""
        return create_encoder(
            self.encoding, sample_rate_hz=self.sample_rate_hz, frame_ms=self.frame_ms, bitrate=self.bitrate
        )


@dataclass(frozen=True, slots=True)
class WordTime:
    """When a word is heard, in ms of the utterance's sound."""

    text: str
    start_ms: int
    end_ms: int
    char_start: int
    char_end: int


@dataclass(frozen=True, slots=True)
class SentenceStarted:
    """Comes before a sentence's first packet. Character positions are those of the utterance's whole text.

    `known_s`: when its text was there to be spoken, by `time.monotonic`. `voice`: who speaks it. `expected_words`:
    when its words are heard, as far as that can be told when it is called.
    """

    index: int
    text: str
    char_start: int
    char_end: int
    start_ms: int
    known_s: float = 0.0
    voice: str = ""
    expected_words: Callable[[], tuple[WordTime, ...]] = field(default=tuple, compare=False)


@dataclass(frozen=True, slots=True)
class AudioPacket:
    """A piece of sound, packed.

    `timestamp`, `duration`: samples at 48 kHz, counted from the first sample after pre-skip. `is_first`:
    holds the beginning of a sentence. `is_last`: the end of the utterance; the payload may then be empty.
    """

    payload: bytes
    timestamp: int
    duration: int
    is_first: bool = False
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class WordTimes:
    """The words of a sentence, whole, or those begun before it was cut; `is_estimated`: by `word_times`."""

    index: int
    words: tuple[WordTime, ...]
    is_estimated: bool = True


@dataclass(frozen=True, slots=True)
class SentenceEnded:
    """Comes after a sentence's last packet. `spoken_as`: its tokens, where the settings ask for them."""

    index: int
    end_ms: int
    spoken_as: Voice | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Flushed:
    """All text before the flush with this `ref` has come out as sound."""

    ref: str | None


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """The last event. `generation_s`: the time that was spent waiting for the synthesizer."""

    audio_ms: int
    num_sentences: int
    truncated: bool
    generation_s: float


@dataclass(frozen=True, slots=True)
class HeldBack:
    """The first packet is not sent yet, so that play can go on unbroken; `wait_ms`: probably for so long."""

    wait_ms: int


@dataclass(frozen=True, slots=True)
class Warned:
    """Something was not done as it was asked for; speech goes on. `index`: the sentence, `seed`: its new one."""

    code: str
    message: str
    param: str | None = None
    index: int | None = None
    seed: int | None = None


SpeechEvent = (
    SentenceStarted | AudioPacket | WordTimes | SentenceEnded | Flushed | HeldBack | Warned | SpeechEnded
)


@dataclass(frozen=True, slots=True)
class TextFlush:
    """A wish in the text: speak all that was written before."""

    ref: str | None = None


@dataclass(frozen=True, slots=True)
class TextEnd:
    """There is no more text."""


class TextFeed:
    """The writer's end of an utterance: text is appended while it is being spoken.

    `TextFeed("Hello.")` holds a complete text. One reader only.
    """

    def __init__(self, text: str | None = None) -> None:
        self.text = ""
        self.num_unfinished_chars = 0
        """Read, but waiting for the writer to finish the sentence."""
        self._items: deque[str | TextFlush | TextEnd] = deque()
        self._arrived = asyncio.Event()
        if text is not None:
            self.append(text)
            self.end()

    def __len__(self) -> int:
        """Pieces that were not read yet."""
        return len(self._items)

    @property
    def num_chars(self) -> int:
        return len(self.text)

    def append(self, text: str) -> None:
        """Add text; characters that nobody can speak and that could do harm are dropped."""
        text = sanitize(text)
        if not text:
            return
        self.text += text
        if self._items and isinstance(waiting := self._items[-1], str):
            # A writer far ahead is read in one piece: how the text was cut on its way means nothing.
            self._items[-1] = waiting + text
        else:
            self._add(text)

    def flush(self, ref: str | None = None) -> None:
        """Have everything written so far spoken, mid-sentence too."""
        self._add(TextFlush(ref))

    def end(self) -> None:
        """Say that no more text follows."""
        self._add(TextEnd())

    async def next(self, patience_s: float | None) -> str | TextFlush | TextEnd | None:
        """The next piece; None where the writer has paused for `patience_s` seconds."""
        try:
            async with asyncio.timeout(patience_s):
                while not self._items:
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            return None
        return self._items.popleft()

    def _add(self, item: str | TextFlush | TextEnd) -> None:
        self._items.append(item)
        self._arrived.set()
