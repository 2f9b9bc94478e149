"""The native protocol's transition table: what an utterance's id may be asked in each of its states.

`protocol` runs on it, and `docs/draw_transitions.py` draws it into the protocol's page.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final, NamedTuple


class State(Enum):
    """What an id stands for. The values complete the sentence "the utterance …"."""

    UNKNOWN = "was never started"
    REFUSED = "was refused"
    OPEN = "is open"
    ENDED = "takes no more text"
    OVER = "is over"
    REFUSED_AGAIN = "is over, and its id was refused since"


class Event(Enum):
    """What a client asks for an id, or what happens to it."""

    START = "start"
    TEXT = "text"
    FLUSH = "flush"
    END = "end"
    CANCEL = "cancel"
    PLAYED = "played"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    DONE = "done"


class Reaction(Enum):
    """What the server does."""

    ADMIT = "accepted or refused"
    WRITE = "taken"
    DROP = "dropped"
    CANCEL = "cancelled"
    WARN = "`warning`"
    MOVE_CLOCK = "sets the clock"
    TELL = "told"


class Transition(NamedTuple):
    """The reaction, and the state that follows."""

    reaction: Reaction
    state: State


TRANSITIONS: Final[Mapping[State, Mapping[Event, Transition]]] = {
    State.UNKNOWN: {
        Event.START: Transition(Reaction.ADMIT, State.UNKNOWN),
        Event.CANCEL: Transition(Reaction.WARN, State.UNKNOWN),
        Event.ACCEPTED: Transition(Reaction.TELL, State.OPEN),
        Event.REJECTED: Transition(Reaction.TELL, State.REFUSED),
    },
    State.REFUSED: {
        Event.START: Transition(Reaction.ADMIT, State.REFUSED),
        Event.TEXT: Transition(Reaction.DROP, State.REFUSED),
        Event.FLUSH: Transition(Reaction.DROP, State.REFUSED),
        Event.END: Transition(Reaction.DROP, State.UNKNOWN),
        Event.CANCEL: Transition(Reaction.DROP, State.UNKNOWN),
        Event.ACCEPTED: Transition(Reaction.TELL, State.OPEN),
        Event.REJECTED: Transition(Reaction.TELL, State.REFUSED),
    },
    State.OPEN: {
        Event.TEXT: Transition(Reaction.WRITE, State.OPEN),
        Event.FLUSH: Transition(Reaction.WRITE, State.OPEN),
        Event.END: Transition(Reaction.WRITE, State.ENDED),
        Event.CANCEL: Transition(Reaction.CANCEL, State.OPEN),
        Event.PLAYED: Transition(Reaction.MOVE_CLOCK, State.OPEN),
        Event.REJECTED: Transition(Reaction.TELL, State.OPEN),
        Event.DONE: Transition(Reaction.TELL, State.OVER),
    },
    State.ENDED: {
        Event.CANCEL: Transition(Reaction.CANCEL, State.ENDED),
        Event.PLAYED: Transition(Reaction.MOVE_CLOCK, State.ENDED),
        Event.REJECTED: Transition(Reaction.TELL, State.ENDED),
        Event.DONE: Transition(Reaction.TELL, State.OVER),
    },
    State.OVER: {
        Event.START: Transition(Reaction.ADMIT, State.OVER),
        Event.CANCEL: Transition(Reaction.WARN, State.OVER),
        Event.PLAYED: Transition(Reaction.MOVE_CLOCK, State.OVER),
        Event.ACCEPTED: Transition(Reaction.TELL, State.OPEN),
        Event.REJECTED: Transition(Reaction.TELL, State.REFUSED_AGAIN),
    },
    State.REFUSED_AGAIN: {
        Event.START: Transition(Reaction.ADMIT, State.REFUSED_AGAIN),
        Event.TEXT: Transition(Reaction.DROP, State.REFUSED_AGAIN),
        Event.FLUSH: Transition(Reaction.DROP, State.REFUSED_AGAIN),
        Event.END: Transition(Reaction.DROP, State.OVER),
        Event.CANCEL: Transition(Reaction.DROP, State.OVER),
        Event.PLAYED: Transition(Reaction.MOVE_CLOCK, State.REFUSED_AGAIN),
        Event.ACCEPTED: Transition(Reaction.TELL, State.OPEN),
        Event.REJECTED: Transition(Reaction.TELL, State.REFUSED_AGAIN),
    },
}
"""What is absent is an `error` with the code `utterance_state`, and changes nothing."""
