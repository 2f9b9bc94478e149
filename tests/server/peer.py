"""A client of a session without a socket, which may stop reading; used by `session_machine`."""

from __future__ import annotations

import asyncio
import json
import weakref
from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

from websockets.datastructures import Headers

from streamer.server.client_protocol import ClientProtocol, CreateProtocol
from streamer.server.service import Service
from streamer.server.session import Session
from streamer.server.upgrade import Upgrade
from streamer.server.utterance import Utterance
from streamer.server.wire import Frame
from tests.fakes.event_loop import HandMovedLoop
from tests.fakes.letters import Read, letter_of, letters_in
from tests.server.fake_connection import FakeConnection


class WatchedProtocol:
    """A protocol, and the utterances that it was told of; nothing that it does may raise."""

    def __init__(self, protocol: ClientProtocol) -> None:
        self.protocol = protocol
        self.opened_ids: Counter[str] = Counter()
        self.open: list[Utterance] = []
        self.utterances: weakref.WeakSet[Utterance] = weakref.WeakSet()

    @property
    def num_opened(self) -> int:
        return self.opened_ids.total()

    def opened(self, utterance: Utterance) -> Any:
        self.opened_ids[utterance.id] += 1
        self.open.append(utterance)
        self.utterances.add(utterance)
        return self.protocol.opened(utterance)

    def ended(self, utterance: Utterance) -> Any:
        self.open.remove(utterance)  # raises for one that ends twice
        return self.protocol.ended(utterance)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.protocol, name)


class StallingConnection(FakeConnection):
    """A connection whose client may stop reading."""

    def __init__(self) -> None:
        super().__init__()
        self.is_aborted = False
        self._reads = asyncio.Event()
        self._reads.set()

    @property
    def is_stalled(self) -> bool:
        return not self._reads.is_set()

    @property
    def transport(self) -> asyncio.Transport:
        return cast(asyncio.Transport, self)

    def abort(self) -> None:
        self.is_aborted = True

    def stall(self) -> None:
        self._reads.clear()

    def read_on(self) -> None:
        self._reads.set()

    def try_send_all(self, messages: Any) -> bool:
        return not self.is_stalled and super().try_send_all(messages)

    async def send_all(self, messages: Any) -> None:
        await self._reads.wait()
        self.sent += messages


class Peer:
    """One client: its connection, and the session that serves it."""

    def __init__(
        self,
        loop: HandMovedLoop,
        service: Service,
        create_protocol: CreateProtocol,
        *,
        query: str = "",
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        self.connection = StallingConnection()
        upgrade = Upgrade("/", query, Headers(), "test", None, parameters or {})
        self.protocol = WatchedProtocol(create_protocol(upgrade, service))
        self.session = Session(self.connection, service, upgrade, cast(ClientProtocol, self.protocol))
        self.running = loop.create_task(self.session.run())
        self.has_hung_up = False
        self._num_read = 0

    @property
    def is_open(self) -> bool:
        return not self.running.done()

    @property
    def was_left(self) -> bool:
        """Whether the client left, or was cut off for not reading; it has no claim to an answer then."""
        return self.has_hung_up or self.connection.is_aborted

    def unread(self) -> list[Frame]:
        """The frames that came since the last call."""
        sent, self._num_read = self.connection.sent[self._num_read :], len(self.connection.sent)
        return sent

    def say(self, message: dict[str, Any] | Frame) -> None:
        self.connection.say(json.dumps(message) if isinstance(message, dict) else message)

    def hang_up(self) -> None:
        self.has_hung_up = True
        self.connection.read_on()
        self.connection.hang_up()


class Lives:
    """What a client was told of its utterances, by their ids: each sounds while it is open, and ends once."""

    def __init__(self) -> None:
        self.open: dict[str, str] = {}
        """The letter of each."""
        self.num_begun = 0

    def begin(self, name: str, letter: str) -> None:
        assert name not in self.open, f"{name} begins twice"
        self.open[name] = letter
        self.num_begun += 1

    def tell(self, name: str, text: str = "") -> None:
        """Something comes about an utterance, in which only its own text may stand."""
        assert name in self.open, f"{name} is told of, and is not open"
        assert letters_in(text) <= {self.open[name]}, f"{name} is {self.open[name]}, and was told {text!r}"

    def sound(self, name: str, samples: Read) -> None:
        self.tell(name)
        letter = letter_of(samples)
        assert letter in (None, self.open[name]), f"{name} is {self.open[name]}, and sounds like {letter}"

    def end(self, name: str) -> None:
        assert name in self.open, f"{name} ends, and is not open"
        del self.open[name]
