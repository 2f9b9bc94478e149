"""The native protocol in any order of messages: its page's table of states holds, and each utterance ends once."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from streamer.server.client_protocol import ClientProtocol
from streamer.server.native.handshake import create_protocol
from streamer.server.native.protocol import NativeProtocol
from streamer.server.service import Service
from streamer.server.upgrade import Upgrade
from streamer.server.wire import Frame
from tests.fakes.letters import LETTERS, letters_in, samples_of
from tests.server.session_machine import SessionMachine, run, texts

IDS: Final = tuple(LETTERS[:4])
ERRORS: Final[Mapping[str, frozenset[str]]] = {
    "unknown": frozenset({"text", "flush", "end", "played"}),
    "refused": frozenset({"played"}),
    "open": frozenset({"start", "speak"}),
    "ended": frozenset({"start", "speak", "text", "flush", "end"}),
    "over": frozenset({"text", "flush", "end"}),
    "refused again": frozenset(),
}
"""What is an `error` with the code `utterance_state`, in each state of an id."""
WARNINGS: Final = {"unknown", "over"}
"""States in which `cancel` is a `warning`."""
AFTER_DROPPED: Final = {"refused": "unknown", "refused again": "over"}
"""What `end` and `cancel` make of a refused id."""
MISTAKES: Final[tuple[tuple[Frame | dict[str, Any], str], ...]] = (
    (b"\x00\x01", "binary"),
    ("{", "JSON"),
    ("[]", "object"),
    ('{"type": "ping", "type": "ping"}', "twice"),
    ({"type": "sing"}, "sing"),
    ({"type": "configure", "voice": 5}, "voice"),
    ({"type": "configure", "lead_ms": -1}, "lead_ms"),
    ({"type": "configure", "params": {"top_k": 0}}, "top_k"),
    ({"type": "configure", "encoding": "mp7"}, "mp7"),
    ({"type": "played", "id": "zz", "ms": 4}, "zz"),
    ({"type": "text", "id": "zz", "text": "a"}, "zz"),
    ({"type": "ping", "t": "a" * 129}, "t"),
    ({"type": "ping", "t": "a" * 3000}, "2000"),
)
REFUSALS: Final[tuple[dict[str, Any], ...]] = (
    {"voice": "nobody"},
    {"speed": 9},
    {"after": "nothing"},
    {"after": "a", "interrupt": True},
    {"speakers": {"A": "nobody"}},
)


class NativeMachine(SessionMachine):
    query = "encoding=pcm_s16le&lead_ms=null"
    tells_beginnings = True
    is_framed = True

    def create_protocol(self, upgrade: Upgrade, service: Service) -> ClientProtocol:
        return create_protocol(upgrade, service)

    def connect(self) -> None:
        self.states: dict[str, str] = dict.fromkeys(IDS, "unknown")
        self.streams: dict[int, str] = {}
        self.sequences: dict[int, int] = {}
        self.num_said = 0
        super().connect()

    def heard(self, frame: Frame) -> None:
        if isinstance(frame, bytes):
            return self.heard_packet(frame)
        message = json.loads(frame)
        name = message.get("id")
        match message["type"]:
            case "started":
                self.lives.begin(name, name)
                self.states[name] = "open"
                self.streams[message["stream"]] = name
                self.sequences[message["stream"]] = 0
            case "sentence_start":
                self.lives.tell(name, message["text"])
            case "words":
                self.lives.tell(name, " ".join(item["text"] for item in message["items"]))
            case "sentence_end" | "flushed":
                self.lives.tell(name)
            case "done":
                self.lives.end(name)
                self.states[name] = "over"
                assert letters_in(message.get("heard", {}).get("text", "")) <= {name}
                assert ("error" in message) == (message["reason"] == "failed")
            case "error" if message["scope"] == "utterance" and name in self.states:
                refused = {"unknown": "refused", "over": "refused again"}
                self.states[name] = refused.get(self.states[name], self.states[name])

    def heard_packet(self, frame: bytes) -> None:
        version, flags, stream, sequence, _ = struct.unpack("!BBHII", frame[:12])
        assert (version, sequence) == (1, self.sequences[stream]) and flags < 4
        self.sequences[stream] += 1
        self.lives.sound(self.streams[stream], samples_of(frame[12:]) if frame[12:] else np.zeros(0))

    def farewell(self) -> list[dict[str, Any] | Frame]:
        return [{"type": "end", "id": name} for name in self.lives.open if self.states[name] == "open"]

    def ask(self, kind: str, name: str | None = None, **fields: Any) -> list[dict[str, Any]]:
        """Send a message; returns what answers it, which has its `ref`."""
        self.num_said += 1
        ref = f"r{self.num_said}"
        message = {"type": kind, "ref": ref, **fields} | ({} if name is None else {"id": name})
        answers = [json.loads(frame) for frame in self.say(message) if isinstance(frame, str)]
        return [answer for answer in answers if answer.get("ref") == ref]

    def write(self, kind: str, name: str, **fields: Any) -> None:
        """Ask something of an id, and compare what comes with the table."""
        state = self.states[name]
        answers = self.ask(kind, name, **fields)
        if not self.is_prompt or not self.is_open:
            return
        errors = [answer["code"] for answer in answers if answer["type"] == "error"]
        if kind in ERRORS[state]:
            assert errors == ["utterance_state"] and name in answers[0]["message"]
            return
        if kind == "cancel":
            assert ([answer["type"] for answer in answers] == ["warning"]) == (state in WARNINGS)
        assert errors in ([], ["text_too_long"], ["rate_limited"])
        if kind in ("end", "cancel") and state in AFTER_DROPPED:
            self.states[name] = AFTER_DROPPED[state]
        elif kind == "end" and state == "open" and self.states[name] == "open":
            self.states[name] = "ended"

    @precondition(lambda self: self.is_open)
    @rule(name=st.sampled_from(IDS), after=st.none() | st.sampled_from(IDS), interrupt=st.booleans())
    def start(self, name: str, after: str | None, interrupt: bool) -> None:
        self.begin("start", name, interrupt=interrupt, **({} if after is None else {"after": after}))

    @precondition(lambda self: self.is_open)
    @rule(data=st.data(), name=st.sampled_from(IDS), interrupt=st.booleans())
    def speak(self, data: st.DataObject, name: str, interrupt: bool) -> None:
        self.begin("speak", name, text=data.draw(texts(name)), interrupt=interrupt)
        if self.is_prompt and self.states[name] == "open":
            self.states[name] = "ended"

    @precondition(lambda self: self.is_open)
    @rule(name=st.sampled_from(IDS), fields=st.sampled_from(REFUSALS))
    def start_wrongly(self, name: str, fields: dict[str, Any]) -> None:
        state = self.states[name]
        answers = self.ask("start", name, **fields)
        if self.is_prompt and self.is_open:
            (error,) = answers
            assert error["type"] == "error" and error["scope"] == "utterance"
            assert self.states[name] == {"unknown": "refused", "over": "refused again"}.get(state, state)

    def begin(self, kind: str, name: str, **fields: Any) -> None:
        state = self.states[name]
        answers = self.ask(kind, name, **fields)
        if not self.is_prompt or not self.is_open:
            return
        kinds = [answer["type"] for answer in answers if answer["type"] in ("started", "error")]
        assert len(kinds) == 1 and (kinds == ["error"] or state not in ("open", "ended"))

    @precondition(lambda self: self.is_open)
    @rule(data=st.data(), name=st.sampled_from(IDS))
    def text(self, data: st.DataObject, name: str) -> None:
        self.write("text", name, text=data.draw(texts(name)))

    @precondition(lambda self: self.is_open)
    @rule(name=st.sampled_from(IDS))
    def flush(self, name: str) -> None:
        self.write("flush", name)

    @precondition(lambda self: self.is_open)
    @rule(name=st.sampled_from(IDS))
    def end_text(self, name: str) -> None:
        self.write("end", name)

    @precondition(lambda self: self.is_open)
    @rule(name=st.sampled_from(IDS), played_ms=st.none() | st.sampled_from([0, 100, 1e6]))
    def cancel(self, name: str, played_ms: float | None) -> None:
        self.write("cancel", name, played_ms=played_ms)

    @precondition(lambda self: self.is_open)
    @rule()
    def cancel_all(self) -> None:
        self.ask("cancel")
        assert not self.is_prompt or not self.lives.open

    @precondition(lambda self: self.is_open)
    @rule(name=st.sampled_from(IDS), ms=st.sampled_from([0, 50, 1e6]))
    def played(self, name: str, ms: float) -> None:
        self.write("played", name, ms=ms)

    @precondition(lambda self: self.is_open)
    @rule(lead_ms=st.sampled_from([None, 0, 300]), start=st.sampled_from(["early", "safe"]))
    def configure(self, lead_ms: int | None, start: str) -> None:
        assert self.ask("configure", lead_ms=lead_ms, start=start) == []

    @precondition(lambda self: self.is_open)
    @rule(mistake=st.sampled_from(MISTAKES))
    def is_wrong(self, mistake: tuple[Frame | dict[str, Any], str]) -> None:
        message, named = mistake
        answers = self.say(message)
        if self.is_prompt and self.is_open:
            assert any(named in answer and json.loads(answer)["type"] == "error" for answer in answers)
            assert isinstance(self.peer.protocol.protocol, NativeProtocol)
            assert len(self.peer.protocol.protocol.ids._over) <= 32


class BareMachine(NativeMachine):
    """Without headers utterances play one behind another."""

    query = "encoding=pcm_s16le&lead_ms=null&framing=bare"

    def heard_packet(self, frame: bytes) -> None:
        first = next(iter(self.lives.open), "")  # the one that was started first
        self.lives.sound(first, samples_of(frame))


TestNative = run(NativeMachine)
TestBare = run(BareMachine)
