"""Speaks a text into the body of an HTTP answer, as fast as it is made and the client takes it.

The adapters read what their clients ask for; everything behind that is the same for each of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncGenerator
from http import HTTPStatus
from typing import Final

from streamer.audio.formats import AudioFormat
from streamer.audio.packets import Packet, PacketEncoder, create_encoder
from streamer.errors import InvalidParameterError
from streamer.server.connection import ClientGoneError
from streamer.server.http import Exchange, Fields
from streamer.server.service import Service
from streamer.speech.events import SentenceStarted, SpeechEnded, SpeechEvent
from streamer.speech.pipeline import speak
from streamer.speech.settings import SpeechSettings
from streamer.speech.text_feed import TextFeed

CONTENT_TYPES: Final = {
    "ogg_opus": "audio/ogg; codecs=opus",
    "wav": "audio/wav",
    "pcm_s16le": "audio/pcm; rate={rate}; channels=1; encoding=signed-int; bits=16; endian=little",
    "pcm_f32le": "audio/pcm; rate={rate}; channels=1; encoding=float; bits=32; endian=little",
    "mulaw": "audio/PCMU; rate={rate}; channels=1",
    "alaw": "audio/PCMA; rate={rate}; channels=1",
}
"""The media type of each encoding that a stream of bytes can hold."""
REQUEST_ID_FIELD: Final = "X-Request-Id"
"""The header field that tells the name by which the server's log knows an utterance."""
OUTCOME_FIELD: Final = "Streamer-Outcome"
"""The trailer that tells whether all of the text was spoken: `completed`, or else `truncated`."""


def check_encoding(encoding: object) -> None:
    """Raise `InvalidParameterError` for what is no encoding, or one whose packets a stream of bytes does not part."""
    if not isinstance(encoding, str) or encoding not in CONTENT_TYPES:
        message = f"encoding {str(encoding)[:64]!r} is none of those over HTTP: {', '.join(CONTENT_TYPES)}"
        raise InvalidParameterError(message, param="encoding")


async def speak_into(
    exchange: Exchange,
    service: Service,
    text: str,
    settings: SpeechSettings,
    audio_format: AudioFormat,
    headers: Fields = (),
) -> None:
    """Speak the text. The status is sent with the first sound, so that an error before it can still be the answer.

    A trailer tells whether all of it was spoken. Raises `StreamerError` for whatever prevents the speech or breaks it
    off, and `ClientGoneError`.
    """
    check_encoding(audio_format.encoding)
    content_type = CONTENT_TYPES[audio_format.encoding].format(rate=audio_format.sample_rate_hz)
    utterance_id = secrets.token_hex(8)
    fields = (
        ("Content-Type", content_type),
        (REQUEST_ID_FIELD, utterance_id),
        ("Trailer", OUTCOME_FIELD),
        *headers,
    )
    request = exchange.request
    permit = service.admission.admit(request.key_name or request.address)
    try:
        with service.metrics.requests_running.track_inprogress():
            await permit.wait()
            speech = _Speech(exchange, service, fields)
            await speech.run(TextFeed(text), settings, create_encoder(audio_format), utterance_id)
    finally:
        permit.release()


class _Speech:
    """One utterance on its way into a body, and what is counted of it."""

    def __init__(self, exchange: Exchange, service: Service, fields: Fields) -> None:
        self._exchange = exchange
        self._service = service
        self._fields = fields
        self._begun_s = time.monotonic()
        self._has_packets = False
        self._num_chars = 0
        self._audio_ms = 0

    async def run(
        self, feed: TextFeed, settings: SpeechSettings, encoder: PacketEncoder, utterance_id: str
    ) -> None:
        label = "error"
        events = speak(feed, self._service.synthesizer, settings, encoder, utterance_id)
        try:
            label = await self._send(events)
            if not self._has_packets:  # of a text without a word there is a file without sound
                for packet in encoder.finish():
                    await self._write(packet)
            if not self._exchange.is_started:
                await self._exchange.start(HTTPStatus.OK, self._fields)
            self._exchange.trailers = ((OUTCOME_FIELD, "completed" if label == "ok" else label),)
        except (ClientGoneError, asyncio.CancelledError):
            label = "client_gone"
            raise
        finally:
            self._service.metrics.utterance_ended(label, audio_ms=self._audio_ms, num_chars=self._num_chars)

    async def _send(self, events: AsyncGenerator[SpeechEvent, None]) -> str:
        """Send the packets; returns how the speech ended, as a label of the metric."""
        metrics, label = self._service.metrics, "ok"
        async with contextlib.aclosing(events):
            async for event in events:
                if isinstance(event, Packet):
                    if not self._has_packets:
                        self._has_packets = True
                        metrics.first_audio.observe(time.monotonic() - self._begun_s)
                    await self._write(event)
                elif isinstance(event, SentenceStarted):
                    self._num_chars = max(self._num_chars, event.char_end)
                elif isinstance(event, SpeechEnded):
                    self._audio_ms = event.audio_ms
                    label = "truncated" if event.truncated else "ok"
                    if event.audio_ms:
                        metrics.real_time_factor.observe(event.generation_s * 1000 / event.audio_ms)
        return label

    async def _write(self, packet: Packet) -> None:
        if not packet.payload:
            return
        if not self._exchange.is_started:
            await self._exchange.start(HTTPStatus.OK, self._fields)
        await self._exchange.write(packet.payload)
        self._service.metrics.bytes_sent.inc(len(packet.payload))
