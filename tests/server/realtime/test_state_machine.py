"""The realtime APIs in any order of events: each response and each item ends once, with its own sound."""

from __future__ import annotations

import base64
import itertools
import json
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from streamer.server.client_protocol import ClientProtocol
from streamer.server.realtime.protocol import MAX_ITEMS, RealtimeProtocol
from streamer.server.realtime.text_buffer import TextBufferProtocol
from streamer.server.service import Service
from streamer.server.upgrade import Upgrade
from streamer.server.wire import Frame
from tests.fakes.letters import LETTERS, samples_of
from tests.server.realtime.speaking import message
from tests.server.session_machine import SessionMachine, run, texts

ITEMS: Final = ("i1", "i2", "i3")
MISTAKES: Final[tuple[tuple[Frame | dict[str, Any], str], ...]] = (
    (b"\x00", "binary"),
    ("{", "JSON"),
    ({"type": "sing"}, "sing"),
    ({"type": "input_audio_buffer.append", "audio": ""}, "listen"),
    ({"type": "session.update", "session": {"voice": "tone"}}, "preview"),
    ({"type": "session.update", "session": {"audio": {"output": {"voice": "nobody"}}}}, "nobody"),
    ({"type": "session.update", "session": {"audio": {"output": {"speed": 9}}}}, "speed"),
    ({"type": "conversation.item.create", "item": {"type": "function_call"}}, "function_call"),
    ({"type": "conversation.item.create", "item": message("a" * 81)}, "at most 80"),
    ({"type": "conversation.item.delete", "item_id": "zz"}, "zz"),
    ({"type": "conversation.item.truncate", "item_id": "zz", "audio_end_ms": 5}, "zz"),
    ({"type": "response.cancel", "response_id": "zz"}, "cancel"),
    ({"type": "response.create", "response": {"input": []}}, "nothing to say"),
)


class RealtimeMachine(SessionMachine):
    """Each response is made of one letter, which it has in its metadata."""

    query = "model=gpt-realtime"
    tells_beginnings = True
    close_codes = (1000, 1001, 1011)

    def create_protocol(self, upgrade: Upgrade, service: Service) -> ClientProtocol:
        return RealtimeProtocol(upgrade, service)

    def connect(self) -> None:
        self.letters = itertools.cycle(LETTERS)
        self.waiting: set[str] = set()
        """The letters of the items that are not spoken yet, as far as the client knows."""
        super().connect()

    def heard(self, frame: Frame) -> None:
        event = json.loads(frame)
        name = event.get("response_id")
        match event["type"]:
            case "response.created":
                response = event["response"]
                self.lives.begin(response["id"], response["metadata"]["letter"])
            case "response.output_audio.delta":
                self.lives.sound(name, samples_of(base64.b64decode(event["delta"])))
            case "response.output_audio_transcript.delta":
                self.lives.tell(name, event["delta"])
            case "response.done":
                self.lives.end(event["response"]["id"])
            case kind if kind.startswith("response."):
                self.lives.tell(name)
        protocol = self.peer.protocol.protocol if hasattr(self, "peer") else None
        if isinstance(protocol, RealtimeProtocol):
            assert len(protocol._items) <= MAX_ITEMS and len(protocol._spoken) <= MAX_ITEMS

    def farewell(self) -> list[dict[str, Any] | Frame]:
        return []

    @precondition(lambda self: self.is_open)
    @rule(data=st.data(), name=st.none() | st.sampled_from(ITEMS), role=st.sampled_from(["user", "system"]))
    def create_item(self, data: st.DataObject, name: str | None, role: str) -> None:
        item = message(data.draw(texts("a")), role, **({} if name is None else {"id": name}))
        self.say({"type": "conversation.item.create", "item": item})

    @precondition(lambda self: self.is_open)
    @rule(name=st.sampled_from(ITEMS), kind=st.sampled_from(["delete", "truncate"]))
    def change_item(self, name: str, kind: str) -> None:
        self.say({"type": f"conversation.item.{kind}", "item_id": name, "audio_end_ms": 10})

    @precondition(lambda self: self.is_open)
    @rule()
    def respond(self) -> None:
        self.say({"type": "response.create", "response": {"metadata": {"letter": "a"}}})

    @precondition(lambda self: self.is_open)
    @rule(data=st.data(), is_aside=st.booleans())
    def respond_to_input(self, data: st.DataObject, is_aside: bool) -> None:
        letter = next(self.letters)
        response = {"input": [message(data.draw(texts(letter)))], "metadata": {"letter": letter}}
        self.say(
            {"type": "response.create", "response": response | ({"conversation": "none"} if is_aside else {})}
        )

    @precondition(lambda self: self.is_open)
    @rule(index=st.integers(0, 3))
    def cancel(self, index: int) -> None:
        name = [*self.lives.open, None, None, None, None][index]
        self.say({"type": "response.cancel"} | ({} if name is None else {"response_id": name}))
        if self.is_prompt:
            assert name not in self.lives.open and (name is not None or not self.lives.open)

    @precondition(lambda self: self.is_open)
    @rule(mistake=st.sampled_from(MISTAKES))
    def is_wrong(self, mistake: tuple[Frame | dict[str, Any], str]) -> None:
        event, named = mistake
        answers = self.say(event)
        if self.is_prompt and self.is_open:
            (answer,) = answers
            assert json.loads(answer)["type"] == "error"
            assert named in str(answer) or (self.lives.open and event["type"] == "response.create")


