"""How the dialect of `input_text_buffer` sends one item: its sound in base64, and one event at its end."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any

from streamer.audio.packets import Packet
from streamer.server.realtime.messages import encode, error_fields
from streamer.server.utterance import Utterance
from streamer.server.wire import Frame, Outcome
from streamer.speech.events import Flushed, SpeechEvent
from streamer.speech.text_feed import TextEnd


class TextBufferWire:
    """Implements `server.wire.Wire`. The last event is `….audio_output.done`, `….cancelled` or `….tts.failed`.

    `num_commits` and `has_uncommitted` are the protocol's. Once all commits have come out as sound and no text has
    followed, the item takes no more: it `is_complete`.
    """

    def __init__(self, item_id: str, next_event_id: Callable[[], str]) -> None:
        self.item_id = item_id
        self.num_commits = 0
        self.has_uncommitted = False
        self.is_complete = False
        self._next_event_id = next_event_id
        self._num_flushed = 0

    def event(self, utterance: Utterance, event: SpeechEvent) -> Sequence[Frame]:
        if isinstance(event, Flushed):
            self._num_flushed += 1
            if self._num_flushed == self.num_commits and not self.has_uncommitted and not self.is_complete:
                self.is_complete = True
                utterance.write(TextEnd())
        return ()

    def packet(self, utterance: Utterance, packet: Packet) -> Sequence[Frame]:  # noqa: ARG002
        if not packet.payload:
            return ()
        delta = base64.b64encode(packet.payload).decode()
        return (self._encode("conversation.item.audio_output.delta", delta=delta),)

    def done(self, utterance: Utterance, outcome: Outcome) -> Sequence[Frame]:  # noqa: ARG002
        if outcome.error is not None:
            return (self._encode("conversation.item.tts.failed", error=error_fields(outcome.error)),)
        # Clients have no way to tell the items apart, and would end the next one with the `done` of a cleared one.
        kind = "cancelled" if outcome.reason == "cancelled" else "done"
        return (self._encode(f"conversation.item.audio_output.{kind}"),)

    def _encode(self, kind: str, **fields: Any) -> str:
        return encode(kind, self._next_event_id(), item_id=self.item_id, **fields)
