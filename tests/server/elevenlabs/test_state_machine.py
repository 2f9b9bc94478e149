"""ElevenLabs' contexts in any order of messages: each that was opened has one end."""

from __future__ import annotations

import base64
import json
from collections import Counter
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from streamer.server.client_protocol import ClientProtocol
from streamer.server.elevenlabs.contexts import MAX_CONTEXTS
from streamer.server.elevenlabs.protocol import ElevenLabsProtocol
from streamer.server.service import Service
from streamer.server.upgrade import Upgrade
from streamer.server.wire import Frame
from tests.fakes.letters import LETTERS, letter_of, letters_in, samples_of
from tests.server.session_machine import SessionMachine, run, texts

VOICE: Final = {"voice": "tone"}
CONTEXTS: Final = tuple(LETTERS[:4])
MISTAKES: Final[tuple[tuple[dict[str, Any], str], ...]] = (
    ({"text": 5}, "text"),
    ({"text": "a" * 41}, "41"),
    ({"text": "a", "voice_settings": {"speed": 9}}, "speed"),
    ({"text": "a", "generation_config": {"chunk_length_schedule": [0]}}, "chunk_length_schedule"),
    ({"flush": "yes"}, "flush"),
)
FATAL: Final[tuple[tuple[Frame, str], ...]] = ((b"\x00", "binary"), ("{", "JSON"), ("", "JSON"))


class ContextsMachine(SessionMachine):
    """Many contexts in a connection."""

    is_multi = True
    query = "output_format=pcm_24000"
    parameters = VOICE
    close_codes = (1000, 1001, 1008, 1011)

    def create_protocol(self, upgrade: Upgrade, service: Service) -> ClientProtocol:
        return ElevenLabsProtocol(upgrade, service, is_multi=self.is_multi)

    def connect(self) -> None:
        self.num_ended: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.is_closing = False
        super().connect()

    @property
    def protocol(self) -> ElevenLabsProtocol:
        protocol = self.peer.protocol.protocol
        assert isinstance(protocol, ElevenLabsProtocol)
        return protocol

    def heard(self, frame: Frame) -> None:
        message = json.loads(frame)
        name = message.get("contextId")
        if message.get("isFinal"):
            self.num_ended[name] += 1
        elif "audio" in message:
            letter = letter_of(samples_of(base64.b64decode(message["audio"])))
            chars = "".join((message["alignment"] or {"chars": ""})["chars"])
            assert letter in (None, name) and letters_in(chars) <= {name}
        assert self.num_ended[name] <= self.peer.protocol.opened_ids[name] + self.refused[name], name

    def is_done(self) -> bool:
        return self.num_ended == self.peer.protocol.opened_ids + self.refused

    def farewell(self) -> list[dict[str, Any] | Frame]:
        return [{"close_socket": True}]

    def tell(self, name: str, **fields: Any) -> None:
        """Say something in a context; if it is refused without having been opened, that ends it, too."""
        before = self.peer.protocol.num_opened
        is_known = name in self.protocol.contexts.accepting
        self.peer.say({"context_id": name, **fields})
        if not self.is_prompt:
            return
        self.loop.pass_time()
        frames = self.peer.unread()
        if not is_known and self.peer.protocol.num_opened == before and "close_context" not in fields:
            errors = [message for frame in frames if (message := json.loads(frame)).get("error")]
            self.refused.update(error["contextId"] for error in errors if error.get("isFinal"))
        for frame in frames:
            self.heard(frame)
        assert len(self.protocol.contexts.accepting) <= MAX_CONTEXTS

    @precondition(lambda self: self.is_open)
    @rule(data=st.data(), name=st.sampled_from(CONTEXTS), flush=st.booleans(), triggers=st.booleans())
    def text(self, data: st.DataObject, name: str, flush: bool, triggers: bool) -> None:
        fields = {"flush": True} if flush else {"try_trigger_generation": triggers}
        self.tell(name, text=data.draw(texts(name)), **fields)

    @precondition(lambda self: self.is_open)
    @rule(name=st.sampled_from(CONTEXTS))
    def flush(self, name: str) -> None:
        self.tell(name, flush=True)

    @precondition(lambda self: self.is_open)
    @rule(name=st.sampled_from(CONTEXTS))
    def close_context(self, name: str) -> None:
        self.tell(name, close_context=True)

    @precondition(lambda self: self.is_open)
    @rule()
    def keep_alive(self) -> None:
        self.say({"text": ""})

    @precondition(lambda self: self.is_open)
    @rule()
    def close_socket(self) -> None:
        self.say({"close_socket": True})

    @precondition(lambda self: self.is_open)
    @rule(name=st.sampled_from(CONTEXTS), mistake=st.sampled_from(MISTAKES))
    def is_wrong(self, name: str, mistake: tuple[dict[str, Any], str]) -> None:
        fields, _ = mistake
        self.tell(name, **fields)

    @precondition(lambda self: self.is_open)
    @rule(mistake=st.sampled_from(FATAL))
    def cannot_be_read(self, mistake: tuple[Frame, str]) -> None:
        message, named = mistake
        answers = self.say(message)
        if self.is_prompt and self.is_open:
            assert any(named in answer for answer in answers) or self.protocol._is_closing


TestContexts = run(ContextsMachine)


class OneTextMachine(SessionMachine):
    """One text in a connection: it has one end, by its last sound or an error, and then the connection is closed."""

    query = "output_format=pcm_24000&sync_alignment=true"
    parameters = VOICE
    close_codes = (1000, 1001, 1008, 1011)
    tells_beginnings = True

    def create_protocol(self, upgrade: Upgrade, service: Service) -> ClientProtocol:
        return ElevenLabsProtocol(upgrade, service, is_multi=False)

    def connect(self) -> None:
        self.ends: list[Frame] = []
        super().connect()

    def heard(self, frame: Frame) -> None:
        assert not self.ends, "something follows the end"
        message = json.loads(frame)
        if message.get("isFinal") or "message" in message:
            self.ends.append(frame)
        else:
            assert letter_of(samples_of(base64.b64decode(message["audio"]))) in (None, "a")

    def is_done(self) -> bool:
        return bool(self.ends) or not self.peer.protocol.num_opened

    def farewell(self) -> list[dict[str, Any] | Frame]:
        return [{"text": ""}]

    @precondition(lambda self: self.is_open)
    @rule(data=st.data(), flush=st.booleans(), triggers=st.booleans())
    def text(self, data: st.DataObject, flush: bool, triggers: bool) -> None:
        text = data.draw(texts("a"))
        self.say({"text": text or " ", "flush": flush, "try_trigger_generation": triggers})

    @precondition(lambda self: self.is_open)
    @rule(last=st.sampled_from([{"text": ""}, {"close_socket": True}, {"close_context": True}]))
    def end_text(self, last: dict[str, Any]) -> None:
        self.say(last)

    @precondition(lambda self: self.is_open)
    @rule(mistake=st.sampled_from((*MISTAKES, *FATAL)))
    def is_wrong(self, mistake: tuple[Frame | dict[str, Any], str]) -> None:
        message, named = mistake
        is_closing = self.peer.protocol.protocol._is_closing
        self.say(message)
        if self.is_prompt and self.ends and not is_closing:
            assert named in str(self.ends[0])


TestOneText = run(OneTextMachine)
