"""Speech of letters: each has a sound of its own, so that a test hears whose text it is that sounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streamer.audio.samples import Samples
from streamer.synthesis import PcmChunk, SentenceRequest
from tests.fakes.synthesizer import SAMPLE_RATE_HZ, FakeSynthesizer

LETTERS: Final = "abcdefg"
_HALF_PERIOD: Final = SAMPLE_RATE_HZ // 200
Read = npt.NDArray[np.floating[Any]]


def sound_of(letter: str, num_samples: int) -> Samples:
    """A rectangular wave; how its two levels relate tells the letter, whatever is done to its volume."""
    ratio = 2.0 ** (LETTERS.index(letter) - 3)
    high, low = (0.4, 0.4 * ratio) if ratio <= 1 else (0.4 / ratio, 0.4)
    is_high = np.arange(num_samples) // _HALF_PERIOD % 2 == 0
    return np.where(is_high, high, -low).astype(np.float32)


def letter_of(samples: Read) -> str | None:
    """The letter of a piece of sound; None for a pause and for what is too short."""
    above, below = samples[samples > 0.01], -samples[samples < -0.01]
    if min(len(above), len(below)) < len(samples) / 4 or len(samples) < 80:
        return None
    return LETTERS[int(np.clip(round(float(np.log2(np.median(below) / np.median(above)))) + 3, 0, 6))]


def letters_in(text: str) -> set[str]:
    """The letters that a text consists of."""
    return {sign for sign in text.lower() if sign.isalpha()}


def samples_of(pcm: bytes) -> Read:
    """16-bit samples as numbers within [-1, 1]."""
    return np.frombuffer(pcm, "<i2") / 32_768


class HandFedSynthesizer(FakeSynthesizer):
    """Makes a piece of sound whenever it is told to, and fails whenever it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.is_started = True
        self.waiting: dict[asyncio.Future[None], SentenceRequest] = {}
        self.mixed: list[str] = []
        """Sentences of more than one letter."""

    async def synthesize(self, request: SentenceRequest) -> AsyncGenerator[PcmChunk, None]:
        letters = letters_in(request.text)
        if len(letters) != 1:
            self.mixed.append(request.text)
        sound = sound_of(min(letters), round(len(request.text) * 0.03 * SAMPLE_RATE_HZ))
        size = SAMPLE_RATE_HZ // 10
        self.num_open += 1
        try:
            for start in range(0, len(sound), size):
                turn = asyncio.get_running_loop().create_future()
                self.waiting[turn] = request
                try:
                    await turn
                finally:
                    del self.waiting[turn]
                yield PcmChunk(sound[start : start + size], is_last=start + size >= len(sound))
        finally:
            self.num_open -= 1

    def make(self) -> bool:
        """Let each sentence have its next piece; returns whether there was one that waited for it."""
        turns = [turn for turn in self.waiting if not turn.done()]
        for turn in turns:
            turn.set_result(None)
        return bool(turns)

    def fail(self, index: int, error: Exception) -> None:
        """One of the sentences fails, if there are any."""
        turns = [turn for turn in self.waiting if not turn.done()]
        if turns:
            turns[index % len(turns)].set_exception(error)
