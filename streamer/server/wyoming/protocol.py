"""Wyoming as a state machine without I/O: a client's event goes in, what is to be done comes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from wyoming.ping import Pong

from streamer.audio.formats import AudioFormat
from streamer.errors import (
    InvalidMessageError,
    InvalidParameterError,
    OverloadedError,
    StreamerError,
    TextTooLongError,
)
from streamer.server.client_protocol import Action, Close, Open, Send, Write
from streamer.server.service import Service
from streamer.server.upgrade import Upgrade
from streamer.server.utterance import Utterance
from streamer.server.wire import Frame
from streamer.server.wyoming.messages import (
    Ping,
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    Voice,
    encode,
    error_event,
    read_data,
    split,
)
from streamer.server.wyoming.program import choose_voice, describe
from streamer.server.wyoming.wire import WyomingWire
from streamer.speech.text_feed import TextEnd
from streamer.text.message_borders import parted

SOUND: Final = AudioFormat("pcm_s16le")
TEXT_FORMATS: Final = (None, "text", "ssml")
"""What may be asked for; all are read alike, because SSML is known by its `<speak>`."""
OVER: Final = 1000
FAILED: Final = 1011


class WyomingProtocol:
    """Implements `server.client_protocol.ClientProtocol`.

    What a client asks for while it is spoken to is spoken behind that. An error ends the connection once nothing is
    being spoken any more: a client that does not know the event `error` would wait for its sound forever.
    """

    def __init__(self, _upgrade: Upgrade, service: Service) -> None:
        self._service = service
        self._limits = service.config.limits
        self._open: dict[Utterance, WyomingWire] = {}
        self._asked: Synthesize | SynthesizeStart | None = (
            None  # what the session is to open an utterance for
        )
        self._wire = WyomingWire(is_streamed=False)
        self._streamed: Utterance | None = None  # whose text comes in chunks
        self._before = ""  # the chunk that was written last
        self._is_streaming = False  # between `synthesize-start` and `-stop`, also if that was refused
        self._has_failed = False

    @property
    def idle_timeout_s(self) -> float:
        return self._limits.idle_timeout_s

    def greeting(self, session_id: str) -> Sequence[Action]:  # noqa: ARG002
        return ()

    def receive(self, frame: Frame) -> Sequence[Action]:
        try:
            return self._react(frame)
        except StreamerError as error:
            return self._report(error)

    def authenticated(self, key: str | StreamerError) -> Sequence[Action]:  # noqa: ARG002
        return ()

    def opened(self, utterance: Utterance) -> Sequence[Action]:
        asked = self._asked
        self._open[utterance] = self._wire
        if isinstance(asked, Synthesize):
            return [Write(utterance, asked.text), Write(utterance, TextEnd())]
        self._streamed = utterance
        self._before = ""
        return ()

    def refused(self, error: StreamerError) -> Sequence[Action]:
        return self._report(error)

    def ended(self, utterance: Utterance) -> Sequence[Action]:
        wire = self._open.pop(utterance)
        self._has_failed |= wire.has_failed
        if self._streamed is utterance:
            self._streamed = None
        return self._leave()

    def idled(self) -> Sequence[Action]:
        return () if self._open else [Close(OVER, "nothing was asked for")]

    def going_away(self, deadline_s: float) -> Sequence[Action]:  # noqa: ARG002
        return ()

    def failed(self, error: StreamerError) -> Sequence[Action]:
        return [Send(error_event(error), error), Close(FAILED, error.message)]

    def _react(self, frame: Frame) -> Sequence[Action]:
        header, behind = split(frame)
        match header.type:
            case "describe":
                return [Send(describe(self._service.synthesizer.info))]
            case "ping":
                return [Send(encode(Pong(text=read_data(header, behind, Ping).text).event()))]
            case "synthesize":
                return self._synthesize(read_data(header, behind, Synthesize))
            case "synthesize-start":
                return self._start(read_data(header, behind, SynthesizeStart))
            case "synthesize-chunk":
                return self._append(read_data(header, behind, SynthesizeChunk).text)
            case "synthesize-stop":
                return self._stop()
        return ()  # clients send what a server may not know, and expect no answer to it

    def _synthesize(self, asked: Synthesize) -> Sequence[Action]:
        if self._is_streaming:
            # Home Assistant sends the whole text behind its chunks, for servers that do not know these.
            if self._streamed is not None and not self._streamed.feed.num_chars:
                return self._append(asked.text)
            return ()
        self._check_length(len(asked.text), self._limits.max_buffered_chars)
        return [self._ask(asked)]

    def _start(self, asked: SynthesizeStart) -> Sequence[Action]:
        if self._is_streaming:
            raise InvalidMessageError(
                "`synthesize-start` comes before the `synthesize-stop` of the one before"
            )
        self._is_streaming = True
        return [self._ask(asked)]

    def _append(self, text: str) -> Sequence[Action]:
        if not self._is_streaming:
            raise InvalidMessageError("`synthesize-chunk` comes without `synthesize-start`")
        if self._streamed is None:
            return ()  # it was refused, or has failed; the client has been told
        self._check_length(self._streamed.num_waiting_chars + len(text), self._limits.max_buffered_chars)
        before, self._before = self._before, text
        return [Write(self._streamed, parted(before, text))]

    def _stop(self) -> Sequence[Action]:
        if not self._is_streaming:
            raise InvalidMessageError("`synthesize-stop` comes without `synthesize-start`")
        self._is_streaming = False
        streamed, self._streamed = self._streamed, None
        return [] if streamed is None else [Write(streamed, TextEnd())]

    def _ask(self, asked: Synthesize | SynthesizeStart) -> Open:
        """Return what the session is to open; raises what is wrong with it."""
        if asked.text_format not in TEXT_FORMATS:
            message = f"text_format {asked.text_format!r} is not supported: send text or ssml"
            raise InvalidParameterError(message, param="text_format")
        if len(self._open) >= self._limits.max_utterances_per_session:
            message = f"{len(self._open)} texts are being spoken over this connection"
            raise OverloadedError(message, retry_after_s=1.0)
        settings = self._service.settings(choose_voice(asked.voice or Voice(), self._service))
        self._asked = asked
        self._wire = WyomingWire(is_streamed=isinstance(asked, SynthesizeStart))
        # Home Assistant collects the sound before it plays any, or passes it on to players that buffer it.
        lead_ms = None
        return Open("", settings, SOUND, lead_ms, self._wire, after=next(reversed(self._open), None))

    def _check_length(self, num_chars: int, limit: int) -> None:
        if num_chars > limit:
            raise TextTooLongError(
                f"{num_chars} characters wait to be spoken; at most {limit} may", param="text"
            )

    def _report(self, error: StreamerError) -> Sequence[Action]:
        self._has_failed = True
        return [Send(error_event(error), error), *self._leave()]

    def _leave(self) -> Sequence[Action]:
        is_over = self._has_failed and not self._open
        return [Close(FAILED, "a request failed")] if is_over else ()
