"""The base of the protocols' state machines: real sessions, whose clients, engine and clock hypothesis moves by hand.

A rule is one thing that a client or the engine may do; then everything runs until it waits. Each id of a client has a
letter of its own, of which alone its texts consist, and each letter has a sound of its own: so what was said under one
id and is heard under another shows.

`HYPOTHESIS_PROFILE=long` searches for minutes instead of moments.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import Mapping
from typing import Any, ClassVar, Final
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streamer.config import Config
from streamer.errors import EngineError, ModelNumericError, OverloadedError, StreamerError
from streamer.server.admission import Admission
from streamer.server.client_protocol import ClientProtocol, CreateProtocol
from streamer.server.ending import CloseRequest
from streamer.server.flow_control import OUTBOX_FRAMES, PlaybackClock
from streamer.server.keys import ApiKeys
from streamer.server.service import Service
from streamer.server.upgrade import Upgrade
from streamer.server.wire import Frame
from streamer.telemetry.metrics import Metrics
from tests.fakes.event_loop import HandMovedLoop
from tests.fakes.letters import HandFedSynthesizer
from tests.server.peer import Lives, Peer
from tests.server.speaking import configured

logger = logging.getLogger("streamer")
IS_LONG: Final = os.environ.get("HYPOTHESIS_PROFILE") == "long"
SEARCH: Final = settings(
    max_examples=1000 if IS_LONG else 12,
    stateful_step_count=60 if IS_LONG else 25,
    derandomize=not IS_LONG,
    database=None,
    report_multiple_bugs=False,
    phases=(Phase.generate, Phase.shrink),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
"""How long the machines search."""
LIMITS: Final = configured(
    max_text_chars=40,
    max_buffered_chars=80,
    max_utterances_per_session=3,
    max_utterances_per_key=10_000,
    max_starts_per_s=100_000,
    max_bytes_per_s=10**9,
    max_message_bytes=2000,
    write_timeout_s=5.0,
)
"""Limits that a client meets within a few steps."""


def texts(letter: str) -> st.SearchStrategy[str]:
    """Texts of one letter: whole sentences, parts of them, nothing, and more than may wait."""
    some = (
        "Aa aaa aa.",
        "Aa aa! Aaa?",
        "aa ",
        "aaa",
        "Aa, aaa ",
        "aa. Aa ",
        " ",
        "",
        "Aaa aa. " * 5,
        "aa " * 20,
    )
    return st.sampled_from([text.replace("A", letter.upper()).replace("a", letter) for text in some])


class _Unexpected(logging.Handler):
    """Keeps what the server logs as unexpected."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info or record.levelno >= logging.ERROR:
            self.records.append(f"{record.getMessage()} {record.exc_info}")


