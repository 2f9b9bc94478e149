"""What is said in a call: text becomes utterances one behind another, and marks tell when they have been heard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from streamer.audio.formats import AudioFormat
from streamer.errors import (
    OverloadedError,
    RateLimitedError,
    StreamerError,
    TextTooLongError,
)
from streamer.server.client_protocol import Action, Cancel, Deliver, Open, Send, SetTimer, Write
from streamer.server.service import Service
from streamer.server.telephony.calls import Driver
from streamer.server.telephony.messages import Call, Message, error_message, missing
from streamer.server.telephony.wire import MediaStreamWire
from streamer.server.utterance import Utterance
from streamer.server.voice_choice import find_voice
from streamer.speech.text_feed import TextEnd
from streamer.text.message_borders import parted

MAX_MARKS: Final = 64
"""Marks of a call that may wait for their sound to be heard."""
DEFAULT_LEAD_MS: Final = 2000
"""How far ahead of its playback sound is sent to a telephone, if the operator has set no limit."""
_MARK_PREFIX: Final = "streamer-"
"""What the names of the marks begin with that stand behind an utterance."""


@dataclass(eq=False, slots=True)
class _Mark:
    """A mark that somebody waits for. `behind`: the utterance whose sound is before it."""

    name: str
    driver: Driver | None
    behind: Utterance


class Talk:
    """The utterances of a call. Text is appended to the one that is being written; `last` or a mark ends it."""

    def __init__(self, call: Call, service: Service) -> None:
        self._call = call
        self._service = service
        self._limits = service.config.limits
        self._open: dict[Utterance, MediaStreamWire] = {}
        self._writing: Utterance | None = None
        self._before = ""  # the message that was written last
        self._latest: Utterance | None = None  # open, or perhaps still being played
        self._asked: tuple[Message, MediaStreamWire] | None = (
            None  # what the session is to open an utterance for
        )
        self._marks: list[_Mark] = []
        self._num_utterances = 0

    @property
    def next_name(self) -> str:
        """The name of the mark behind the next utterance."""
        return f"{_MARK_PREFIX}{self._num_utterances + 1}"

    def was_sent(self, name: str) -> bool:
        """Whether a mark is one of ours, which the telephone reports to have played."""
        number = name.removeprefix(_MARK_PREFIX)
        return (
            name.startswith(_MARK_PREFIX) and number.isdecimal() and int(number[:9]) <= self._num_utterances
        )

    def react(self, message: Message, driver: Driver | None) -> Sequence[Action]:
        """Do what a program asks; `driver` is None for the stream's own client. Raises `StreamerError`."""
        match message.event:
            case "text":
                return self._append(message, driver)
            case "mark":
                return self._mark(message, driver)
        stopped = self.stop()
        # Who plays the sound has emptied its own buffer before it asks.
        return stopped if driver is None else [*stopped, Send(self._call.clear())]

    def opened(self, utterance: Utterance) -> Sequence[Action]:
        """The session has opened the utterance that it was asked for."""
        assert self._asked is not None
        message, wire = self._asked
        self._open[utterance] = wire
        self._writing = self._latest = utterance
        self._before = ""
        return self._write(utterance, message)

    def refused(self, error: StreamerError) -> Sequence[Action]:
        """The session has not opened it."""
        assert self._asked is not None
        message, driver = error_message(error), self._asked[1].driver
        return [Send(message, error) if driver is None else Deliver(driver, message)]

    def ended(self, utterance: Utterance) -> tuple[MediaStreamWire, Sequence[Action]]:
        """An utterance is over: its program is told, and its marks wait until it has been played.

        It has no outcome if the telephone is gone.
        """
        wire = self._open.pop(utterance)
        if self._writing is utterance:
            self._writing = None
        if wire.outcome is None:
            return wire, ()
        actions: list[Action] = []
        error = wire.outcome.error
        if wire.driver is not None:
            done: dict[str, object] = {"reason": wire.outcome.reason, "audio_ms": wire.outcome.audio_ms}
            if error is not None:
                done["error"] = {"code": error.code, "message": error.message}
            actions.append(Deliver(wire.driver, self._call.told("done", done)))
        elif error is not None:
            actions.append(Send(error_message(error)))
        return wire, [*actions, self._wait(utterance)] if self._is_marked(utterance) else actions

    def stop(self) -> Sequence[Action]:
        """Stop everything, and answer every mark."""
        cancels = [Cancel(utterance) for utterance in self._open]
        marks, self._marks = self._marks, []
        self._writing = self._latest = None
        return [*cancels, *map(self._answer, marks)]

    def _append(self, message: Message, driver: Driver | None) -> Sequence[Action]:
        if message.text is None and not message.last:
            raise missing("text", "text")
        text = message.text or ""
        if len(text) > self._limits.max_text_chars:
            limit = self._limits.max_text_chars
            raise TextTooLongError(f"{len(text)} characters; one text holds at most {limit}", param="text")
        writing = self._writing
        info, speech = self._service.synthesizer.info, self._service.config.speech
        voice = find_voice(message.voice, info, speech)
        if writing is not None and (message.voice is None or voice == writing.settings.voice):
            if writing.num_waiting_chars + len(text) > self._limits.max_buffered_chars:
                limit = self._limits.max_buffered_chars
                raise TextTooLongError(f"more than {limit} characters wait to be spoken", param="text")
            return self._write(writing, message)
        opening = self._open_for(message, voice, driver)
        return [opening] if writing is None else [self._end(writing), opening]

    def _open_for(self, message: Message, voice: str, driver: Driver | None) -> Open:
        if len(self._open) >= self._limits.max_utterances_per_session:
            raise OverloadedError(f"{len(self._open)} utterances are open in this call", retry_after_s=1.0)
        settings, lead_ms = self._service.settings(voice), self._service.config.speech.lead_ms
        wire = MediaStreamWire(self._call, self.next_name, driver)
        self._num_utterances += 1
        self._asked = message, wire
        lead_ms = DEFAULT_LEAD_MS if lead_ms is None else lead_ms
        return Open(
            wire.name, settings, AudioFormat(self._call.codec, 8000), lead_ms, wire, after=self._latest
        )

    def _write(self, utterance: Utterance, message: Message) -> list[Action]:
        text = message.text or ""
        writes: list[Action] = [Write(utterance, parted(self._before, text))]
        self._before = text
        return [*writes, self._end(utterance)] if message.last else writes

    def _end(self, utterance: Utterance) -> Write:
        self._writing = None
        return Write(utterance, TextEnd())

    def _mark(self, message: Message, driver: Driver | None) -> Sequence[Action]:
        if message.mark is None:
            raise missing("mark", "mark")
        if len(self._marks) >= MAX_MARKS:
            raise RateLimitedError(f"{MAX_MARKS} marks wait for their sound to be heard", retry_after_s=1.0)
        if self._latest is None:
            return [self._reply(message.mark.name, driver)]
        self._marks.append(_Mark(message.mark.name, driver, self._latest))
        ends: list[Action] = [] if self._writing is None else [self._end(self._writing)]
        return ends if self._latest in self._open else [*ends, self._wait(self._latest)]

    def _is_marked(self, utterance: Utterance) -> bool:
        return any(mark.behind is utterance for mark in self._marks)

    def _wait(self, utterance: Utterance) -> SetTimer:
        """Answer the marks up to those behind an utterance that has all been sent, once it has been played."""

        def heard() -> Sequence[Action]:
            heard_marks: list[_Mark] = []
            while self._is_marked(utterance):
                heard_marks.append(self._marks.pop(0))
            return [*map(self._answer, heard_marks)]

        return SetTimer(f"heard {utterance.id}", utterance.clock.remaining_s, heard)

    def _answer(self, mark: _Mark) -> Action:
        return self._reply(mark.name, mark.driver)

    def _reply(self, name: str, driver: Driver | None) -> Action:
        if driver is None:
            return Send(self._call.mark(name))
        return Deliver(driver, self._call.told("mark", {"name": name}))
