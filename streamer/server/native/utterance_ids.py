"""What the ids of a session stand for: states of `transitions`, and the utterances behind them; used by `protocol`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar

from streamer.errors import UtteranceError
from streamer.server.native.transitions import TRANSITIONS, Event, Reaction, State
from streamer.server.native.wire import NativeWire
from streamer.server.utterance import Utterance

REMEMBERED: Final = 32
"""How many utterances that are over, and how many refused ids, are remembered for messages that come late."""
Value = TypeVar("Value")


@dataclass(slots=True)
class OpenUtterance:
    """An utterance that has a `started` and no `done` yet."""

    utterance: Utterance
    wire: NativeWire
    state: State = State.OPEN


class UtteranceIds:
    """Knows the state of every id, and moves it by the transition table and in no other way."""

    def __init__(self) -> None:
        self.open: dict[str, OpenUtterance] = {}
        self._over: dict[str, Utterance] = {}
        self._refused: dict[str, None] = {}

    def state(self, utterance_id: str) -> State:
        if utterance_id in self.open:
            return self.open[utterance_id].state
        if utterance_id in self._over:
            return State.REFUSED_AGAIN if utterance_id in self._refused else State.OVER
        return State.REFUSED if utterance_id in self._refused else State.UNKNOWN

    def find(self, utterance_id: str) -> Utterance | None:
        """The utterance that is open or remembered under this id."""
        opened = self.open.get(utterance_id)
        return opened.utterance if opened else self._over.get(utterance_id)

    def step(self, utterance_id: str, event: Event) -> Reaction:
        """Move an id; raises `UtteranceError` for what cannot be asked of it in its state."""
        state = self.state(utterance_id)
        transition = TRANSITIONS[state].get(event)
        if transition is None:
            message = f"`{event.value}` for utterance {utterance_id!r}, which {state.value}"
            raise UtteranceError(message, param="id")
        self._enter(utterance_id, transition.state)
        return transition.reaction

    def accept(self, utterance_id: str, utterance: Utterance, wire: NativeWire) -> None:
        """The session has opened an utterance under this id."""
        self.step(utterance_id, Event.ACCEPTED)
        self.open[utterance_id] = OpenUtterance(utterance, wire)

    def _enter(self, utterance_id: str, state: State) -> None:
        if state in (State.REFUSED, State.REFUSED_AGAIN):
            _remember(self._refused, utterance_id, None)
        else:
            self._refused.pop(utterance_id, None)
        opened = self.open.get(utterance_id)
        if opened is not None:
            opened.state = state
            if state is State.OVER:
                del self.open[utterance_id]
                _remember(self._over, utterance_id, opened.utterance)


def _remember(memory: dict[str, Value], utterance_id: str, value: Value) -> None:
    """Store a value as the latest one, and forget the earliest beyond `REMEMBERED`."""
    memory.pop(utterance_id, None)
    memory[utterance_id] = value
    while len(memory) > REMEMBERED:
        del memory[next(iter(memory))]
