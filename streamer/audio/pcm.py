"""Checks samples, writes them as numbers, and joins the sounds of sentences to one."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from streamer.audio.samples import Samples
from streamer.errors import AudioEncodeError

SILENCE_PEAK: Final = 0.002
"""What is quieter than this (-54 dB) is silence, whatever came before."""
_SILENCE_BELOW_PEAK: Final = 0.01
"""What is 40 dB below the loudest moment of the sentence so far is silence, too: the model's hiss behind a word."""
_HISS_PEAK: Final = 0.012
_HISS_S: Final = 0.1
"""In an utterance's first moments sound up to -38 dB is silence: the model's hiss, which would delay the first word. It
is only the first moments, so that what begins softly is heard."""
_FIRST_LEAD_S: Final = 0.01
_KEPT_LEAD_S: Final = 0.05
_KEPT_TAIL_S: Final = 0.06
"""How much silence stays at a sentence's borders, for breaths and the ends of soft consonants. It is hardly any at the
beginning of an utterance, because it delays the first word."""
_KEPT_WITHIN_S: Final = 0.02
"""The same on both sides of a join between two words that nothing parts in the text."""
_FADE_S: Final = 0.005
_CUT_FADE_S: Final = 0.08
"""How long the fade is of a sentence that is cut in full voice."""
_MULAW_BIAS: Final = 132
_MULAW_CLIP: Final = 32_635


def checked(samples: Samples) -> Samples:
    """Return the samples, saturated to [-1, 1]; raises `AudioEncodeError` if one is not a number."""
    if samples.ndim != 1:
        raise AudioEncodeError(f"sound has the shape {samples.shape}, not [num_samples]")
    if not samples.size or max(samples.max(), -samples.min()) <= 1.0:  # False if one is not a number
        return samples.astype(np.float32, copy=False)
    if not np.isfinite(samples).all():
        raise AudioEncodeError("the sound holds a value that is not a number")
    return np.clip(samples, -1.0, 1.0).astype(np.float32, copy=False)


def faded_out(samples: Samples, sample_rate_hz: int) -> Samples:
    """Fade out the last samples of a sentence that is cut."""
    num_faded = min(len(samples), round(_CUT_FADE_S * sample_rate_hz))
    faded = samples.copy()
    faded[len(samples) - num_faded :] *= _rising(num_faded)[::-1]
    return faded


def to_int16(samples: Samples) -> npt.NDArray[np.int16]:
    """Write samples as 16-bit numbers; what is beyond [-1, 1] saturates."""
    numbers: npt.NDArray[np.int16] = np.rint(np.clip(samples, -1.0, 1.0) * 32767.0).astype("<i2")
    return numbers


def to_float32(samples: Samples) -> npt.NDArray[np.float32]:
    """Write samples as they are, with the lowest byte first."""
    return samples.astype("<f4", copy=False)


def to_mulaw(samples: Samples) -> npt.NDArray[np.uint8]:
    """Write samples in G.711's mu-law: 8 segments, each twice as coarse as the one before."""
    value = to_int16(samples).astype(np.int32)
    sign = np.where(value < 0, 0x80, 0)
    magnitude = np.minimum(np.abs(value), _MULAW_CLIP) + _MULAW_BIAS
    segment = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    mantissa = (magnitude >> (segment + 3)) & 0x0F
    codes: npt.NDArray[np.uint8] = (~(sign | segment << 4 | mantissa) & 0xFF).astype(np.uint8)
    return codes


def to_alaw(samples: Samples) -> npt.NDArray[np.uint8]:
    """Write samples in G.711's A-law, which takes 13 of the 16 bits."""
    value = to_int16(samples).astype(np.int32) >> 3
    sign = np.where(value >= 0, 0x80, 0)
    magnitude = np.where(value >= 0, value, -value - 1)
    segment = np.maximum(np.floor(np.log2(np.maximum(magnitude, 1))).astype(np.int32) - 4, 0)
    mantissa = (magnitude >> np.maximum(segment, 1)) & 0x0F
    codes: npt.NDArray[np.uint8] = ((sign | segment << 4 | mantissa) ^ 0x55).astype(np.uint8)
    return codes


