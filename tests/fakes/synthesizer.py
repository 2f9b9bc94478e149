"""A synthesizer without a model: each sentence is a tone, as long as its text, made at a chosen speed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import numpy as np

from streamer.audio.samples import Samples
from streamer.errors import EngineError, StreamerError, VoiceNotFoundError
from streamer.synthesis import Health, ModelInfo, PcmChunk, Room, SentenceRequest
from streamer.voices.voice import Voice

SAMPLE_RATE_HZ = 24_000


class FakeSynthesizer:
    """Implements `streamer.synthesis.Synthesizer`.

    `speed`: seconds of sound made per second; None for at once. Hooks: `fail_on`, `stall_on`, `truncate_on`,
    `lose_on` act on sentences that contain that text, and `is_resumed` ends the stall; with `recovers` a truncated
    or lost one ends well when it is asked for again; `die` kills the engine; `room` and `room_soon` are what
    `health` tells of it. The history of a sentence is made of its index and its seed.
    """

    def __init__(
        self,
        *,
        speed: float | None = None,
        ms_per_char: float = 20.0,
        chunk_ms: int = 80,
        warm_up_s: float = 0.0,
        note: str | None = None,
        languages: tuple[str, ...] = ("en",),
        voices: tuple[str, ...] = ("tone", "other"),
        normalizes_text: bool = False,
    ) -> None:
        self.speed = speed
        self.ms_per_char = ms_per_char
        self.chunk_ms = chunk_ms
        self.warm_up_s = warm_up_s
        self.note = note
        self.languages = languages
        self.voices = voices
        self.normalizes_text = normalizes_text
        self.fail_on: dict[str, StreamerError] = {}
        self.stall_on: str | None = None
        self.is_resumed = asyncio.Event()
        self.truncate_on: str | None = None
        self.lose_on: dict[str, float] = {}  # seconds of sound that are left, before silence
        self.recovers = False
        self.room: Room | None = None
        self.room_soon: Room | None = None
        self.step_age_s = 0.0
        self.requests: list[SentenceRequest] = []
        self.num_open = 0
        self.num_cancelled = 0
        self.is_started = False
        self.is_closed = False
        self._dead_reason: str | None = None

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(
            name="fake",
            sample_rate_hz=SAMPLE_RATE_HZ,
            default_voice=self.voices[0],
            voices=self.voices,
            languages=self.languages,
            tags=(),
            max_text_tokens=200,
            note=self.note,
            normalizes_text=self.normalizes_text,
        )

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    async def synthesize(self, request: SentenceRequest) -> AsyncGenerator[PcmChunk, None]:
        """Yield a tone of `ms_per_char` per character, in chunks."""
        if request.voice not in self.info.voices:
            raise VoiceNotFoundError(f"no voice is named {request.voice!r}", param="voice")
        self.requests.append(request)
        self.num_open += 1
        is_complete = False
        try:
            num_samples = int(len(request.text) * self.ms_per_char * SAMPLE_RATE_HZ / 1000)
            size = self.chunk_ms * SAMPLE_RATE_HZ // 1000
            tone = self._without_lost(request, tone_of(request, num_samples))
            num_samples = len(tone)
            for start in range(0, num_samples, size):
                await self._make(request, size)
                is_last = start + size >= num_samples
                is_complete = is_last
                truncated = is_last and self._is_truncated(request)
                history = spoken_as(request) if is_last and request.wants_history else None
                yield PcmChunk(tone[start : start + size], is_last, truncated, history)
        finally:
            self.num_open -= 1
            self.num_cancelled += not is_complete

    def health(self) -> Health:
        is_alive = self._dead_reason is None
        return Health(
            alive=is_alive,
            ready=self.is_started and is_alive,
            reason=self._dead_reason,
            expected_speed=self.speed,
            room=self.room,
            room_soon=self.room_soon,
            step_age_s=self.step_age_s,
        )

    async def start(self) -> None:
        await asyncio.sleep(self.warm_up_s)
        self.is_started = True

    async def close(self) -> None:
        self.is_closed = True

    def die(self, reason: str = "the engine died") -> None:
        """Stop the engine: from now on nothing is made and `health().alive` is false."""
        self._dead_reason = reason

    def _without_lost(self, request: SentenceRequest, tone: Samples) -> Samples:
        """Return the tone, or the part of it that is left with a moment of silence behind."""
        for text, left_s in self.lose_on.items():
            if text in request.text and not (self.recovers and self._is_second(request)):
                silence = np.zeros(SAMPLE_RATE_HZ // 4, np.float32)
                return np.concatenate([tone[: round(left_s * SAMPLE_RATE_HZ)], silence])
        return tone

    def _is_truncated(self, request: SentenceRequest) -> bool:
        if self.truncate_on is None or self.truncate_on not in request.text:
            return False
        return not (self.recovers and self._is_second(request))

    def _is_second(self, request: SentenceRequest) -> bool:
        """Return whether the sentence was requested before."""
        place = (request.utterance_id, request.sentence_index)
        return [(other.utterance_id, other.sentence_index) for other in self.requests].count(place) > 1

    async def _make(self, request: SentenceRequest, num_samples: int) -> None:
        for text, error in self.fail_on.items():
            if text in request.text:
                raise error
        if self.stall_on is not None and self.stall_on in request.text:
            await self.is_resumed.wait()
        await asyncio.sleep(num_samples / SAMPLE_RATE_HZ / self.speed if self.speed else 0)
        if self._dead_reason is not None:
            raise EngineError(self._dead_reason)


def tone_of(request: SentenceRequest, num_samples: int) -> Samples:
    """Return the tone of a sentence, float32 [num_samples]; its own pitch lets tests tell sentences apart."""
    pitch_hz = 220.0 * (1 + request.sentence_index % 4)
    phase = 2 * np.pi * pitch_hz * np.arange(num_samples) / SAMPLE_RATE_HZ
    return (0.3 * np.sin(phase)).astype(np.float32)


def spoken_as(request: SentenceRequest) -> Voice:
    """Return tokens that identify their sentence and the seed it was drawn with."""
    codes = np.array([[request.sentence_index, request.params.seed]])
    return Voice(codes[0], codes, codes)
