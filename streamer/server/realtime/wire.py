"""How OpenAI's realtime API sends one response: its sound in base64, what it says, and in the end `response.done`."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any, Final

from streamer.audio.packets import Packet
from streamer.server.realtime.messages import encode, error_fields
from streamer.server.utterance import Utterance
from streamer.server.wire import Frame, Outcome
from streamer.speech.events import SentenceStarted, SpeechEvent

_TOKENS_PER_S: Final = 75
"""Tokens of sound that are reported for a second of it: the frames of Bark's codec."""
_STATUSES: Final = {
    "completed": "completed",
    "cancelled": "cancelled",
    "failed": "failed",
    "truncated": "incomplete",
}
_REASONS: Final = {"cancelled": "client_cancelled", "truncated": "max_output_tokens"}


class ResponseWire:
    """Implements `server.wire.Wire`. A response has one item with one part, its sound.

    `next_event_id` names each event. `described`: what of the response is known before its end.
    """

    def __init__(
        self,
        response_id: str,
        item_id: str,
        described: dict[str, Any],
        num_text_tokens: int,
        next_event_id: Callable[[], str],
    ) -> None:
        self.response_id = response_id
        self.item_id = item_id
        self._described = {"object": "realtime.response", "id": response_id, **described}
        self._num_text_tokens = num_text_tokens
        self._next_event_id = next_event_id
        self._transcript = ""

    def begin(self) -> list[Frame]:
        """Return the events before the first sound."""
        response = self._described | {
            "status": "in_progress",
            "status_details": None,
            "output": [],
            "usage": None,
        }
        return [
            self._encode("response.created", response=response),
            self._of_item("response.output_item.added", item=self._item("in_progress")),
            self._of_part("response.content_part.added", part={"type": "audio", "transcript": ""}),
        ]

    def event(self, utterance: Utterance, event: SpeechEvent) -> Sequence[Frame]:
        if not isinstance(event, SentenceStarted):
            return ()
        delta = utterance.feed.text[len(self._transcript) : event.char_end]
        self._transcript += delta
        return (self._of_part("response.output_audio_transcript.delta", delta=delta),)

    def packet(self, utterance: Utterance, packet: Packet) -> Sequence[Frame]:  # noqa: ARG002
        if not packet.payload:
            return ()
        return (
            self._of_part("response.output_audio.delta", delta=base64.b64encode(packet.payload).decode()),
        )

    def done(self, utterance: Utterance, outcome: Outcome) -> Sequence[Frame]:  # noqa: ARG002
        status = _STATUSES[outcome.reason]
        details: dict[str, Any] | None = None
        if outcome.reason != "completed":
            details = {"type": status}
            if (reason := _REASONS.get(outcome.reason)) is not None:
                details["reason"] = reason
            if outcome.error is not None:
                error = error_fields(outcome.error)
                details["error"] = {name: error[name] for name in ("type", "code", "message")}
        item = self._item("completed" if outcome.reason == "completed" else "incomplete")
        response = self._described | {
            "status": status,
            "status_details": details,
            "output": [item],
            "usage": self._usage(outcome.audio_ms),
        }
        return (
            self._of_part("response.output_audio.done"),
            self._of_part("response.output_audio_transcript.done", transcript=self._transcript),
            self._of_part(
                "response.content_part.done", part={"type": "audio", "transcript": self._transcript}
            ),
            self._of_item("response.output_item.done", item=item),
            self._encode("response.done", response=response),
        )

    def _usage(self, audio_ms: int) -> dict[str, Any]:
        num_input, num_output = self._num_text_tokens, round(audio_ms * _TOKENS_PER_S / 1000)
        return {
            "total_tokens": num_input + num_output,
            "input_tokens": num_input,
            "output_tokens": num_output,
            "input_token_details": {"text_tokens": num_input, "audio_tokens": 0, "cached_tokens": 0},
            "output_token_details": {"text_tokens": 0, "audio_tokens": num_output},
        }

    def _item(self, status: str) -> dict[str, Any]:
        content = [{"type": "output_audio", "transcript": self._transcript}] if self._transcript else []
        return {
            "id": self.item_id,
            "object": "realtime.item",
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": content,
        }

    def _of_item(self, kind: str, **fields: Any) -> str:
        return self._encode(kind, response_id=self.response_id, output_index=0, **fields)

    def _of_part(self, kind: str, **fields: Any) -> str:
        return self._of_item(kind, item_id=self.item_id, content_index=0, **fields)

    def _encode(self, kind: str, **fields: Any) -> str:
        return encode(kind, self._next_event_id(), **fields)
