"""Speaks one utterance: the pipeline's events become paced frames, and in the end one `done`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator

from streamer.audio.packets import PacketEncoder
from streamer.errors import InternalError, StreamerError
from streamer.server.flow_control import Outbox
from streamer.server.native import messages
from streamer.server.native.framing import END_OF_UTTERANCE, FIRST_OF_SENTENCE, audio_frame
from streamer.server.native.replies import event_message, failure, held_back
from streamer.server.utterance import Utterance
from streamer.speech.events import (
    AudioPacket,
    Flushed,
    PlaybackDelayed,
    SentenceEnded,
    SentenceStarted,
    SpeechEnded,
    SpeechEvent,
    SpeechWarning,
    WordTimes,
)
from streamer.speech.pipeline import speak
from streamer.speech.safe_start import start_safely
from streamer.synthesis import Synthesizer
from streamer.telemetry.metrics import Metrics
from streamer.text.capabilities import find_unsupported

logger = logging.getLogger(__name__)
_SAMPLES_PER_MS = 48
_OUTCOMES = {"completed": "ok", "truncated": "truncated", "cancelled": "cancelled", "failed": "error"}


class Speaker:
    """Runs one utterance: every way out of `run` sends exactly one `done`, unless the connection is gone."""

    def __init__(
        self,
        utterance: Utterance,
        encoder: PacketEncoder,
        synthesizer: Synthesizer,
        outbox: Outbox,
        metrics: Metrics,
        *,
        is_framed: bool,
        session_id: str,
    ) -> None:
        self._who = {"session_id": session_id, "utterance_id": utterance.id}
        self._utterance = utterance
        self._encoder = encoder
        self._synthesizer = synthesizer
        self._outbox = outbox
        self._metrics = metrics
        self._is_framed = is_framed
        self._sequence = 0
        self._num_packets = 0
        self._audio_ms = 0
        self._first_audio_ms: int | None = None
        self._ended: SpeechEnded | None = None
        self._warned: set[str] = set()
        self._text_known_s = 0.0  # of the sentence that is being sent

    async def run(self) -> None:
        """Speak to the end, or until stopped."""
        outcome = "client_gone"
        try:
            reason, error = await self._speak_until_stopped()
            outcome = _OUTCOMES[reason]
            if error is not None:
                self._metrics.errors.labels(error.code).inc()
                logger.warning(
                    "utterance failed", extra=self._who | {"code": error.code, "reason": error.message}
                )
            await self._outbox.put(messages.encode(self._done(reason, error)))
        finally:
            utterance = self._utterance
            utterance.permit.release()
            self._metrics.utterance_ended(
                outcome, audio_ms=self._audio_ms, num_chars=utterance.num_spoken_chars
            )

    async def _speak_until_stopped(self) -> tuple[messages.Reason, StreamerError | None]:
        utterance = self._utterance
        try:
            # A time-out that never comes by itself: `Utterance.stop` sets it to now.
            async with asyncio.timeout(None) as utterance.scope:
                if utterance.stopped_by is None:
                    await self._speak()
        except StreamerError as error:
            return "failed", error
        except Exception as error:
            if utterance.stopped_by is None or not isinstance(error, TimeoutError):
                logger.exception("an unexpected error", extra=self._who)
                return "failed", InternalError("the utterance failed; the server's log says why")
        finally:
            utterance.scope = None
        if isinstance(utterance.stopped_by, StreamerError):
            return "failed", utterance.stopped_by
        if utterance.stopped_by is not None and self._ended is None:
            return "cancelled", None
        return ("truncated" if self._ended is not None and self._ended.truncated else "completed"), None

    async def _speak(self) -> None:
        utterance = self._utterance
        await utterance.permit.wait()
        events: AsyncGenerator[SpeechEvent, None] = speak(
            utterance.feed, self._synthesizer, utterance.settings, self._encoder
        )
        if utterance.settings.starts_safely:
            events = start_safely(events, utterance.feed, self._synthesizer.expected_speed())
        async with contextlib.aclosing(events):
            async for event in events:
                while (before := utterance.after) is not None:
                    await before.sent.wait()
                    if before.stopped_by is None:
                        utterance.clock.begin_after(before.clock)
                    utterance.after = before.after  # unless it left the line before its turn: None
                if isinstance(event, AudioPacket):
                    await self._send_packet(event)
                else:
                    await self._tell(event)

    async def _send_packet(self, packet: AudioPacket) -> None:
        """Wait until the listener is near enough, then send."""
        if not packet.payload and not self._is_framed:
            return
        utterance, clock = self._utterance, self._utterance.clock
        start_ms = max(0.0, packet.timestamp / _SAMPLES_PER_MS)
        end_ms = (packet.timestamp + packet.duration) / _SAMPLES_PER_MS
        was_in_time = await clock.until_due(start_ms, end_ms)
        payload = packet.payload
        if self._is_framed:
            flags = FIRST_OF_SENTENCE * packet.is_first | END_OF_UTTERANCE * packet.is_last
            payload = audio_frame(flags, utterance.stream, self._sequence, packet.timestamp, payload)
        await self._outbox.put(payload)
        self._sequence += 1
        self._num_packets += 1
        self._audio_ms = max(self._audio_ms, round(end_ms))
        dry_s = clock.sent(start_ms, end_ms)
        # Who waits for a writer's next words hears a pause of the writer, not one of ours.
        is_ours = clock.is_paced and not was_in_time and self._text_known_s <= time.monotonic() - dry_s
        if dry_s > 0 and is_ours:
            self._metrics.listener_ran_dry(dry_s)
        if self._first_audio_ms is None:
            first_audio_s = time.monotonic() - (utterance.first_text_s or time.monotonic())
            self._first_audio_ms = round(first_audio_s * 1000)
            self._metrics.first_audio.observe(first_audio_s)

    async def _tell(
        self,
        event: SentenceStarted
        | SentenceEnded
        | WordTimes
        | Flushed
        | PlaybackDelayed
        | SpeechWarning
        | SpeechEnded,
    ) -> None:
        utterance = self._utterance
        if isinstance(event, PlaybackDelayed):
            await self._outbox.put(messages.encode(held_back(utterance.id, event)))
            return
        if isinstance(event, SpeechEnded):
            self._ended = event
            self._audio_ms = event.audio_ms
            return
        if isinstance(event, SentenceStarted):
            self._text_known_s = event.text_ready_s
            utterance.num_spoken_chars = max(utterance.num_spoken_chars, event.char_end)
            utterance.num_sentences += 1
            utterance.words.begin_sentence(event.expected_words)
            await self._warn_of_unsupported(event.text)
        elif isinstance(event, WordTimes):
            utterance.words.end_sentence(event.words)
        await self._outbox.put(messages.encode(event_message(utterance.id, event)))

    async def _warn_of_unsupported(self, text: str) -> None:
        """Tell once per utterance what the loaded model cannot say of its text."""
        info = self._synthesizer.info
        unsupported = find_unsupported(text, info.languages, info.tags)
        found = [("unsupported_tag", tag, f"this model does not know {tag}") for tag in unsupported.tags]
        found += [
            ("unsupported_language", script, f"this model does not read {script.capitalize()} letters")
            for script in unsupported.scripts
        ]
        if language := unsupported.language:
            found.append(("unsupported_language", language, f"this model does not speak {language!r}"))
        for code, param, message in found:
            if param not in self._warned:
                self._warned.add(param)
                warning = messages.Warning(code=code, message=message, param=param, id=self._utterance.id)
                await self._outbox.put(messages.encode(warning))

    def _done(self, reason: messages.Reason, error: StreamerError | None) -> messages.Done:
        utterance = self._utterance
        factor = None
        if self._ended is not None and self._ended.audio_ms:
            factor = round(self._ended.generation_s * 1000 / self._ended.audio_ms, 3)
            self._metrics.real_time_factor.observe(factor)
        return messages.Done(
            ref=utterance.cancel_ref or utterance.ref,
            id=utterance.id,
            reason=reason,
            error=failure(error) if error else None,
            audio_ms=self._audio_ms,
            packets=self._num_packets,
            sentences=utterance.num_sentences,
            characters=utterance.feed.num_chars,
            seed=utterance.settings.params.seed,
            first_audio_ms=self._first_audio_ms,
            real_time_factor=factor,
            heard=utterance.heard(utterance.played_ms) if reason == "cancelled" else None,
        )
