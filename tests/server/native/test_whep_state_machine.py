"""WHEP in any order of requests: each session begins and ends once, and each of its utterances has one end."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import re
from collections.abc import Callable
from typing import Any, ClassVar, Final
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streamer.errors import EngineError, ModelNumericError, OverloadedError
from streamer.server.ending import CloseRequest
from streamer.server.flow_control import PlaybackClock
from tests.fakes.letters import LETTERS
from tests.fakes.peer_connection import FakePeerConnection
from tests.server.http_peer import Answer, HttpPeer, HttpServer, request
from tests.server.session_machine import LIMITS, SEARCH, _Unexpected, logger, texts

pytest.importorskip("aiortc")
IDS: Final = tuple(LETTERS[:3])
MAX_SESSIONS: Final = 4
PATIENCE_S: Final = 100.0
"""Longer than a session waits for its player to connect."""


class Listening:
    """A session as its player knows it."""

    num_done: ClassVar[int] = 0
    """How many utterances of all sessions have been heard to the end."""

    def __init__(self, path: str, connection: FakePeerConnection, began_s: float) -> None:
        self.path = path
        self.connection = connection
        self.began_s = began_s
        self.open: set[str] = set()
        self.is_greeted = False
        self.may_be_over = False

    def hear(self, lines: bytes) -> None:
        for line in lines.decode().splitlines():
            message = json.loads(line)
            match message["type"]:
                case "session":
                    assert not self.is_greeted
                    self.is_greeted = True
                case "started":
                    assert message["id"] not in self.open
                    self.open.add(message["id"])
                case "done":
                    self.open.remove(message["id"])  # raises for an end of nothing
                    Listening.num_done += 1


class WhepMachine(RuleBasedStateMachine):
    """Some sessions at a time, each of whose requests comes over a connection of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.nanoseconds = itertools.count()
        self.patches: list[Any] = [
            mock.patch("streamer.server.webrtc.RTCPeerConnection", FakePeerConnection),
            mock.patch.object(asyncio, "to_thread", _at_once),
            mock.patch(
                "streamer.server.session.PlaybackClock",
                lambda lead_ms: PlaybackClock(lead_ms, self.now_s),
            ),
        ]
        for patch in self.patches:
            patch.start()
        FakePeerConnection.made.clear()
        self.server = HttpServer(LIMITS)
        self.loop, self.synthesizer = self.server.loop, self.server.synthesizer
        self.log = _Unexpected()
        logger.addHandler(self.log)
        logger.propagate = False
        self.num_failed_on_purpose = 0
        self.sessions: list[Listening] = []
        self.waiting: list[tuple[HttpPeer, Callable[[Answer], None]]] = []

    def now_s(self) -> float:
        """The loop's time, and a nanosecond more each time: a rest of less than a clock's step would never end."""
        return self.loop.time() + next(self.nanoseconds) * 1e-9

    def ask(self, data: bytes, judge: Callable[[Answer], None]) -> None:
        peer = HttpPeer(self.server)
        peer.say(data)
        self.waiting.append((peer, judge))
        self.settle()

    def settle(self, seconds: float = 0.0) -> None:
        self.loop.pass_time(seconds)
        for peer, judge in tuple(self.waiting):
            if answers := [answer for answer in peer.answers() if answer.is_whole]:
                (answer,) = answers
                self.waiting.remove((peer, judge))
                peer.leave()
                judge(answer)
        self.loop.pass_time()

    @property
    def has_room(self) -> bool:
        return sum(not session.may_be_over for session in self.sessions) < MAX_SESSIONS

    @initialize()
    def a_session_begins(self) -> None:
        """So that each example has somebody to speak to."""
        self.offers(offer=b"good")
        self.a_player_connects(index=0)

    @precondition(lambda self: self.has_room)
    @rule()
    def another_session_begins(self) -> None:
        self.a_session_begins()

    @precondition(lambda self: self.has_room)
    @rule(offer=st.sampled_from([b"good", b"good a=candidate:1 x", b"bad", b"\xff"]))
    def offers(self, offer: bytes) -> None:
        def judge(answer: Answer) -> None:
            assert answer.status == (201 if offer.startswith(b"good") else 400)
            if answer.status == 201:
                location = re.search(rb"Location: (\S+)", answer.head)
                assert location is not None
                made = FakePeerConnection.made[-1]
                self.sessions.append(Listening(location[1].decode(), made, self.loop.time()))

        self.ask(request("POST", "/v1/whep", offer, "Content-Type: application/sdp"), judge)

    @rule(content_type=st.sampled_from(["text/plain", "application/sdpx", ""]))
    def offers_something_else(self, content_type: str) -> None:
        def judge(answer: Answer) -> None:
            assert answer.status == 415

        self.ask(request("POST", "/v1/whep", b"good", f"Content-Type: {content_type}"), judge)

    @precondition(lambda self: self.sessions)
    @rule(index=st.integers(0, 9))
    def a_player_connects(self, index: int) -> None:
        self.loop.call_soon(self._session(index).connection.become, "connected")
        self.settle()

    @precondition(lambda self: self.sessions)
    @rule(index=st.integers(0, 9), state=st.sampled_from(["failed", "closed"]))
    def a_player_is_lost(self, index: int, state: str) -> None:
        session = self._session(index)
        session.may_be_over = True
        self.loop.call_soon(session.connection.become, state)
        self.settle()

    @precondition(lambda self: self.sessions)
    @rule(
        index=st.integers(0, 9),
        kind=st.sampled_from(["speak", "start", "text", "end", "cancel", "ping", "sing", "{"]),
        name=st.sampled_from(IDS),
        data=st.data(),
    )
    def a_player_says(self, index: int, kind: str, name: str, data: st.DataObject) -> None:
        message: dict[str, Any] = {"type": kind, "id": name}
        if kind in ("speak", "text"):
            message["text"] = data.draw(texts(name))
        self.say(self._session(index), b"{" if kind == "{" else json.dumps(message).encode())

    @precondition(lambda self: self.sessions)
    @rule(index=st.integers(0, 9), name=st.sampled_from(IDS), data=st.data())
    def a_player_speaks(self, index: int, name: str, data: st.DataObject) -> None:
        self.a_player_says(index=index, kind="speak", name=name, data=data)

    def say(self, session: Listening, body: bytes) -> None:
        def judge(answer: Answer) -> None:
            assert answer.status == 200 or (answer.status == 404 and session.may_be_over)
            if answer.status == 200:
                session.hear(answer.body)
            elif session in self.sessions:
                self.sessions.remove(session)

        self.ask(request("POST", session.path, body), judge)

    @precondition(lambda self: self.sessions)
    @rule(index=st.integers(0, 9))
    def a_player_leaves(self, index: int) -> None:
        self.leave(self._session(index))

    def leave(self, session: Listening) -> None:
        was_over, session.may_be_over = session.may_be_over, True

        def judge(answer: Answer) -> None:
            assert answer.status == 200 or (answer.status == 404 and was_over)
            if answer.status == 404 and session in self.sessions:
                self.sessions.remove(session)

        self.ask(request("DELETE", session.path, b""), judge)

    @rule(
        method=st.sampled_from(["POST", "DELETE", "GET", "PATCH"]), name=st.sampled_from(["x", "..", "a/b"])
    )
    def somebody_asks_for_another_session(self, method: str, name: str) -> None:
        def judge(answer: Answer) -> None:
            assert answer.status in (404, 405)

        self.ask(request(method, f"/v1/whep/{name}", b"{}"), judge)

    @rule(number=st.integers(1, 4))
    def sound_arrives(self, number: int) -> None:
        for _ in range(number):
            self.synthesizer.make()
            self.settle()

    @rule(kind=st.sampled_from([EngineError, ModelNumericError, OverloadedError, OSError]))
    def a_sentence_fails(self, kind: type[Exception]) -> None:
        self.num_failed_on_purpose += kind is OSError
        self.synthesizer.fail(0, kind("no power"))
        self.settle()

    @rule(seconds=st.sampled_from([0.1, 3.0, 40.0]))
    def time_passes(self, seconds: float) -> None:
        for session in self.sessions:  # one whose player does not connect ends by itself
            waits_s = self.loop.time() + seconds - session.began_s
            session.may_be_over |= waits_s > 10 and session.connection.connectionState == "new"
        self.settle(seconds)

    @rule()
    def the_server_drains(self) -> None:
        for session in self.sessions:
            session.may_be_over = True
        self.loop.call_soon(self.server.sessions.end, CloseRequest(1001, "the server stops", grace_s=1.0))
        self.settle()

    @invariant()
    def nothing_is_amiss(self) -> None:
        assert len(self.log.records) <= self.num_failed_on_purpose, self.log.records[-1]
        assert len(self.server.sessions) <= len(self.sessions)
        num_held = len(self.server.sessions) + len(self.waiting)
        assert self.server.service.admission.places.num_taken <= num_held

    def _session(self, index: int) -> Listening:
        return self.sessions[-1 - index % len(self.sessions)]

    def teardown(self) -> None:
        try:
            self.end()
        finally:
            for patch in self.patches:
                patch.stop()
            logger.removeHandler(self.log)
            logger.propagate = True
            for task in asyncio.all_tasks(self.loop):  # none, unless the machine has found something
                task.cancel()
            self.loop.pass_time()
            self.loop.close()

    def end(self) -> None:
        """What is open comes to its end, of which each player hears. All sessions are ended, each request has its
        answer, and nothing is left."""
        sessions = tuple(self.sessions)
        for session in sessions:
            self.loop.call_soon(session.connection.become, "connected")
            for name in IDS:
                self.say(session, json.dumps({"type": "end", "id": name}).encode())
        for _ in range(100):
            self.synthesizer.make()
            self.settle(0.1)
        for session in sessions:
            self.say(session, b'{"type": "ping"}')
            assert not session.open or session.may_be_over, f"no `done` for {session.open}"
        for session in sessions:
            self.leave(session)
        self.settle(PATIENCE_S)
        self.nothing_is_amiss()
        assert not self.waiting, "a request has no answer"
        assert not len(self.server.sessions)
        self.server.check_nothing_is_held()
        assert all(made.connectionState == "closed" for made in FakePeerConnection.made)


async def _at_once(do: Callable[..., Any], *arguments: Any) -> Any:
    return do(*arguments)


class TestWhep(WhepMachine.TestCase):  # type: ignore[misc,valid-type]
    settings = settings(SEARCH, max_examples=SEARCH.max_examples * 3)  # for several sessions

    @classmethod
    def setUpClass(cls) -> None:
        logging.getLogger("aiortc").setLevel(logging.ERROR)
        Listening.num_done = 0

    def runTest(self) -> None:
        super().runTest()
        assert Listening.num_done > 0, "no player has heard an utterance to its end"
