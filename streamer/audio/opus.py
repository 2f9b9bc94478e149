"""Raw Opus packets (RFC 6716) by libopus; `packets` gives them timestamps, `containers` wraps them in Ogg.

The library comes inside the wheel of `opuslib-next-bundled`, so nothing has to be installed beside it.
"""

from __future__ import annotations

from typing import Final

import opuslib_next

from streamer.errors import AudioEncodeError
from streamer.synthesis import Samples

MIN_BITRATE: Final = 6_000
MAX_BITRATE: Final = 256_000


class OpusFrames:
    """One encoder for one utterance: its state carries over from frame to frame, sentences included.

    Tuned for speech: application voip, signal voice, variable bitrate. Neither DTX nor in-band FEC: pauses
    are short and TCP loses nothing.
    """

    def __init__(self, sample_rate_hz: int, bitrate: int) -> None:
        try:
            self._encoder = opuslib_next.Encoder(sample_rate_hz, 1, opuslib_next.APPLICATION_VOIP)
            self._encoder.bitrate = bitrate
            self._encoder.vbr = 1
            self._encoder.signal = opuslib_next.SIGNAL_VOICE
            self.lookahead = int(self._encoder.lookahead)
            """Samples, at the input's rate, by which the decoder's output lags behind."""
        except opuslib_next.OpusError as error:
            raise AudioEncodeError(f"libopus refused its settings: {error}") from error

    def encode(self, frame: Samples) -> bytes:
        """One packet of one frame of 10, 20, 40 or 60 ms, float32 [samples] within [-1, 1]."""
        try:
            return bytes(self._encoder.encode_float(frame.tobytes(), len(frame)))
        except opuslib_next.OpusError as error:
            raise AudioEncodeError(f"libopus could not encode a frame: {error}") from error
