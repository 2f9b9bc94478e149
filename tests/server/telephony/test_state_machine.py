"""A call and two programs that drive it, in any order: each mark comes back once, and so does the end of each text."""

from __future__ import annotations

import base64
import itertools
import json
from collections import Counter
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from streamer.server.client_protocol import ClientProtocol
from streamer.server.service import Service
from streamer.server.telephony.calls import Calls
from streamer.server.telephony.control import ControlProtocol
from streamer.server.telephony.media_stream import MediaStreamProtocol
from streamer.server.telephony.talk import MAX_MARKS
from streamer.server.upgrade import Upgrade
from streamer.server.wire import Frame
from tests.audio.decoding import decode_numbers
from tests.fakes.letters import LETTERS, letter_of
from tests.server.peer import Peer
from tests.server.session_machine import SessionMachine, run, texts
from tests.server.telephony.phones import telnyx_start, twilio_start

PROGRAMS: Final = (0, 1)
MISTAKES: Final[tuple[tuple[Frame | dict[str, Any], str], ...]] = (
    (b"\x00", "binary"),
    ("{", "JSON"),
    ({"event": "text", "text": "a" * 41}, "41"),
    ({"event": "text", "text": "a", "voice": "nobody"}, "nobody"),
    ({"event": "text"}, "text"),
    ({"event": "mark"}, "mark"),
    ({"event": "text", "text": 5}, "text"),
)


class CallMachine(SessionMachine):
    """What a `clear` took back is not heard behind it; so the letter changes with each."""

    close_codes = (1000, 1001, 1008, 1011)

    def __init__(self) -> None:
        self.calls = Calls()
        super().__init__()

    def create_protocol(self, upgrade: Upgrade, service: Service) -> ClientProtocol:
        return MediaStreamProtocol(upgrade, service, self.calls)

    def create_control(self, upgrade: Upgrade, service: Service) -> ClientProtocol:
        return ControlProtocol(upgrade, service, self.calls)

    def connect(self) -> None:
        self.letters = itertools.cycle(LETTERS)
        self.letter = next(self.letters)
        self.programs: dict[int, Peer] = {}
        self.marks: Counter[str] = Counter()
        """The marks that were set and have not come back."""
        self.num_marks = 0
        self.has_started = False
        self.num_ended = 0
        super().connect()

    def heard(self, frame: Frame) -> None:
        message = json.loads(frame)
        match message["event"]:
            case "media":
                sound = base64.b64decode(message["media"]["payload"])
                assert len(sound) == 160
                letter = letter_of(decode_numbers(sound, "pcm_mulaw") / 32_768)
                assert letter in (None, self.letter), (letter, self.letter)
            case "mark" if message["mark"]["name"].startswith("streamer-"):
                self.num_ended += 1
                assert message["mark"]["name"] == f"streamer-{self.num_ended}"
                self.peer.say({"event": "mark", "mark": message["mark"]})  # it has been played
            case "mark":
                self.comes_back(message["mark"]["name"])

    def comes_back(self, name: str) -> None:
        self.marks[name] -= 1
        assert self.marks[name] >= 0, f"{name} comes back twice"

    def settle(self, seconds: float = 0.0) -> list[Frame]:
        frames = super().settle(seconds)
        for program in self.programs.values():
            for frame in program.unread():
                message = json.loads(frame)
                if message["event"] == "mark" and self.is_prompt:
                    self.comes_back(message["mark"]["name"])
        return frames

    def is_done(self) -> bool:
        # One that the server closes by itself, because no sound is awaited any more, owes nothing.
        return not self.is_open or not +self.marks

    def farewell(self) -> list[dict[str, Any] | Frame]:
        return [{"event": "text", "last": True}] if self.has_started else []

    def end(self) -> None:
        super().end()
        assert not self.calls._running and not self.calls._waiting

    @precondition(lambda self: self.is_open)
    @rule(is_telnyx=st.booleans(), text=st.none() | texts("a"), keep_open=st.booleans())
    def start(self, is_telnyx: bool, text: str | None, keep_open: bool) -> None:
        parameters = ({} if text is None else {"text": text.lower().replace("a", self.letter)}) | (
            {"keep_open": "true"} if keep_open else {}
        )
        start = telnyx_start("call", **parameters) if is_telnyx else twilio_start("call", **parameters)
        self.has_started = True
        self.say({"event": "start", **start})

    @precondition(lambda self: self.is_open)
    @rule(number=st.sampled_from(PROGRAMS))
    def a_program_comes(self, number: int) -> None:
        if number in self.programs and self.programs[number].is_open:
            return
        self.programs[number] = self.new_peer(self.create_control, parameters={"sid": "call"})
        self.settle()

    @precondition(lambda self: self.is_open)
    @rule(number=st.sampled_from(PROGRAMS))
    def a_program_leaves(self, number: int) -> None:
        if number in self.programs and self.programs[number].is_open:
            self.programs[number].hang_up()
            self.marks.clear()  # its own are lost with it
            self.is_prompt = False
            self.settle()

    def speaker(self, number: int | None) -> Peer | None:
        """Who speaks: a program, if there is one, or the telephone itself."""
        if number is None:
            return self.peer
        program = self.programs.get(number)
        is_joined = program is not None and program.is_open and bool(self.calls._running)
        return program if is_joined else None

    @precondition(lambda self: self.is_open and self.has_started)
    @rule(
        data=st.data(), number=st.none() | st.sampled_from(PROGRAMS), last=st.booleans(), voice=st.booleans()
    )
    def text(self, data: st.DataObject, number: int | None, last: bool, voice: bool) -> None:
        if (speaker := self.speaker(number)) is not None:
            message = {"event": "text", "text": data.draw(texts(self.letter)), "last": last}
            speaker.say(message | ({"voice": "other"} if voice else {}))
            self.settle()

    @precondition(lambda self: self.is_open and self.has_started)
    @rule(number=st.none() | st.sampled_from(PROGRAMS))
    def mark(self, number: int | None) -> None:
        if (speaker := self.speaker(number)) is not None and +self.marks.total() < MAX_MARKS:
            self.num_marks += 1
            name = f"mine-{self.num_marks}"
            self.marks[name] += 1
            speaker.say({"event": "mark", "mark": {"name": name}})
            self.settle()

    @precondition(lambda self: self.is_open and self.has_started)
    @rule(number=st.none() | st.sampled_from(PROGRAMS))
    def clear(self, number: int | None) -> None:
        if (speaker := self.speaker(number)) is not None:
            self.letter = next(self.letters)
            speaker.say({"event": "clear"})
            self.settle()
            assert not self.is_prompt or not +self.marks

    @precondition(lambda self: self.is_open)
    @rule(number=st.none() | st.sampled_from(PROGRAMS))
    def stop(self, number: int | None) -> None:
        if (speaker := self.speaker(number)) is not None:
            speaker.say({"event": "stop"})
            self.settle()

    @precondition(lambda self: self.is_open)
    @rule(event=st.sampled_from(["connected", "media", "dtmf", "sing"]))
    def tell(self, event: str) -> None:
        self.say({"event": event, "dtmf": {"digit": "5"}, "media": {"payload": "ff"}})

    @precondition(lambda self: self.is_open and self.has_started)
    @rule(mistake=st.sampled_from(MISTAKES))
    def is_wrong(self, mistake: tuple[Frame | dict[str, Any], str]) -> None:
        message, named = mistake
        answers = self.say(message)
        if self.is_prompt and self.is_open:
            assert any(named in str(answer) for answer in answers if "error" in str(answer))


TestCall = run(CallMachine)
