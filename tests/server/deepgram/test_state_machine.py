"""Deepgram's turns in any order of messages: each `Flush` has one answer, unless a `Clear` took it back."""

from __future__ import annotations

import itertools
import json
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from streamer.server.client_protocol import ClientProtocol
from streamer.server.deepgram.protocol import create_protocol
from streamer.server.service import Service
from streamer.server.upgrade import Upgrade
from streamer.server.wire import Frame
from tests.fakes.letters import LETTERS, letter_of, samples_of
from tests.server.session_machine import SessionMachine, run, texts

MISTAKES: Final[tuple[tuple[Frame | dict[str, Any], str], ...]] = (
    (b"\x00", "binary"),
    ("{", "JSON"),
    ({"type": "Sing"}, "Sing"),
    ({"type": "Speak", "text": 5}, "text"),
    ({"type": "Speak"}, "text"),
    ({"type": "Speak", "text": "a" * 41}, "41"),
    ({"text": "a"}, "type"),
)


class DeepgramMachine(SessionMachine):
    query = "model=tone"

    def create_protocol(self, upgrade: Upgrade, service: Service) -> ClientProtocol:
        return create_protocol(upgrade, service)

    def connect(self) -> None:
        self.letters = itertools.cycle(LETTERS)
        self.letter = next(self.letters)
        """Of the turn that is being written."""
        self.due: list[str] = []
        """The letters of the turns whose flushes were not answered."""
        self.sequence_ids = itertools.count()
        self.is_closing = False
        super().connect()

    def heard(self, frame: Frame) -> None:
        if isinstance(frame, bytes):
            letter = letter_of(samples_of(frame))
            assert letter in (None, self.due[0] if self.due else self.letter), (letter, self.due, self.letter)
            return
        message = json.loads(frame)
        match message["type"]:
            case "Flushed":
                assert message["sequence_id"] == next(self.sequence_ids)
                self.due.pop(0)  # raises for an answer that nobody waits for
            case "Cleared":
                assert message["sequence_id"] == next(self.sequence_ids)
                self.due.clear()

    def is_done(self) -> bool:
        return not self.due

    def farewell(self) -> list[dict[str, Any] | Frame]:
        self.is_closing = True
        return [{"type": "Close"}]

    @precondition(lambda self: self.is_open)
    @rule(data=st.data())
    def speak(self, data: st.DataObject) -> None:
        self.say({"type": "Speak", "text": data.draw(texts(self.letter))})

    @precondition(lambda self: self.is_open)
    @rule()
    def flush(self) -> None:
        if not self.is_closing:
            self.due.append(self.letter)
            self.letter = next(self.letters)
        self.say({"type": "Flush"})

    @precondition(lambda self: self.is_open)
    @rule()
    def clear(self) -> None:
        if not self.is_closing:  # behind `Close` nothing is heeded
            self.letter = next(self.letters)
        self.say({"type": "Clear"})
        if self.is_prompt and not self.is_closing and self.is_open:
            assert not self.due and not self.peer.protocol.open

    @precondition(lambda self: self.is_open)
    @rule()
    def close(self) -> None:
        self.is_closing = True
        self.say({"type": "Close"})

    @precondition(lambda self: self.is_open)
    @rule(mistake=st.sampled_from(MISTAKES))
    def is_wrong(self, mistake: tuple[Frame | dict[str, Any], str]) -> None:
        message, named = mistake
        answers = self.say(message)
        if self.is_prompt and self.is_open and not self.is_closing:
            (answer,) = answers
            assert json.loads(answer)["type"] in ("Error", "Warning") and named in str(answer)


TestDeepgram = run(DeepgramMachine)