class SentenceJoiner:
    """Makes one sound of sentences: trims the silence at their borders and fades them. Others put pauses between.

    Speech passes at once. Silence is held until it is known whether it is a pause inside the sentence or its end. How
    the sound is cut into chunks makes no difference.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        self.num_left_out = 0
        """How many samples of the sentence were left out before the first that was kept."""
        self._rate_hz = sample_rate_hz
        self._kept_lead = round(_FIRST_LEAD_S * sample_rate_hz)
        self._num_hiss = round(_HISS_S * sample_rate_hz)  # samples that may be hiss
        self._num_in = 0
        self._fade_in = _rising(round(_FADE_S * sample_rate_hz))
        self._held: list[Samples] = []  # silence, perhaps the sentence's end
        self._peak = 0.0
        self._num_out = 0
        self._last: Samples = np.zeros(0, np.float32)  # what the fade of an abrupt end mirrors

    def push(self, chunk: Samples) -> Samples:
        """Add sound of the sentence; returns what can be heard now. Raises `AudioEncodeError`."""
        chunk = checked(chunk)
        if not chunk.size:
            return chunk
        first, end = self._loud_part(chunk)
        if first == end:
            self._held.append(chunk)
            if not self._num_out:
                self._held = [np.concatenate(self._held)[-self._kept_lead :]]
            return np.zeros(0, np.float32)
        silence = np.concatenate([*self._held, chunk[:first]])
        if not self._num_out:
            silence = silence[-self._kept_lead :]
            self.num_left_out = self._num_in - len(chunk) + first - len(silence)
        self._held = [chunk[end:]]
        return self._emit(np.concatenate([silence, chunk[first:end]]))

    def end_sentence(self, *, is_within_phrase: bool = False) -> Samples:
        """End the sentence; returns its last moments, faded to nothing; none if it has ended already.

        `is_within_phrase`: the next one continues it, so that silence at their join would tear words apart.
        """
        tail = self._take_tail(_KEPT_WITHIN_S if is_within_phrase else _KEPT_TAIL_S)
        self._begin_sentence(_KEPT_WITHIN_S if is_within_phrase else _KEPT_LEAD_S)
        return tail

    def _loud_part(self, chunk: Samples) -> tuple[int, int]:
        """Return the first and last place louder than silence, judged by the peaks so far; (0, 0) if there is none."""
        level = np.abs(chunk)
        before = self._peak
        peak = np.maximum(level.max(keepdims=True), before)
        self._peak = float(peak[0])
        floor = np.full(len(chunk), SILENCE_PEAK)
        floor[: max(0, self._num_hiss - self._num_in)] = _HISS_PEAK
        self._num_in += len(chunk)
        is_loud = level > np.maximum(floor, _SILENCE_BELOW_PEAK * peak)
        first = int(is_loud.argmax())
        if not is_loud[first]:
            return 0, 0
        end = len(chunk) - int(is_loud[::-1].argmax())
        # After the loudest moment the limit stays; before it was lower, so that speech may have begun earlier.
        peaks = np.maximum(np.maximum.accumulate(level[:first]), before)
        began = np.flatnonzero(level[:first] > np.maximum(floor[:first], _SILENCE_BELOW_PEAK * peaks))
        return int(began[0]) if began.size else first, end

    def _begin_sentence(self, kept_lead_s: float) -> None:
        if self._num_out:
            self._kept_lead = round(kept_lead_s * self._rate_hz)
            self._num_hiss = 0
        self._num_in = 0
        self._held = []
        self._peak = 0.0
        self._num_out = 0
        self._last = np.zeros(0, np.float32)

    def _emit(self, samples: Samples) -> Samples:
        faded = self._fade_in[self._num_out : self._num_out + len(samples)]
        if faded.size:
            samples[: faded.size] *= faded
        self._num_out += len(samples)
        self._last = np.concatenate([self._last, samples])[-len(self._fade_in) :]
        return samples

    def _take_tail(self, kept_s: float) -> Samples:
        """The kept part of the silence at the end, faded out; it is made up if the sound breaks off.

        What has been sent cannot be faded any more, so a sound that ends in full voice is mirrored at its end for the
        length of the fade: without a step there is no click.
        """
        if not self._num_out:
            return np.zeros(0, np.float32)
        tail = np.concatenate(self._held)[: round(kept_s * self._rate_hz)]
        num_faded = len(self._fade_in)
        if len(tail) < num_faded:
            mirrored = np.concatenate([self._last, tail])[::-1]
            tail = np.concatenate([tail, mirrored])[:num_faded]
        fade = _rising(len(tail))[::-1][-num_faded:] if len(tail) < num_faded else self._fade_in[::-1]
        return np.concatenate([tail[: len(tail) - len(fade)], tail[len(tail) - len(fade) :] * fade])


def _rising(num_samples: int) -> Samples:
    """A fade from 0 to 1 whose slope is 0 at both ends. [num_samples]"""
    phase = (np.arange(num_samples) + 0.5) / max(1, num_samples)
    return (0.5 - 0.5 * np.cos(np.pi * phase)).astype(np.float32)