class TextBufferMachine(SessionMachine):
    """What a `clear` took back is not heard behind its answer; so the letter changes with each."""

    query = "voice=tone"
    tells_beginnings = True
    close_codes = (1000, 1001, 1011)

    def create_protocol(self, upgrade: Upgrade, service: Service) -> ClientProtocol:
        return TextBufferProtocol(upgrade, service)

    def connect(self) -> None:
        self.letters = itertools.cycle(LETTERS)
        self.letter = next(self.letters)
        super().connect()

    def heard(self, frame: Frame) -> None:
        event = json.loads(frame)
        name = event.get("item_id")
        match event["type"]:
            case "conversation.item.input_text.received":
                letter = event["text"].strip()[:1].lower()
                if name not in self.lives.open:
                    self.lives.begin(name, letter)
                self.lives.open[name] = self.lives.open[name] or letter
                self.lives.tell(name, event["text"])
            case "conversation.item.audio_output.delta":
                self.lives.sound(name, samples_of(base64.b64decode(event["delta"])))
            case "conversation.item.audio_output.done" | "conversation.item.audio_output.cancelled":
                self.lives.end(name)
            case "conversation.item.tts.failed" if name is not None:
                self.lives.end(name)
            case "input_text_buffer.cleared":
                assert not self.lives.open

    def farewell(self) -> list[dict[str, Any] | Frame]:
        return [{"type": "input_text_buffer.commit"}] * 2

    @precondition(lambda self: self.is_open)
    @rule(data=st.data())
    def append(self, data: st.DataObject) -> None:
        self.say({"type": "input_text_buffer.append", "text": data.draw(texts(self.letter))})

    @precondition(lambda self: self.is_open)
    @rule()
    def commit(self) -> None:
        self.say({"type": "input_text_buffer.commit"})

    @precondition(lambda self: self.is_open)
    @rule()
    def clear(self) -> None:
        self.letter = next(self.letters)
        self.say({"type": "input_text_buffer.clear"})

    @precondition(lambda self: self.is_open)
    @rule(voice=st.sampled_from(["tone", "other", "nobody"]))
    def update(self, voice: str) -> None:
        self.say({"type": "tts_session.updated", "session": {"voice": voice}})

    @precondition(lambda self: self.is_open)
    @rule(
        mistake=st.sampled_from(
            (
                (b"\x00", "binary"),
                ("{", "JSON"),
                ({"type": "sing"}, "sing"),
                ({"type": "input_text_buffer.append"}, "text"),
                ({"type": "input_text_buffer.append", "text": "a" * 41}, "41"),
                ({"type": "tts_session.updated", "session": {"voice": 5}}, "voice"),
            )
        )
    )
    def is_wrong(self, mistake: tuple[Frame | dict[str, Any], str]) -> None:
        event, named = mistake
        answers = self.say(event)
        if self.is_prompt and self.is_open:
            (answer,) = answers
            assert json.loads(answer)["type"].endswith("failed") and named in str(answer)


TestRealtime = run(RealtimeMachine)
TestTextBuffer = run(TextBufferMachine)
