"""The contexts of a connection: which accept text, which are draining, and whose text is dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from streamer.errors import OverloadedError
from streamer.server.elevenlabs.context_text import ContextText
from streamer.server.elevenlabs.messages import ClientMessage
from streamer.server.elevenlabs.wire import ElevenLabsWire
from streamer.server.utterance import Utterance

MAX_CONTEXTS: Final = 5
"""How many contexts of a connection may accept text at once. Those that are draining do not count here: clients that
were interrupted leave some behind."""
_MAX_DROPPED: Final = 64


class TooManyContextsError(OverloadedError):
    """The connection has as many contexts as it may."""

    code = "max_active_conversations"


@dataclass(frozen=True, slots=True)
class Opening:
    """A context that the session is asked for, and the message that opens it."""

    id: str
    wire: ElevenLabsWire
    text: ContextText
    message: ClientMessage


@dataclass(frozen=True, slots=True)
class Context:
    """A context is an utterance. It accepts text until it is closed, and is draining from then until its last sound."""

    id: str
    utterance: Utterance
    wire: ElevenLabsWire
    text: ContextText


class Contexts:
    """The state of each context that is open, and the ids of some that the server has ended."""

    def __init__(self) -> None:
        self.accepting: dict[str, Context] = {}
        self._draining: dict[Utterance, Context] = {}
        self._dropped: dict[str, None] = {}

    @property
    def open(self) -> Sequence[Context]:
        """All that will still send something, the oldest first among those in the same state."""
        return [*self._draining.values(), *self.accepting.values()]

    def draining(self, context_id: str) -> Sequence[Context]:
        """Those of this id that are draining; a client may use an id again as soon as it has closed it."""
        return [context for context in self._draining.values() if context.id == context_id]

    def accept(self, opening: Opening, utterance: Utterance) -> Context:
        """A context begins."""
        context = Context(opening.id, utterance, opening.wire, opening.text)
        self._dropped.pop(context.id, None)
        self.accepting[context.id] = context
        return context

    def drain(self, context: Context) -> None:
        """A context takes no more text."""
        if self.accepting.get(context.id) is context:
            del self.accepting[context.id]
        self._draining[context.utterance] = context

    def remove(self, utterance: Utterance) -> Context:
        """A context is over."""
        if (context := self._draining.pop(utterance, None)) is None:
            context = next(each for each in self.accepting.values() if each.utterance is utterance)
            del self.accepting[context.id]
        return context

    def drop(self, context_id: str) -> None:
        """Drop what a client still writes into a context that the server has refused, or ended with an error."""
        self._dropped[context_id] = None
        if len(self._dropped) > _MAX_DROPPED:
            del self._dropped[next(iter(self._dropped))]

    def is_dropped(self, context_id: str) -> bool:
        """Whether text for this id is dropped, until the client closes it or opens it with the usual blank."""
        return context_id in self._dropped

    def forget(self, context_id: str) -> None:
        """The client closes an id that is not open."""
        self._dropped.pop(context_id, None)
