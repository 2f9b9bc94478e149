"""How the native protocol sends one utterance: JSON for its events, binary frames for its sound."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from streamer.audio.packets import Packet
from streamer.errors import StreamerError
from streamer.server.native import messages
from streamer.server.utterance import Utterance
from streamer.server.wire import Frame, Outcome
from streamer.speech.events import (
    Flushed,
    PlaybackDelayed,
    Queued,
    SentenceEnded,
    SentenceStarted,
    SpeechEvent,
    SpeechWarning,
    WordTimes,
)

VERSION: Final = 1
FIRST_OF_SENTENCE: Final = 1
END_OF_UTTERANCE: Final = 2
_HEADER: Final = struct.Struct("!BBHII")
"""Version, flags, stream, sequence number, timestamp; `docs/protocol.md` explains them."""


class NativeWire:
    """Implements `server.wire.Wire`.

    `stream` is the number in the headers of the utterance's packets, and None for packets without headers. `ref`
    is echoed by `done`, unless `end_ref` is set to that of the message that ended the utterance.
    """

    def __init__(self, stream: int | None, ref: str | None) -> None:
        self.end_ref: str | None = None
        self._stream = stream
        self._ref = ref
        self._sequence = 0

    def event(self, utterance: Utterance, event: SpeechEvent) -> Sequence[Frame]:
        message = _message(utterance.id, event)
        return () if message is None else (messages.encode(message),)

    def packet(self, utterance: Utterance, packet: Packet) -> Sequence[Frame]:  # noqa: ARG002
        if self._stream is None:
            return (packet.payload,) if packet.payload else ()
        flags = FIRST_OF_SENTENCE * packet.is_first | END_OF_UTTERANCE * packet.is_last
        timestamp = packet.timestamp & 0xFFFFFFFF
        header = _HEADER.pack(VERSION, flags, self._stream, self._sequence & 0xFFFFFFFF, timestamp)
        self._sequence += 1
        return (header + packet.payload,)

    def done(self, utterance: Utterance, outcome: Outcome) -> Sequence[Frame]:
        message = messages.Done(
            ref=self.end_ref or self._ref,
            id=utterance.id,
            reason=outcome.reason,
            error=_failure(outcome.error) if outcome.error else None,
            audio_ms=outcome.audio_ms,
            packets=outcome.num_packets,
            sentences=outcome.num_sentences,
            characters=utterance.feed.num_chars,
            seed=utterance.settings.params.seed,
            first_audio_ms=outcome.first_audio_ms,
            real_time_factor=outcome.real_time_factor,
            heard=heard(utterance, outcome.heard_chars),
        )
        return (messages.encode(message),)


def heard(utterance: Utterance, num_chars: int | None) -> messages.Heard | None:
    """The beginning of the utterance's text that the client has heard; None if that is not known."""
    if num_chars is None:
        return None
    return messages.Heard(text=utterance.feed.text[:num_chars], char_end=num_chars)


def _failure(error: StreamerError) -> messages.Failure:
    return messages.Failure(
        code=error.code, message=error.message, retryable=error.retryable, retry_after_s=error.retry_after_s
    )


def _message(utterance_id: str, event: SpeechEvent) -> messages.ServerMessage | None:
    match event:
        case SentenceStarted():
            return messages.SentenceStart(
                id=utterance_id,
                index=event.index,
                text=event.text,
                char_start=event.char_start,
                char_end=event.char_end,
                start_ms=event.start_ms,
                voice=event.voice,
            )
        case SentenceEnded():
            return messages.SentenceEnd(id=utterance_id, index=event.index, end_ms=event.end_ms)
        case WordTimes():
            return _words(utterance_id, event)
        case Flushed():
            return messages.Flushed(id=utterance_id, ref=event.ref)
        case SpeechWarning():
            return messages.WarningMessage(
                code=event.code,
                message=event.message,
                param=event.param,
                id=utterance_id,
                index=event.index,
                seed=event.seed,
            )
        case PlaybackDelayed():
            message = f"speech is made more slowly than it plays: it begins in about {event.wait_ms} ms"
            return messages.WarningMessage(
                code="held_back", message=message, id=utterance_id, wait_ms=event.wait_ms
            )
        case Queued():
            message = f"the server is busy: the utterance waits at place {event.place}"
            return messages.WarningMessage(code="queued", message=message, id=utterance_id, place=event.place)
    return None


def _words(utterance_id: str, event: WordTimes) -> messages.Words:
    items = [
        messages.Word(
            text=word.text,
            start_ms=word.start_ms,
            end_ms=word.end_ms,
            char_start=word.char_start,
            char_end=word.char_end,
        )
        for word in event.words
    ]
    return messages.Words(id=utterance_id, index=event.index, items=items, estimated=event.is_estimated)
