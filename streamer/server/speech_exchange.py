"""Speaks a text into the body of an HTTP answer, as fast as it is made and the client takes it.

The adapters read what their clients ask for; everything behind that is the same for each of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import numpy as np

from streamer.audio.formats import ENCODINGS, AudioFormat
from streamer.audio.packets import INPUT_HZ, TIMESTAMP_HZ, Packet, create_encoder
from streamer.errors import InternalError, InvalidParameterError, StreamerError
from streamer.server.admission import Permit
from streamer.server.connection import ClientGoneError
from streamer.server.http import Exchange, Fields
from streamer.server.service import Service
from streamer.server.speech_spans import SpeechSpans
from streamer.speech.events import SentenceStarted, SpeechEnded, SpeechEvent
from streamer.speech.settings import SpeechSettings
from streamer.speech.text_feed import TextFeed
from streamer.telemetry.utterances import OUTCOMES_OF, EndReason, UtteranceRecord

CONTENT_TYPES: Final = {
    "ogg_opus": "audio/ogg; codecs=opus",
    "mp3": "audio/mpeg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm_s16le": "audio/pcm; rate={rate}; channels=1; encoding=signed-int; bits=16; endian=little",
    "pcm_f32le": "audio/pcm; rate={rate}; channels=1; encoding=float; bits=32; endian=little",
    "mulaw": "audio/PCMU; rate={rate}; channels=1",
    "alaw": "audio/PCMA; rate={rate}; channels=1",
}
"""The media type of each encoding that a stream of bytes can hold."""
_NATIVE: Final = tuple(encoding for encoding in CONTENT_TYPES if encoding in ENCODINGS)
REQUEST_ID_FIELD: Final = "X-Request-Id"
"""The header field that tells the name by which the server's log knows an utterance."""
WARNING_FIELD: Final = "Streamer-Warning"
"""The header field that tells what is not as the client asked for it."""
MIN_SOUND_S: Final = 0.1
"""The silence for a text without a word, for clients that take an answer without sound for a failure."""
OUTCOME_FIELD: Final = "Streamer-Outcome"
"""The trailer that tells whether all of the text was spoken: `completed`, or else `truncated`."""


@dataclass(frozen=True, slots=True)
class Body:
    """How a speech becomes the body of an answer: as a file, unless an adapter says otherwise.

    `content_type`: None for that of the encoding. `id_field`: the header field with the name by which the server's log
    knows the speech. `begin` stands at the beginning. `tell` makes a piece of the body of each event, and `wrap` of a
    packet's payload, behind what `tell` makes of the packet. `end` makes one of the length of the sound in ms, and of
    what broke it off, if anything did. `min_sound_s`: the silence of which a text without a word consists.
    """

    content_type: str | None = None
    id_field: str = REQUEST_ID_FIELD
    begin: bytes = b""
    wrap: Callable[[bytes], bytes] = bytes
    tell: Callable[[SpeechEvent], bytes] = lambda _event: b""
    end: Callable[[int, StreamerError | None], bytes] = lambda _audio_ms, _error: b""
    min_sound_s: float = 0.0


FILE: Final = Body()


def check_encoding(encoding: object) -> None:
    """Raise `InvalidParameterError` for what is no encoding, or one whose packets a stream of bytes does not part."""
    if not isinstance(encoding, str) or encoding not in _NATIVE:
        message = f"encoding {str(encoding)[:64]!r} is none of those over HTTP: {', '.join(_NATIVE)}"
        raise InvalidParameterError(message, param="encoding")


async def speak_into(
    exchange: Exchange,
    service: Service,
    text: str,
    settings: SpeechSettings,
    audio_format: AudioFormat,
    headers: Fields = (),
    body: Body = FILE,
) -> None:
    """Speak the text. The status is sent with the first sound, so that an error before it can still be the answer.

    A trailer tells whether all of it was spoken. If the exchange `ends_on_failure`, a speech that breaks off later
    still ends as a whole file does. Raises `StreamerError` for whatever prevents the speech or breaks it off, and
    `ClientGoneError`.
    """
    content_type = body.content_type or CONTENT_TYPES[audio_format.encoding].format(
        rate=audio_format.sample_rate_hz
    )
    exchange.is_recorded = True
    utterance_id = secrets.token_hex(8)
    fields = (
        ("Content-Type", content_type),
        (body.id_field, utterance_id),
        ("Trailer", OUTCOME_FIELD),
        *headers,
    )
    request = exchange.request
    about = {"http.request.method": request.method, "url.path": request.path}
    with (
        service.tracer.begin("request", request.headers, **about) as span,
        span.child("utterance") as utterance,
    ):
        spans = SpeechSpans(utterance, create_encoder(audio_format), utterance_id)
        permit = service.admit(request.key_name, request.address)
        ids = {"utterance_id": utterance_id, "trace_id": utterance_id}
        record = service.record(request.key_name, request.protocol, settings.voice, ids)
        record.exemplar = spans.exemplar
        try:
            with service.metrics.requests_running.track_inprogress():
                speech = _Speech(exchange, service, fields, body, spans, record)
                await speech.run(TextFeed(text), permit, settings)
        finally:
            permit.release()