class SessionMachine(RuleBasedStateMachine):
    """What may happen to any protocol. Subclasses make it, add a rule for each message, and read the answers.

    `heard` is given each frame, `farewell` says what ends everything that is open, and `close_codes` are those with
    which the server may close by itself.
    """

    config: ClassVar[Config] = LIMITS
    query: ClassVar[str] = ""
    parameters: ClassVar[Mapping[str, str]] = {}
    close_codes: ClassVar[tuple[int, ...]] = (1000, 1001, 1011, 4408)
    tells_beginnings: ClassVar[bool] = False
    """Whether frames alone tell what is open, so that they can be judged whenever they come."""

    def create_protocol(self, upgrade: Upgrade, service: Service) -> ClientProtocol:
        raise NotImplementedError

    def heard(self, frame: Frame) -> None:
        raise NotImplementedError

    def farewell(self) -> list[dict[str, Any] | Frame]:
        raise NotImplementedError

    def is_done(self) -> bool:
        """Whether everything that the client asked for has had its end."""
        return not self.lives.open

    def __init__(self) -> None:
        super().__init__()
        self.loop = HandMovedLoop()
        self.synthesizer = HandFedSynthesizer()
        metrics = Metrics()
        self.service = Service(
            self.config, self.synthesizer, Admission(self.config.limits), ApiKeys(), metrics
        )
        self.log = _Unexpected()
        logger.addHandler(self.log)
        logger.propagate = False  # pytest keeps what is logged, and with a traceback all that it has passed
        self.clock = patch(
            "streamer.server.session.PlaybackClock", lambda lead_ms: PlaybackClock(lead_ms, self.loop.time)
        )
        self.clock.start()
        self.num_failed_on_purpose = 0
        self.is_prompt = True
        self.peers: list[Peer] = []
        self.connect()

    def connect(self) -> None:
        """The client connects, and knows of nothing."""
        self.lives = Lives()
        self.peer = self.new_peer(self.create_protocol, query=self.query, parameters=self.parameters)
        self.is_ending = False
        self.settle()

    def new_peer(self, create_protocol: CreateProtocol, **options: Any) -> Peer:
        self.peers.append(Peer(self.loop, self.service, create_protocol, **options))
        return self.peers[-1]

    def say(self, *messages: dict[str, Any] | Frame) -> list[Frame]:
        """The client says something; returns the answers, if it waits for them."""
        for message in messages:
            self.peer.say(message)
        return self.settle() if self.is_prompt else []

    def settle(self, seconds: float = 0.0) -> list[Frame]:
        """Let time pass, and read what comes."""
        self.loop.pass_time(seconds)
        frames = self.peer.unread()
        for frame in frames:
            if self.can_judge:
                self.heard(frame)
        return frames

    def speak_all(self) -> None:
        """Let the engine make all that is asked of it, the words of writers that pause included."""
        for _ in range(30):
            while self.synthesizer.make():
                self.settle()
            self.settle(1.0)

    @property
    def is_open(self) -> bool:
        return self.peer.is_open

    @property
    def can_judge(self) -> bool:
        """Whether the client knows what it is owed."""
        return self.is_prompt or self.tells_beginnings

    @initialize(is_prompt=st.booleans())
    def the_client_is(self, is_prompt: bool) -> None:
        """A prompt client reads all answers before it says something else; any other says several things at once."""
        self.is_prompt = is_prompt

    @rule(number=st.integers(1, 4))
    def sound_arrives(self, number: int) -> None:
        for _ in range(number):
            self.synthesizer.make()
            self.settle()

    @rule(
        index=st.integers(0, 3),
        kind=st.sampled_from([EngineError, ModelNumericError, OverloadedError, OSError]),
    )
    def a_sentence_fails(self, index: int, kind: type[Exception]) -> None:
        self.num_failed_on_purpose += not issubclass(kind, StreamerError)
        self.synthesizer.fail(index, kind("no power"))
        self.settle()

    @rule(seconds=st.sampled_from([0.05, 0.6, 3.0, 25.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        self.settle(seconds)

    @precondition(lambda self: self.is_open and not self.is_prompt)
    @rule()
    def the_client_stops_reading(self) -> None:
        self.peer.connection.stall()

    @precondition(lambda self: self.peer.connection.is_stalled)
    @rule()
    def the_client_reads_on(self) -> None:
        self.peer.connection.read_on()
        self.settle()

    @precondition(lambda self: self.is_open and not self.is_ending)
    @rule(grace_s=st.sampled_from([0.0, 5.0, 30.0]))
    def the_server_drains(self, grace_s: float) -> None:
        self.is_ending = True
        self.loop.call_soon(self.peer.session.end, CloseRequest(1001, "the server stops", grace_s=grace_s))
        self.settle()

    @precondition(lambda self: self.is_open and not self.is_ending)
    @rule()
    def the_engine_stops(self) -> None:
        self.is_ending = True
        self.loop.call_soon(
            self.peer.session.end, CloseRequest(1011, "the engine failed", EngineError("no power"))
        )
        self.settle()

    @precondition(lambda self: self.is_open)
    @rule()
    def the_client_hangs_up(self) -> None:
        self.peer.hang_up()
        self.settle()

    @precondition(lambda self: not self.is_open)
    @rule()
    def the_client_connects_again(self) -> None:
        self.connect()

    @invariant()
    def nothing_is_amiss(self) -> None:
        assert len(self.log.records) <= self.num_failed_on_purpose, self.log.records[-1]
        assert not self.synthesizer.mixed, self.synthesizer.mixed
        limits = self.config.limits
        for peer in self.peers:
            if peer.is_open:
                assert len(peer.protocol.open) <= limits.max_utterances_per_session
                assert len(peer.session._outbox._frames) <= OUTBOX_FRAMES
                waiting = [utterance.num_waiting_chars for utterance in peer.protocol.open]
                assert max(waiting, default=0) <= limits.max_buffered_chars + len(
                    waiting
                )  # spaces between messages
                assert len(peer.session._timers._waiting) <= limits.max_utterances_per_session + 2
                assert len(asyncio.all_tasks(self.loop)) < 100
            else:
                self.is_over(peer)
        self.peers = [peer for peer in self.peers if peer.is_open or peer is self.peer]

    def is_over(self, peer: Peer) -> None:
        """A connection that is closed leaves nothing, and owes its client nothing."""
        self.loop.end(peer.running)  # raises what the session has raised
        assert not peer.protocol.open
        if peer is self.peer and not peer.was_left:
            assert peer.connection.close_code in self.close_codes, peer.connection.close_code
            assert self.is_done() or not self.can_judge, self.lives.open

    def teardown(self) -> None:
        try:
            self.end()
        finally:
            self.clock.stop()
            logger.removeHandler(self.log)
            logger.propagate = True
            for task in asyncio.all_tasks(self.loop):  # none, unless the machine has found something
                task.cancel()
            self.loop.pass_time()
            self.loop.close()

    def end(self) -> None:
        """What is open comes to its end, the client leaves, and nothing is left behind."""
        self.peer.connection.read_on()
        self.settle()
        if self.is_open:
            self.say(*self.farewell())
            self.speak_all()
            self.nothing_is_amiss()
            assert self.is_done() or self.peer.was_left or not self.can_judge, self.lives.open
        for peer in self.peers:
            peer.hang_up()
        self.settle(10.0)
        self.nothing_is_amiss()
        assert not asyncio.all_tasks(self.loop)
        assert self.synthesizer.num_open == 0 and not self.synthesizer.waiting
        admission = self.service.admission
        assert not admission.queue.num_waiting
        assert not any(quota.num_open or quota.num_waiting for quota in admission._quotas.values())
        assert not self.service.metrics.registry.get_sample_value("tts_requests_running")
        utterances = [peer.protocol.utterances for peer in self.peers]
        self.peers.clear()
        del self.peer, peer
        gc.collect()
        assert not any(utterances), "an utterance is held by somebody"


def run(machine: type[SessionMachine]) -> Any:
    """The test case of a machine."""

    class Case(machine.TestCase):  # type: ignore[misc,name-defined]
        settings = SEARCH

        @classmethod
        def setUpClass(cls) -> None:
            gc.collect()
            gc.freeze()  # what is collected after each example is the example's own, which takes no time

        @classmethod
        def tearDownClass(cls) -> None:
            gc.unfreeze()

    return Case
