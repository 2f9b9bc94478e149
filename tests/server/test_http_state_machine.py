"""Speech over HTTP in any order: each request has one whole answer, of its own text, or the connection ends."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import logging
from typing import Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streamer.errors import EngineError, ModelNumericError, OverloadedError
from tests.fakes.letters import LETTERS, letter_of, samples_of
from tests.server.http_peer import Answer, HttpPeer, HttpServer, request
from tests.server.session_machine import LIMITS, SEARCH, _Unexpected, logger, texts

PIECE_BYTES: Final = 960
WAV_HEAD_BYTES: Final = 44
MAX_REQUESTS: Final = 6
MISTAKES: Final[tuple[tuple[bytes, tuple[int, ...]], ...]] = (
    (request("POST", "/v1/speech", b'{"text": 5}'), (400,)),
    (request("POST", "/v1/speech", b"{"), (400,)),
    (request("POST", "/v1/speech", b'{"text": "a", "voice": "nobody"}'), (400,)),
    (request("POST", "/v1/speech", b'{"text": "%s"}' % (b"a" * 41)), (400,)),
    (request("POST", "/v1/speech", b'{"text": "a", "id": "x"}'), (400,)),
    (request("POST", "/v1/audio/speech", b'{"input": 5}'), (400,)),
    (
        request("POST", "/v1/audio/speech", b'{"input": "a", "model": "tts-1", "response_format": "x"}'),
        (400,),
    ),
    (request("POST", "/v1/audio/speech", b"\xff"), (400,)),
    (request("GET", "/v1/speech", b""), (405,)),
    (request("GET", "/nowhere", b""), (404,)),
    (request("POST", "/v1/speech", b"a" * 2001), (413,)),
    (b"POST /v1/speech HTTP/1.1\r\nHost: test\r\nContent-Length: 1, 2\r\n\r\n", (400,)),
    (b"\0\1\2 what?\r\n\r\n", (400,)),
)


class _Asked:
    """A request whose answer is due."""

    def __init__(self, statuses: tuple[int, ...], letter: str = "", form: str = "") -> None:
        self.statuses = statuses
        self.letter = letter
        self.form = form

    def judge(self, answer: Answer) -> None:
        assert answer.status in self.statuses, (answer.status, self.statuses)
        if answer.status != 200:
            if answer.is_whole:
                assert json.loads(answer.body)["error"]
            return
        body = answer.body
        match self.form:
            case "wav":
                body = body[WAV_HEAD_BYTES:]
            case "sse":
                body = self._sound_of_events(body, is_whole=answer.is_whole)
            case "ogg_opus" | "opus":
                assert b"OggS".startswith(body[:4])
                return
        for start in range(0, len(body) - PIECE_BYTES, PIECE_BYTES):
            letter = letter_of(samples_of(body[start : start + PIECE_BYTES]))
            assert letter in (None, self.letter), (letter, self.letter)

    def _sound_of_events(self, body: bytes, *, is_whole: bool) -> bytes:
        *lines, _ = body.decode().split("\n\n")
        events = [json.loads(line.removeprefix("data: ")) for line in lines]
        kinds = [event.get("type", "error") for event in events]
        assert set(kinds[:-1]) <= {"speech.audio.delta"}, kinds
        assert not is_whole or kinds[-1] in ("speech.audio.done", "error"), kinds
        deltas = [event["audio"] for event in events if event.get("type") == "speech.audio.delta"]
        return b"".join(map(base64.b64decode, deltas))


class HttpMachine(RuleBasedStateMachine):
    """One connection after another, over which requests come whole or in pieces, alone or ahead of their turn."""

    def __init__(self) -> None:
        super().__init__()
        self.server = HttpServer(LIMITS)
        self.loop, self.synthesizer = self.server.loop, self.server.synthesizer
        self.log = _Unexpected()
        logger.addHandler(self.log)
        logger.propagate = False
        logger.setLevel(logging.ERROR)
        self.num_failed_on_purpose = 0
        self.num_requests = 0
        self.connect()

    def connect(self) -> None:
        self.server.is_stopping = False
        self.peer = HttpPeer(self.server)
        self.asked: list[_Asked] = []
        self.rest = b""
        self.may_be_cut = False
        """Whether the client has given the server a reason to end the connection without an answer."""
        self.has_failed = False
        """Whether a sentence has failed, after which an answer that was begun is cut."""

    def settle(self, seconds: float = 0.0) -> None:
        self.loop.pass_time(seconds)
        answers = self.peer.answers()
        assert len(answers) <= len(self.asked) + (not self.peer.is_open), answers
        for asked, answer in zip(self.asked, answers, strict=False):
            asked.judge(answer)
        for answer in answers[len(self.asked) :]:
            assert answer.status in (400, 408, 503), "what was begun and did not come is told so"

    def ask(self, data: bytes, asked: _Asked, cut: float | None) -> None:
        if cut is None:
            self.asked.append(asked)
            self.peer.say(data)
        else:
            head = data[: max(1, round(cut * (len(data) - 1)))]
            self.rest, self.unfinished = data[len(head) :], asked
            self.peer.say(head)
        self.settle()

    @precondition(lambda self: self.peer.is_open and not self.rest and len(self.asked) < MAX_REQUESTS)
    @rule(
        data=st.data(),
        form=st.sampled_from(["pcm_s16le", "wav", "ogg_opus"]),
        is_chunked=st.booleans(),
        cut=st.none() | st.floats(0, 1),
    )
    def asks_natively(self, data: st.DataObject, form: str, is_chunked: bool, cut: float | None) -> None:
        letter = self._letter()
        body = json.dumps({"text": data.draw(texts(letter)), "encoding": form}).encode()
        self.ask(
            request("POST", "/v1/speech", body, is_chunked=is_chunked),
            _Asked((200, 400, 500, 503), letter, form),
            cut,
        )

    @precondition(lambda self: self.peer.is_open and not self.rest and len(self.asked) < MAX_REQUESTS)
    @rule(
        data=st.data(), form=st.sampled_from(["pcm", "wav", "opus", "sse"]), cut=st.none() | st.floats(0, 1)
    )
    def asks_as_openai(self, data: st.DataObject, form: str, cut: float | None) -> None:
        letter = self._letter()
        fields = {"input": data.draw(texts(letter)), "model": "tts-1", "voice": "alloy"}
        fields |= (
            {"stream_format": "sse", "response_format": "pcm"} if form == "sse" else {"response_format": form}
        )
        body = json.dumps(fields).encode()
        self.ask(request("POST", "/v1/audio/speech", body), _Asked((200, 400, 500, 503), letter, form), cut)

    def _letter(self) -> str:
        self.num_requests += 1
        return LETTERS[self.num_requests % len(LETTERS)]

    @precondition(lambda self: self.peer.is_open and not self.rest and len(self.asked) < MAX_REQUESTS)
    @rule(mistake=st.sampled_from(MISTAKES))
    def is_wrong(self, mistake: tuple[bytes, tuple[int, ...]]) -> None:
        data, statuses = mistake
        self.ask(data, _Asked((*statuses, 503)), None)

    @precondition(lambda self: self.peer.is_open and self.rest)
    @rule()
    def the_rest_comes(self) -> None:
        self.asked.append(self.unfinished)
        self.peer.say(self.rest)
        self.rest = b""
        self.settle()

    @rule(number=st.integers(1, 4))
    def sound_arrives(self, number: int) -> None:
        for _ in range(number):
            self.synthesizer.make()
            self.settle()

    @rule()
    def all_sound_arrives(self) -> None:
        for _ in range(100):
            self.settle(0.01)
            if not self.synthesizer.make():
                break

    @precondition(lambda self: self.synthesizer.waiting)
    @rule(kind=st.sampled_from([EngineError, ModelNumericError, OverloadedError, OSError]))
    def a_sentence_fails(self, kind: type[Exception]) -> None:
        self.num_failed_on_purpose += kind is OSError
        self.has_failed = True
        self.synthesizer.fail(0, kind("no power"))
        self.settle()

    @rule(seconds=st.sampled_from([0.1, 3.0, 6.0, 80.0]))
    def time_passes(self, seconds: float) -> None:
        self.settle(seconds)

    @precondition(lambda self: self.peer.is_open)
    @rule()
    def the_client_stops_reading(self) -> None:
        self.peer.transport.is_stalled = self.may_be_cut = True

    @precondition(lambda self: self.peer.transport.is_stalled)
    @rule()
    def the_client_reads_on(self) -> None:
        self.peer.transport.read_on()
        self.settle()

    @precondition(lambda self: self.peer.is_open and self.asked)
    @rule(by_half=st.booleans())
    def the_client_leaves(self, by_half: bool) -> None:
        self.peer.leave(by_half=by_half)
        self.settle(0.0 if not by_half else 3.0)
        assert not self.peer.is_open and not self.synthesizer.num_open

    @precondition(lambda self: not self.peer.is_open)
    @rule()
    def the_client_connects_again(self) -> None:
        self.peer.leave()
        self.settle()
        self.connect()

    @precondition(lambda self: not self.server.is_stopping and len(self.asked) > 1)
    @rule()
    def the_server_drains(self) -> None:
        self.server.is_stopping = True

    @invariant()
    def nothing_is_amiss(self) -> None:
        assert len(self.log.records) <= self.num_failed_on_purpose, self.log.records[-1]
        assert not self.synthesizer.mixed, self.synthesizer.mixed
        answers = self.peer.answers()
        if self.peer.is_open or self.peer.has_left or self.may_be_cut:
            return
        was_told = bool(answers) and b"connection: close" in answers[-1].head.lower()
        is_cut = bool(answers) and not answers[-1].is_whole
        assert not is_cut or self.has_failed, "an answer is cut, and no sentence has failed"
        is_drained = self.server.is_stopping and len(answers) > 0  # what was sent ahead is not begun then
        assert len(answers) >= len(self.asked) or was_told or is_cut or is_drained, (
            f"{len(self.asked)} requests, {len(answers)} answers, and the connection is over"
        )

    def teardown(self) -> None:
        try:
            self.end()
        finally:
            logger.removeHandler(self.log)
            logger.propagate = True
            logger.setLevel(logging.NOTSET)
            for task in asyncio.all_tasks(self.loop):  # none, unless the machine has found something
                task.cancel()
            self.loop.pass_time()
            self.loop.close()

    def end(self) -> None:
        """Everything that was asked is answered, the client leaves, and nothing is left behind."""
        self.peer.transport.read_on()
        self.all_sound_arrives()
        self.nothing_is_amiss()
        if self.peer.is_open and not self.rest:
            assert [answer.is_whole for answer in self.peer.answers()] == [True] * len(self.asked)
        self.peer.leave()
        self.settle(10.0)
        self.server.check_nothing_is_held()


class TestHttp(HttpMachine.TestCase):  # type: ignore[misc,valid-type]
    settings = settings(SEARCH, max_examples=SEARCH.max_examples * 2)  # for two addresses

    @classmethod
    def setUpClass(cls) -> None:
        gc.collect()
