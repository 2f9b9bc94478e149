"""Wyoming in any order of events: each text has one end, in the order in which they came; an error is the last."""

from __future__ import annotations

import json
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from streamer.server.client_protocol import ClientProtocol
from streamer.server.service import Service
from streamer.server.upgrade import Upgrade
from streamer.server.wire import Frame
from streamer.server.wyoming.messages import split
from streamer.server.wyoming.protocol import WyomingProtocol
from tests.fakes.letters import LETTERS, letter_of, samples_of
from tests.server.session_machine import SessionMachine, run, texts

MISTAKES: Final[tuple[tuple[dict[str, Any], str], ...]] = (
    ({"type": "synthesize", "data": {"text": 5}}, "text"),
    ({"type": "synthesize", "data": {"text": "a", "voice": {"name": "nobody"}}}, "nobody"),
    ({"type": "synthesize", "data": {"text": "a", "voice": {"language": "tlh"}}}, "tlh"),
    ({"type": "synthesize", "data": {"text": "a", "voice": {"speaker": "two"}}}, "two"),
    ({"type": "synthesize", "data": {"text": "a" * 81}}, "81"),
    ({"type": "synthesize", "data": {"text": "a", "text_format": "html"}}, "html"),
    ({"type": 5}, "type"),
)


class WyomingMachine(SessionMachine):
    close_codes = (1000, 1001, 1011)

    def create_protocol(self, upgrade: Upgrade, service: Service) -> ClientProtocol:
        return WyomingProtocol(upgrade, service)

    def connect(self) -> None:
        self.due: list[tuple[str, bool]] = []
        """The letters of the texts whose end has not come, and whether they were streamed."""
        self.num_texts = 0
        self.writing = ""
        """The letter of the text whose chunks are being sent."""
        self.has_failed = False
        self.is_asking = False
        """Whether an error now answers what the client has just said, and ends no text."""
        super().connect()

    def heard(self, frame: Frame) -> None:
        assert isinstance(frame, bytes)
        header, behind = split(frame)
        if header.type == "audio-chunk":
            letter = letter_of(samples_of(behind[header.data_length or 0 :]))
            assert letter in (None, self.due[0][0]), (letter, self.due)
        elif header.type == ("synthesize-stopped" if self.due and self.due[0][1] else "audio-stop"):
            self.due.pop(0)  # raises for an end of nothing
        elif header.type == "error":
            self.has_failed = True
            if self.due and not self.is_asking:
                self.due.pop(0)

    def is_done(self) -> bool:
        return not self.due or self.has_failed

    def farewell(self) -> list[dict[str, Any] | Frame]:
        return [event("synthesize-stop")] if self.writing else []

    def say(self, *messages: dict[str, Any] | Frame) -> list[Frame]:
        self.is_asking = True
        answers = super().say(*messages)
        self.is_asking = False
        return answers

    def ask(self, letter: str, message: Frame, *, is_streamed: bool) -> None:
        """Ask for a text; what was opened for it has an end of its own."""
        before = self.peer.protocol.num_opened
        self.peer.say(message)
        self.loop.pass_time()
        if self.peer.protocol.num_opened > before:
            self.due.append((letter, is_streamed))
        self.say()

    @precondition(lambda self: self.is_open)
    @rule(data=st.data())
    def synthesize(self, data: st.DataObject) -> None:
        self.num_texts += 1
        letter = self.writing or LETTERS[self.num_texts % len(LETTERS)]
        self.ask(letter, event("synthesize", text=data.draw(texts(letter))), is_streamed=False)

    @precondition(lambda self: self.is_open)
    @rule()
    def begin(self) -> None:
        self.num_texts += 1
        self.writing = self.writing or LETTERS[self.num_texts % len(LETTERS)]
        self.ask(self.writing, event("synthesize-start", voice={"language": "en"}), is_streamed=True)

    @precondition(lambda self: self.is_open)
    @rule(data=st.data())
    def chunk(self, data: st.DataObject) -> None:
        self.say(event("synthesize-chunk", text=data.draw(texts(self.writing or "a"))))

    @precondition(lambda self: self.is_open)
    @rule()
    def stop(self) -> None:
        self.writing = ""
        self.say(event("synthesize-stop"))

    @precondition(lambda self: self.is_open)
    @rule(kind=st.sampled_from(["describe", "ping", "audio-chunk", "sing"]))
    def ask_else(self, kind: str) -> None:
        answers = self.say(event(kind))
        if self.is_prompt and self.is_open:
            assert len(answers) == (kind in ("describe", "ping"))

    @precondition(lambda self: self.is_open and not self.writing)
    @rule(mistake=st.sampled_from(MISTAKES))
    def is_wrong(self, mistake: tuple[dict[str, Any], str]) -> None:
        message, named = mistake
        answers = self.say(json.dumps(message).encode() + b"\n")
        if self.is_prompt:
            assert b'"error"' in answers[0] and named.encode() in answers[0]  # type: ignore[operator]


def event(kind: str, **data: Any) -> bytes:
    return json.dumps({"type": kind, "data": data}).encode() + b"\n"


TestWyoming = run(WyomingMachine)
