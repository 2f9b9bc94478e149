"""The spans of an utterance while it is encoded and sent; `speaker` and `speech_exchange` make them."""

from __future__ import annotations

import time
from typing import Final

from streamer.audio.packets import Packet, PacketEncoder
from streamer.audio.samples import Samples
from streamer.speech.events import SentenceEnded, SentenceStarted, SpeechEvent
from streamer.telemetry.metrics import exemplar
from streamer.telemetry.traces import NO_SPAN, Span

_US_PER_S: Final = 1_000_000


class TimedEncoder:
    """An encoder, and how long it works."""

    def __init__(self, encoder: PacketEncoder) -> None:
        self.began_s: float | None = None
        self.ended_s = 0.0
        self.busy_s = 0.0
        self.num_packets = 0
        self._encoder = encoder

    @property
    def sample_rate_hz(self) -> int:
        return self._encoder.sample_rate_hz

    @property
    def pre_skip(self) -> int:
        return self._encoder.pre_skip

    def encode(self, samples: Samples) -> list[Packet]:
        began_s = time.monotonic()
        return self._counted(began_s, self._encoder.encode(samples))

    def finish(self) -> list[Packet]:
        began_s = time.monotonic()
        return self._counted(began_s, self._encoder.finish())

    def _counted(self, began_s: float, packets: list[Packet]) -> list[Packet]:
        if self.began_s is None:
            self.began_s = began_s
        self.ended_s = time.monotonic()
        self.busy_s += self.ended_s - began_s
        self.num_packets += len(packets)
        return packets


class SpeechSpans:
    """The span of an utterance, and those within it for each sentence that is sent, and for all that is encoded."""

    def __init__(self, utterance: Span, encoder: PacketEncoder, trace_id: str) -> None:
        """`trace_id`: the name of the utterance in the log."""
        self.utterance = utterance
        self.encoder = encoder
        """The encoder to be used."""
        self.exemplar = exemplar(utterance.trace_id or trace_id)
        """What leads from a figure to this utterance: the id of its trace or, without one, that of its log lines."""
        self._timed: TimedEncoder | None = None
        if utterance.is_recorded:
            utterance.set(trace_id=trace_id)
            self.encoder = self._timed = TimedEncoder(encoder)
        self._sending = NO_SPAN
        self._num_packets = self._num_bytes = 0

    def follow(self, event: SpeechEvent) -> None:
        """Note what is about to be sent."""
        if self._timed is None:
            return
        if isinstance(event, Packet):
            self._num_packets += 1
            self._num_bytes += len(event.payload)
        elif isinstance(event, SentenceStarted):
            self._end_sending()
            self._sending = self.utterance.child("send", sentence_index=event.index)
        elif isinstance(event, SentenceEnded):
            self._end_sending()

    def end(self, outcome: str, audio_ms: int) -> None:
        """End the spans but for the utterance's own. `outcome`: as in `Metrics.utterance_ended`."""
        self._end_sending()
        timed = self._timed
        if timed is not None and timed.began_s is not None:
            busy_us = round(timed.busy_s * _US_PER_S)
            encoding = self.utterance.child(
                "encode", timed.began_s, busy_us=busy_us, num_packets=timed.num_packets
            )
            encoding.end(timed.ended_s)
        self.utterance.set(outcome=outcome, audio_ms=audio_ms)

    def _end_sending(self) -> None:
        self._sending.set(num_packets=self._num_packets, num_bytes=self._num_bytes)
        self._sending.end()
        self._sending, self._num_packets, self._num_bytes = NO_SPAN, 0, 0
