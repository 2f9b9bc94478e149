"""Cartesia's contexts in any order of messages: each that has a text ends once, by `done`, an error or its cancel."""

from __future__ import annotations

import base64
import json
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from streamer.server.cartesia.protocol import create_protocol
from streamer.server.client_protocol import ClientProtocol
from streamer.server.service import Service
from streamer.server.upgrade import Upgrade
from streamer.server.wire import Frame
from tests.fakes.letters import LETTERS, samples_of
from tests.server.session_machine import SessionMachine, run, texts

CONTEXTS = tuple(LETTERS[:4])
RAW = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24_000}
MISTAKES: tuple[tuple[dict[str, Any], str], ...] = (
    ({"transcript": 5}, "transcript"),
    ({"transcript": "a" * 41}, "41"),
    ({"transcript": "a", "voice": {"id": "nobody"}}, "nobody"),
    ({"transcript": "a", "output_format": RAW | {"sample_rate": 5}}, "sample_rate"),
    ({"transcript": "a", "output_format": None}, "output_format"),
    ({"transcript": "a", "generation_config": {"speed": 99}}, "speed"),
    ({"transcript": "a", "max_buffer_delay_ms": -1}, "max_buffer_delay_ms"),
    ({"transcript": "a", "speed": "swift"}, "swift"),
    ({"continue": "yes"}, "continue"),
)


class CartesiaMachine(SessionMachine):
    def create_protocol(self, upgrade: Upgrade, service: Service) -> ClientProtocol:
        return create_protocol(upgrade, service)

    def heard(self, frame: Frame) -> None:
        assert isinstance(frame, str)
        message = json.loads(frame)
        context_id = message["context_id"]
        match message["type"]:
            case "chunk":
                self.lives.sound(context_id, samples_of(base64.b64decode(message["data"])))
            case "timestamps":
                self.lives.tell(context_id, " ".join(message["word_timestamps"]["words"]))
            case "flush_done" if context_id in self.lives.open:
                self.lives.tell(context_id)
            case "done" | "error" if context_id in self.lives.open:
                self.lives.end(context_id)
        assert message["done"] == (message["type"] in ("done", "error"))

    def farewell(self) -> list[dict[str, Any] | Frame]:
        return [
            self.request(context_id, transcript="", **{"continue": False}) for context_id in self.lives.open
        ]

    def request(self, context_id: str, **fields: Any) -> dict[str, Any]:
        return {
            "context_id": context_id,
            "voice": "tone",
            "output_format": RAW,
            "add_timestamps": True,
            **fields,
        }

    @precondition(lambda self: self.is_open)
    @rule(data=st.data(), context_id=st.sampled_from(CONTEXTS), continues=st.booleans(), flush=st.booleans())
    def generate(self, data: st.DataObject, context_id: str, continues: bool, flush: bool) -> None:
        transcript = data.draw(texts(context_id))
        is_new = context_id not in self.lives.open
        if is_new and transcript.strip():
            self.lives.begin(context_id, context_id)  # or an error ends it at once
        answers = self.say(
            self.request(context_id, transcript=transcript, flush=flush, **{"continue": continues})
        )
        if self.is_prompt and is_new and not transcript.strip() and self.is_open:
            assert [json.loads(answer)["type"] for answer in answers] == (
                ["done"] if not continues else ["flush_done"] if flush else []
            )

    @precondition(lambda self: self.is_open)
    @rule(context_id=st.sampled_from(CONTEXTS))
    def cancel(self, context_id: str) -> None:
        self.lives.open.pop(context_id, None)
        assert self.say({"context_id": context_id, "cancel": True}) == []

    @precondition(lambda self: self.is_open)
    @rule(context_id=st.sampled_from(CONTEXTS), mistake=st.sampled_from(MISTAKES))
    def is_wrong(self, context_id: str, mistake: tuple[dict[str, Any], str]) -> None:
        fields, named = mistake
        if fields.get("transcript") == "a":
            fields = fields | {"transcript": context_id}
        is_new = context_id not in self.lives.open
        answers = self.say(self.request(context_id, **fields))
        if self.is_prompt and (is_new or named in ("transcript", "41", "max_buffer_delay_ms", "continue")):
            (answer,) = answers
            assert json.loads(answer)["type"] == "error" and named in str(answer)
            assert context_id not in self.lives.open


TestCartesia = run(CartesiaMachine)
