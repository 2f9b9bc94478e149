"""The native protocol as a state machine: frames in, actions out, and nothing else is needed to test it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamer.config import Config, SpeechConfig
from streamer.errors import AuthenticationError, EngineError, OverloadedError, RateLimitedError, StreamerError
from streamer.server.client_protocol import (
    Action,
    Authenticate,
    Cancel,
    Close,
    Open,
    Played,
    Send,
    Write,
)
from streamer.server.flow_control import PlaybackClock
from streamer.server.native.defaults import StreamDefaults
from streamer.server.native.protocol import NativeProtocol
from streamer.server.native.transitions import TRANSITIONS, Event, State
from streamer.server.utterance import Utterance
from streamer.speech.text_feed import TextEnd, TextFlush
from tests.fakes.synthesizer import FakeSynthesizer


class Conversation:
    """Stands in for a session: opens the utterances that the protocol asks for, and keeps its actions."""

    def __init__(self, **options: Any) -> None:
        defaults = StreamDefaults.of_server(lambda: FakeSynthesizer().info, SpeechConfig())
        self.protocol = NativeProtocol(defaults, Config(), draw_seed=lambda: 7, **options)
        self.refusal: StreamerError | None = None
        self.utterances: dict[str, Utterance] = {}
        self.actions: list[Action] = []

    def say(self, kind: str, **fields: Any) -> list[Action]:
        """What a message leads to, the opening of its utterance included."""
        return self.carry_out(self.protocol.receive(json.dumps({"type": kind, **fields})))

    def carry_out(self, actions: Sequence[Action]) -> list[Action]:
        done: list[Action] = []
        for action in actions:
            done.append(action)
            if isinstance(action, Open) and self.refusal is not None:
                done += self.carry_out(self.protocol.refused(self.refusal))
            elif isinstance(action, Open):
                utterance = Utterance(
                    action.id, "s", action.settings, action.audio_format, PlaybackClock(None)
                )
                self.utterances[action.id] = utterance
                done += self.carry_out(self.protocol.opened(utterance))
        return done

    def end(self, utterance_id: str) -> None:
        assert self.protocol.ended(self.utterances.pop(utterance_id)) == []


def told(actions: Sequence[Action]) -> list[dict[str, Any]]:
    """The messages that were sent."""
    return [json.loads(action.frame) for action in actions if isinstance(action, Send)]


def test_a_speak_is_opened_told_and_written() -> None:
    """In this order: ask, text and its end, `started`; the seed is the one drawn."""
    conversation = Conversation()
    asked, text, end, started = conversation.say("speak", id="a", text="Hi.", ref="r", lead_ms=5)
    utterance = conversation.utterances["a"]
    assert isinstance(asked, Open) and (asked.id, asked.lead_ms, asked.after) == ("a", 5, None)
    assert (text, end) == (Write(utterance, "Hi."), Write(utterance, TextEnd()))
    (message,) = told([started])
    assert (message["type"], message["ref"], message["seed"], message["stream"]) == ("started", "r", 7, 1)


def test_what_is_written_is_handed_on_in_order() -> None:
    """Text, flush and end are pieces of the utterance's text; `played` and `cancel` name the utterance."""
    conversation = Conversation()
    conversation.say("start", id="a")
    utterance = conversation.utterances["a"]
    assert conversation.say("text", id="a", text="Hi") == [Write(utterance, "Hi")]
    assert conversation.say("flush", id="a", ref="f") == [Write(utterance, TextFlush("f"))]
    assert conversation.say("played", id="a", ms=40) == [Played(utterance, 40)]
    assert conversation.say("end", id="a") == [Write(utterance, TextEnd())]
    assert conversation.say("cancel", id="a", played_ms=50) == [Cancel(utterance, 50)]
    conversation.end("a")
    assert conversation.say("played", id="a", ms=60) == [Played(utterance, 60)]


def test_an_interruption_cancels_the_others_before_it_is_told() -> None:
    """And not if the utterance that was to interrupt is refused."""
    conversation = Conversation()
    conversation.say("start", id="a")
    conversation.say("start", id="b")
    conversation.refusal = OverloadedError("full")
    assert not [a for a in conversation.say("start", id="c", interrupt=True) if isinstance(a, Cancel)]
    conversation.refusal = None
    actions = conversation.say("start", id="c", interrupt=True)
    assert [type(action) for action in actions] == [Open, Cancel, Cancel, Send]


