"""A protocol in one file, to show what an adapter needs: text in, sound out, and nothing else touched.

Each frame is a text to be spoken behind those before. `key: secret` gives a key, `stop` silences everything, `bye` ends
the connection once all was said, and `in 0.1: text` says a line later, unless another such frame comes before. The
server answers with binary packets and with lines of text.
"""

from __future__ import annotations

from collections.abc import Sequence

from streamer.audio.formats import AudioFormat
from streamer.audio.packets import Packet
from streamer.errors import StreamerError
from streamer.server.client_protocol import Action, Authenticate, Cancel, Close, Open, Send, SetTimer, Write
from streamer.server.service import Service
from streamer.server.upgrade import Upgrade
from streamer.server.utterance import Utterance
from streamer.server.wire import Frame, Outcome
from streamer.speech.events import SentenceStarted, SpeechEvent
from streamer.speech.settings import SpeechSettings
from streamer.speech.text_feed import TextEnd

SOUND = AudioFormat("pcm_s16le")


class ToyWire:
    """Sound as it is, and a line for each sentence with the words it will have and for the end."""

    def event(self, utterance: Utterance, event: SpeechEvent) -> Sequence[Frame]:
        if not isinstance(event, SentenceStarted):
            return ()
        words = "|".join(word.text for word in event.expected_words())
        return (f"{utterance.id} says {words}",)

    def packet(self, utterance: Utterance, packet: Packet) -> Sequence[Frame]:
        assert utterance.audio_format == SOUND
        return (packet.payload,) if packet.payload else ()

    def done(self, utterance: Utterance, outcome: Outcome) -> Sequence[Frame]:
        return (f"{utterance.id} {outcome.reason}",)


class ToyProtocol:
    """Implements `streamer.server.client_protocol.ClientProtocol`."""

    idle_timeout_s = 0.2

    def __init__(self, upgrade: Upgrade, service: Service) -> None:
        info = service.synthesizer.info
        self._settings = SpeechSettings(info.default_voice, info.default_params)
        self._name = upgrade.query
        self._text = ""
        self._num_texts = 0
        self._open: list[Utterance] = []
        self._is_leaving = False

    def greeting(self, session_id: str) -> Sequence[Action]:
        return [Send(f"hello {self._name}, this is {session_id}")]

    def receive(self, frame: Frame) -> Sequence[Action]:
        text = frame if isinstance(frame, str) else frame.decode()
        if text.startswith("key: "):
            return [Authenticate(text.removeprefix("key: "))]
        if text == "stop":
            return [Cancel(utterance) for utterance in self._open]
        if text == "bye":
            self._is_leaving = True
            return self._leave()
        if text.startswith("in "):
            delay, _, line = text.removeprefix("in ").partition(": ")
            return [SetTimer("line", float(delay) if delay != "no time" else None, lambda: [Send(line)])]
        self._text = text
        self._num_texts += 1
        before = self._open[-1] if self._open else None
        name = str(self._num_texts)
        return [Open(name, self._settings, SOUND, None, ToyWire(), after=before)]

    def authenticated(self, key: str | StreamerError) -> Sequence[Action]:
        return [Close(4000, "wrong key")] if isinstance(key, StreamerError) else [Send("come in")]

    def opened(self, utterance: Utterance) -> Sequence[Action]:
        self._open.append(utterance)
        return [Write(utterance, self._text), Write(utterance, TextEnd())]

    def refused(self, error: StreamerError) -> Sequence[Action]:
        return [Send(f"no: {error.code}", error)]

    def ended(self, utterance: Utterance) -> Sequence[Action]:
        self._open.remove(utterance)
        return self._leave()

    def idled(self) -> Sequence[Action]:
        return [Send("still there?")]

    def going_away(self, deadline_s: float) -> Sequence[Action]:
        return [Send(f"{deadline_s:g} s left")]

    def failed(self, error: StreamerError) -> Sequence[Action]:
        return [Close(4001, error.code)]

    def _leave(self) -> Sequence[Action]:
        return [Close(1000, "bye")] if self._is_leaving and not self._open else []
