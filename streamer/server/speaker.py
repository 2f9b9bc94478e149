"""Speaks one utterance: the protocol's wire makes frames of the pipeline's events, and in the end one `done`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from streamer.audio.packets import Packet, PacketEncoder
from streamer.errors import IdleTimeoutError, InternalError, StreamerError
from streamer.server.admission import Permit
from streamer.server.flow_control import Outbox
from streamer.server.queued_synthesizer import QueuedSynthesizer
from streamer.server.service import Service
from streamer.server.speech_spans import SpeechSpans
from streamer.server.utterance import Utterance
from streamer.server.wire import Frame, Outcome, Reason, Wire
from streamer.speech.events import Queued, SentenceStarted, SpeechEnded, SpeechEvent
from streamer.speech.safe_start import start_safely
from streamer.telemetry.utterances import OUTCOMES_OF, EndReason, UtteranceRecord

logger = logging.getLogger(__name__)
MIN_CHECK_S: Final = 0.05
"""How soon it is looked again at the earliest whether an utterance's writer is silent."""
_SAMPLES_PER_MS: Final = 48


class Speaker:
    """Runs one utterance. Every way out of `run` sends exactly one `done`, unless the connection is gone.

    Each is run once, or else abandoned.
    """

    def __init__(
        self,
        utterance: Utterance,
        wire: Wire,
        encoder: PacketEncoder,
        permit: Permit,
        service: Service,
        outbox: Outbox,
        record: UtteranceRecord,
    ) -> None:
        self.utterance = utterance
        self._permit = permit
        self._wire = wire
        self._spans = SpeechSpans(utterance.span, encoder, utterance.trace_id)
        self._service = service
        self._metrics = service.metrics
        self._outbox = outbox
        self._record = record
        record.exemplar = self._spans.exemplar
        self._synthesizer: QueuedSynthesizer | None = None  # once the client's rate lets the utterance begin
        self._writer_timer: asyncio.TimerHandle
        self._speaking: asyncio.Task[None] | None = None
        self._error: StreamerError | None = None
        self._ended: SpeechEnded | None = None
        self._num_sentences = 0
        self._num_packets = 0
        self._audio_ms = 0
        self._text_ready_s = 0.0  # of the sentence that is being sent
        self._underrun_s = 0.0

    def stop(self, error: StreamerError | None = None) -> None:
        """End the utterance now: `failed` if there is an error, otherwise `cancelled`. Idempotent."""
        if not self.utterance.was_stopped:
            self.utterance.was_stopped = True
            self._error = error
            if self._speaking is not None:
                self._speaking.cancel()

    async def run(self) -> None:
        """Speak to the end, or until stopped."""
        reason: EndReason = "client_gone"
        self._expect_text()
        try:
            if not self.utterance.was_stopped:
                async with asyncio.TaskGroup() as tasks:
                    self._speaking = tasks.create_task(self._speak_or_fail(tasks))
            outcome = self._outcome()
            reason = outcome.reason
            if (error := outcome.error) is not None:
                self._metrics.errors.labels(error.code).inc()
                self.utterance.span.fail(error.code, error.message)
            await self._send(self._wire.done(self.utterance, outcome))
        finally:
            self._writer_timer.cancel()
            self._leave(reason)

    def abandon(self) -> None:
        """Give up what never came to run, because its client was gone at once."""
        self._leave("client_gone")

    def _leave(self, reason: EndReason) -> None:
        self._permit.release()
        self._record.close(
            reason,
            audio_ms=self._audio_ms,
            num_chars=self.utterance.feed.num_chars,
            num_begun_chars=self.utterance.num_begun_chars,
            error=self._error,
        )
        if self.utterance.clock.is_paced and self._num_packets:
            self._metrics.playback_ended(self._underrun_s)
        self._spans.end(OUTCOMES_OF[reason], self._audio_ms)
        self.utterance.span.end()

    def _expect_text(self) -> None:
        """Fail the utterance whose client has forgotten to end its text; look again when that may be so."""
        timeout_s = self._service.config.limits.idle_timeout_s
        is_idle = self._synthesizer is not None and self._synthesizer.is_idle
        silent_s = self.utterance.silent_s if is_idle else 0.0
        if silent_s >= timeout_s:
            message = f"no text has come for {timeout_s:g} s, and it was not ended"
            self.stop(IdleTimeoutError(message))
        loop = asyncio.get_running_loop()
        self._writer_timer = loop.call_later(max(timeout_s - silent_s, MIN_CHECK_S), self._expect_text)

    async def _speak_or_fail(self, tasks: asyncio.TaskGroup) -> None:
        try:
            await self._speak(lambda place: tasks.create_task(self._tell(Queued(place))))
        except StreamerError as error:
            self._error = error
        except Exception:
            logger.exception("an unexpected error", extra=self._record.ids)
            self._error = InternalError("the utterance failed; the server's log says why")

    async def _speak(self, tell_place: Callable[[int], object]) -> None:
        utterance = self.utterance
        with utterance.span.child("rate wait"):
            await self._permit.wait()
        self._synthesizer = self._permit.queued(self._service.synthesizer, tell_place, utterance.span)
        encoder = self._spans.encoder
        events = self._service.speak(
            utterance.feed, utterance.settings, encoder, utterance.trace_id, self._synthesizer
        )
        if utterance.starts_safely:
            expected_speed = self._service.synthesizer.health().expected_speed
            if expected_speed is not None:
                expected_speed /= utterance.settings.speed
            events = start_safely(events, utterance.feed, expected_speed)
        async with contextlib.aclosing(events):
            async for event in events:
                await utterance.wait_for_turn()
                self._spans.follow(event)
                if isinstance(event, Packet):
                    await self._send_packet(event)
                elif isinstance(event, SpeechEnded):
                    self._ended = event
                    self._audio_ms = event.audio_ms
                else:
                    await self._tell(event)

    async def _send_packet(self, packet: Packet) -> None:
        """Wait until the client is near enough to the end of what it has, then send."""
        clock = self.utterance.clock
        frames = self._wire.packet(self.utterance, packet)
        if not frames:
            return
        start_ms = max(0.0, packet.timestamp / _SAMPLES_PER_MS)
        end_ms = (packet.timestamp + packet.duration) / _SAMPLES_PER_MS
        was_in_time = await clock.until_due(start_ms, end_ms)
        await self._send(frames)
        self._num_packets += 1
        self._audio_ms = max(self._audio_ms, round(end_ms))
        underrun_s = clock.sent(start_ms, end_ms)
        # A client that waits for its writer's next words hears a pause of the writer, not one of ours.
        is_ours = clock.is_paced and not was_in_time and self._text_ready_s <= time.monotonic() - underrun_s
        if underrun_s > 0 and is_ours:
            self._underrun_s += underrun_s
            self._metrics.count_underrun(underrun_s, self._spans.exemplar)
            self.utterance.span.event("underrun", seconds=underrun_s)
        if clock.is_paced:
            self._metrics.paced_audio_seconds.inc((end_ms - start_ms) / 1000)
        if self._num_packets == 1:
            self._record.note_first_audio(self.utterance.first_text_s)
            self.utterance.span.event("first audio")

    async def _tell(self, event: SpeechEvent) -> None:
        if isinstance(event, SentenceStarted):
            self._text_ready_s = event.text_ready_s
            self._num_sentences += 1
        self.utterance.follow(event)
        await self._send(self._wire.event(self.utterance, event))

    async def _send(self, frames: Sequence[Frame]) -> None:
        self.utterance.touch()
        for frame in frames:
            await self._outbox.put(frame)

    def _outcome(self) -> Outcome:
        ended, reason = self._ended, self._reason()
        factor = None if ended is None else self._record.note_generation(ended.generation_s, ended.audio_ms)
        return Outcome(
            reason=reason,
            audio_ms=self._audio_ms,
            num_packets=self._num_packets,
            num_sentences=self._num_sentences,
            error=self._error,
            first_audio_ms=self._record.first_audio_ms,
            real_time_factor=factor,
            heard_chars=self.utterance.heard_chars() if reason == "cancelled" else None,
        )

    def _reason(self) -> Reason:
        if self._error is not None:
            return "failed"
        if self._ended is None:
            return "cancelled"
        return "truncated" if self._ended.truncated else "completed"
