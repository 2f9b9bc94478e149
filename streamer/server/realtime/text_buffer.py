"""The dialect of `input_text_buffer` as a state machine without I/O: text is appended, committed, and cleared.

It is Together's API for text to speech, as pipecat's `TogetherTTSService` speaks it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from streamer.audio.formats import AudioFormat
from streamer.errors import (
    EngineError,
    IdleTimeoutError,
    InvalidMessageError,
    InvalidParameterError,
    OverloadedError,
    StreamerError,
    TextTooLongError,
    UnknownMessageTypeError,
)
from streamer.server.client_protocol import Action, Cancel, Close, Open, Send, Write
from streamer.server.json_messages import check_size, decoded
from streamer.server.realtime.messages import Name, encode, error_fields, read_query
from streamer.server.realtime.spoken import DELTA_MS
from streamer.server.realtime.text_buffer_wire import TextBufferWire
from streamer.server.service import Service
from streamer.server.upgrade import Upgrade
from streamer.server.utterance import Utterance
from streamer.server.voice_choice import find_voice
from streamer.server.wire import Frame
from streamer.speech.text_feed import TextEnd, TextFlush
from streamer.text.message_borders import parted
from streamer.text.reading import AS_IT_IS, TextOptions
from streamer.text.scripts import base_language

SOUND: Final = AudioFormat("pcm_s16le", frame_ms=DELTA_MS)
OVER: Final = 1000
FAILED: Final = 1011


class SessionFields(Struct, frozen=True):
    """What a client may change in its session."""

    voice: Name | None = None


class Message(Struct, frozen=True):
    """Any event of a client; unknown fields are ignored."""

    type: Annotated[str, Meta(max_length=128)]
    text: str | None = None
    session: SessionFields | None = None


_decoder = msgspec.json.Decoder(Message)


class TextBufferProtocol:
    """Implements `server.client_protocol.ClientProtocol`.

    A commit has what was written spoken. The item is over once everything that was committed has been sent: pipecat
    commits each sentence, and takes the item's end for that of its turn. A commit of nothing ends the item for later
    text, which belongs to the next turn.
    """

    def __init__(self, upgrade: Upgrade, service: Service) -> None:
        self._service = service
        self._limits = service.config.limits
        self._query = read_query(upgrade.query)
        self._voice = self._query.get("voice")
        self._session_id = ""
        self._num_events = self._num_items = 0
        self._text = ""  # of the append that is to open an item
        self._before = ""  # the text that was appended last
        self._wire = self._new_wire()
        self._open: dict[Utterance, TextBufferWire] = {}
        self._writing: Utterance | None = None

    @property
    def idle_timeout_s(self) -> float:
        return self._limits.idle_timeout_s

    def greeting(self, session_id: str) -> Sequence[Action]:
        self._session_id = session_id
        return [self._send("session.created", session=self._session())]

    def receive(self, frame: Frame) -> Sequence[Action]:
        try:
            if isinstance(frame, bytes):
                raise InvalidMessageError("a binary frame; events are JSON text")
            check_size(frame, self._limits.max_message_bytes)
            return self._react(decoded(_decoder, frame))
        except StreamerError as error:
            return [self._failure(error)]

    def authenticated(self, key: str | StreamerError) -> Sequence[Action]:  # noqa: ARG002
        return ()

    def opened(self, utterance: Utterance) -> Sequence[Action]:
        self._open[utterance] = self._wire
        self._writing = utterance
        self._before = ""
        return self._write(utterance, self._text)

    def refused(self, error: StreamerError) -> Sequence[Action]:
        return [self._failure(error)]

    def ended(self, utterance: Utterance) -> Sequence[Action]:
        del self._open[utterance]
        if self._writing is utterance:
            self._writing = None
        return ()

    def idled(self) -> Sequence[Action]:
        if self._open:
            return ()
        error = IdleTimeoutError(f"nothing was said for {self.idle_timeout_s:g} s")
        return [self._fatal(error), Close(OVER, error.message)]

    def going_away(self, deadline_s: float) -> Sequence[Action]:  # noqa: ARG002
        return ()

    def failed(self, error: StreamerError) -> Sequence[Action]:
        reason = "the engine failed" if isinstance(error, EngineError) else error.message
        return [self._fatal(error), Close(FAILED, reason)]

    def _react(self, message: Message) -> Sequence[Action]:
        match message.type:
            case "input_text_buffer.append":
                if message.text is None:
                    raise InvalidParameterError("an append needs `text`", param="text")
                return self._append(message.text)
            case "input_text_buffer.commit":
                return self._commit()
            case "input_text_buffer.clear":
                self._writing = None
                return [*map(Cancel, self._open), self._send("input_text_buffer.cleared")]
            case "tts_session.updated" | "tts_session.update" | "session.update":
                if message.session is not None and message.session.voice is not None:
                    self._voice = message.session.voice
                return [self._send("session.updated", session=self._session())]
        raise UnknownMessageTypeError(f"unknown event {message.type!r}", param="type")

    def _append(self, text: str) -> Sequence[Action]:
        writing = self._writing
        if writing is None or self._open[writing].is_complete:
            waiting = sum(utterance.num_waiting_chars for utterance in self._open)
            self._check_length(waiting, text)
            return [self._ask(text)]
        self._check_length(writing.num_waiting_chars, text)
        return self._write(writing, text)

    def _write(self, utterance: Utterance, text: str) -> Sequence[Action]:
        wire = self._open[utterance]
        wire.has_uncommitted |= bool(text)
        received = self._send("conversation.item.input_text.received", item_id=wire.item_id, text=text)
        before, self._before = self._before, text
        return [Write(utterance, parted(before, text)), received]

    def _commit(self) -> Sequence[Action]:
        writing = self._writing
        if writing is None or (wire := self._open[writing]).is_complete:
            return [self._send("input_text_buffer.committed", item_id=None)]
        committed = self._send("input_text_buffer.committed", item_id=wire.item_id)
        if wire.has_uncommitted:
            wire.has_uncommitted = False
            wire.num_commits += 1
            return [Write(writing, TextFlush()), committed]
        self._writing = None
        wire.is_complete = True
        return [Write(writing, TextEnd()), committed]

    def _ask(self, text: str) -> Open:
        """Return what the session is to open; raises what is wrong with it."""
        if len(self._open) >= self._limits.max_utterances_per_session:
            raise OverloadedError(f"{len(self._open)} items are being spoken", retry_after_s=1.0)
        info, speech = self._service.synthesizer.info, self._service.config.speech
        settings = self._service.settings(find_voice(self._voice, info, speech), reading=self._reading())
        self._num_items += 1
        self._text, self._wire = text, self._new_wire()
        before = next(reversed(self._open), None)
        return Open(self._wire.item_id, settings, SOUND, speech.lead_ms, self._wire, after=before)

    def _reading(self) -> TextOptions:
        if not (language := self._query.get("language")):
            return AS_IT_IS
        reading = TextOptions(base_language(language)[:16])
        reading.check(self._service.synthesizer.info)
        return reading

    def _check_length(self, num_waiting: int, text: str) -> None:
        if len(text) > self._limits.max_text_chars:
            limit = self._limits.max_text_chars
            raise TextTooLongError(f"{len(text)} characters; one text holds at most {limit}", param="text")
        if num_waiting + len(text) > self._limits.max_buffered_chars:
            limit = self._limits.max_buffered_chars
            raise TextTooLongError(f"more than {limit} characters wait to be spoken", param="text")

    def _session(self) -> dict[str, Any]:
        return {
            "id": f"sess_{self._session_id}",
            "object": "realtime.tts.session",
            "modalities": ["text", "audio"],
            "model": self._service.synthesizer.info.name,
            "voice": self._voice or self._service.default_voice,
        }

    def _new_wire(self) -> TextBufferWire:
        return TextBufferWire(f"tts_{self._num_items}", self._new_event_id)

    def _new_event_id(self) -> str:
        self._num_events += 1
        return f"event_{self._session_id}_{self._num_events}"

    def _send(self, kind: str, **fields: Any) -> Send:
        return Send(encode(kind, self._new_event_id(), **fields))

    def _failure(self, error: StreamerError) -> Send:
        """Report what the session survives: clients take an `error` for its end, and connect again."""
        fields = error_fields(error)
        return Send(
            encode("conversation.item.tts.failed", self._new_event_id(), item_id=None, error=fields), error
        )

    def _fatal(self, error: StreamerError) -> Send:
        return Send(encode("error", self._new_event_id(), error=error_fields(error)), error)