def test_a_key_is_checked_by_the_session() -> None:
    """Before its answer nothing else is heard; after a wrong one the session closes."""
    conversation = Conversation(needs_key=True)
    error, close = conversation.say("start", id="a", ref="r")
    assert told([error])[0]["code"] == "unauthorized" and close == Close(4401, told([error])[0]["message"])
    assert conversation.say("auth", token="secret", ref="k") == [Authenticate("secret")]
    error, close = conversation.protocol.authenticated(AuthenticationError("this key is not valid here"))
    assert told([error])[0]["ref"] == "k" and isinstance(close, Close) and close.code == 4401
    conversation.say("auth", token="secret")
    error, close = conversation.protocol.authenticated(RateLimitedError("too many", retry_after_s=2.5))
    assert told([error])[0]["retry_after_s"] == 2.5 and close == Close(1013, "too many")
    conversation.say("auth", token="secret")
    assert conversation.protocol.authenticated("key") == []
    assert conversation.say("auth", token="another") == []
    assert told(conversation.say("start", id="a"))[0]["type"] == "started"


def test_idleness_ends_a_session_only_if_nothing_is_open() -> None:
    """An utterance that waits for its text keeps the session."""
    conversation = Conversation()
    conversation.say("start", id="a")
    assert conversation.protocol.idled() == []
    conversation.end("a")
    error, close = conversation.protocol.idled()
    assert told([error])[0]["code"] == "idle_timeout" and isinstance(close, Close) and close.code == 4408


def test_a_dead_engine_is_told_and_closes() -> None:
    """With the code of an internal error."""
    error, close = Conversation().protocol.failed(EngineError("it hangs"))
    assert told([error])[0]["scope"] == "session" and close == Close(1011, "the engine failed")


def bring_into(conversation: Conversation, state: State) -> None:
    """Say what brings the id `a` into a state."""
    if state in (State.OVER, State.REFUSED_AGAIN, State.OPEN, State.ENDED):
        conversation.say("start", id="a")
    if state is State.ENDED:
        conversation.say("end", id="a")
    if state in (State.OVER, State.REFUSED_AGAIN):
        conversation.end("a")
    if state in (State.REFUSED, State.REFUSED_AGAIN):
        conversation.say("start", id="a", voice="nobody")


ASKED = {
    Event.START: {},
    Event.TEXT: {"text": "Hi."},
    Event.FLUSH: {},
    Event.END: {},
    Event.CANCEL: {},
    Event.PLAYED: {"ms": 1},
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", ASKED)
def test_the_table_is_what_the_protocol_does(state: State, event: Event) -> None:
    """For each state of an id, and all that can be asked: what is absent is one error, what is there is none."""
    conversation = Conversation()
    bring_into(conversation, state)
    assert conversation.protocol.ids.state("a") is state
    answers = told(conversation.say(event.value, id="a", **ASKED[event]))
    transition = TRANSITIONS[state].get(event)
    codes = [message.get("code") for message in answers if message["type"] == "error"]
    assert codes == ([] if transition else ["utterance_state"])
    follows = state if transition is None else State.OPEN if event is Event.START else transition.state
    assert conversation.protocol.ids.state("a") is follows


def test_only_so_many_ids_are_remembered() -> None:
    """The last 32 that ended can be played behind, the one before them is unknown."""
    conversation = Conversation()
    for number in range(33):
        conversation.say("start", id=str(number))
        conversation.end(str(number))
    assert told(conversation.say("start", id="x", after="0"))[0]["code"] == "utterance_state"
    assert told(conversation.say("start", id="x", after="1"))[0]["type"] == "started"


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
MESSAGES = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["start", "speak", "text", "flush", "end", "cancel", "played", "ping", "configure"]
        )
    },
    optional={
        "id": st.sampled_from(["a", "b"]) | JSON,
        "text": st.text(max_size=20) | JSON,
        "after": st.sampled_from(["a", "b"]) | JSON,
        "interrupt": st.booleans() | JSON,
        "params": st.dictionaries(st.sampled_from(["seed", "top_k", "top_p"]), JSON, max_size=2) | JSON,
        "lead_ms": st.integers() | JSON,
        "ms": st.floats() | JSON,
        "ref": JSON,
    },
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    frames=st.lists(
        st.one_of(MESSAGES.map(json.dumps), JSON.map(json.dumps), st.text(), st.binary()), max_size=6
    )
)
def test_the_protocol_never_raises(frames: list[str | bytes]) -> None:
    """Whatever comes in, every accepted start is one open utterance."""
    conversation = Conversation()
    actions = [
        action for frame in frames for action in conversation.carry_out(conversation.protocol.receive(frame))
    ]
    started = [message["id"] for message in told(actions) if message["type"] == "started"]
    assert started == list(conversation.utterances)