class _Speech:
    """One utterance on its way into a body."""

    def __init__(
        self,
        exchange: Exchange,
        service: Service,
        fields: Fields,
        body: Body,
        spans: SpeechSpans,
        record: UtteranceRecord,
    ) -> None:
        self._exchange = exchange
        self._service = service
        self._fields = fields
        self._body = body
        self._spans = spans
        self._encoder = spans.encoder
        self._record = record
        self._has_packets = False
        self._is_complete = False  # no packet is left in the encoder
        self._num_begun_chars = 0
        self._audio_ms = 0
        self._sent_ms = 0

    async def run(self, feed: TextFeed, permit: Permit, settings: SpeechSettings) -> None:
        reason: EndReason = "failed"
        error: StreamerError | None = None
        try:
            with self._spans.utterance.child("rate wait"):
                await permit.wait()
            synthesizer = permit.queued(self._service.synthesizer, span=self._spans.utterance)
            trace_id = self._record.ids["trace_id"]
            reason = await self._send(
                self._service.speak(feed, settings, self._encoder, trace_id, synthesizer)
            )
            if not self._has_packets:  # the text has no word
                silence = np.zeros(round(self._body.min_sound_s * INPUT_HZ), np.float32)
                await self._write_all(self._encoder.encode(silence))
            await self._end(reason)
        except (ClientGoneError, asyncio.CancelledError):
            reason = "client_gone"
            raise
        except Exception as failure:
            reason = "failed"
            error = failure if isinstance(failure, StreamerError) else InternalError("the speech failed")
            if self._exchange.is_started and self._exchange.ends_on_failure:
                await self._end(reason, error)
            raise
        finally:
            audio_ms = max(self._audio_ms, self._sent_ms)
            self._record.close(
                reason,
                audio_ms=audio_ms,
                num_chars=feed.num_chars,
                num_begun_chars=self._num_begun_chars,
                error=error,
            )
            self._spans.end(OUTCOMES_OF[reason], self._audio_ms)

    async def _send(self, events: AsyncGenerator[SpeechEvent, None]) -> EndReason:
        """Send the packets; returns how the speech ended."""
        reason: EndReason = "completed"
        async with contextlib.aclosing(events):
            async for event in events:
                self._spans.follow(event)
                await self._write(self._body.tell(event))
                if isinstance(event, Packet):
                    if not self._has_packets:
                        self._has_packets = True
                        self._record.note_first_audio()
                        self._spans.utterance.event("first audio")
                    self._is_complete = event.is_last
                    await self._write_all([event])
                elif isinstance(event, SentenceStarted):
                    self._num_begun_chars = max(self._num_begun_chars, event.char_end)
                elif isinstance(event, SpeechEnded):
                    self._audio_ms = event.audio_ms
                    reason = "truncated" if event.truncated else "completed"
                    self._record.note_generation(event.generation_s, event.audio_ms)
        return reason

    async def _end(self, outcome: str, error: StreamerError | None = None) -> None:
        """Send what makes the body whole, and have the trailer tell the outcome."""
        if not self._is_complete:
            self._is_complete = True
            await self._write_all(self._encoder.finish())
        await self._write(self._body.end(self._sent_ms, error))
        await self._start()
        self._exchange.trailers = ((OUTCOME_FIELD, outcome),)

    async def _write_all(self, packets: Iterable[Packet]) -> None:
        for packet in packets:
            self._sent_ms = round((packet.timestamp + packet.duration) * 1000 / TIMESTAMP_HZ)
            if packet.payload:
                await self._write(self._body.wrap(packet.payload))

    async def _write(self, data: bytes) -> None:
        if data:
            await self._start()
            await self._exchange.write(data)
            self._service.metrics.bytes_sent.inc(len(data))

    async def _start(self) -> None:
        """Send the status and the beginning of the body, unless they were sent."""
        if not self._exchange.is_started:
            await self._exchange.start(HTTPStatus.OK, self._fields)
            await self._exchange.write(self._body.begin)
