"""A WebRTC connection without a network, whose player comes and goes when a test says so."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final
from unittest import mock


class FakePeerConnection:
    """Stands in for aiortc's: an offer that says `good` is followed, and a test says when the player is there."""

    made: Final[list[FakePeerConnection]] = []

    def __init__(self, _configuration: object) -> None:
        self.connectionState = "new"
        self.localDescription = SimpleNamespace(sdp="v=0\r\n")
        self.follow: Callable[[], None]
        self.made.append(self)

    def on(self, event: str, callback: Callable[[], None]) -> None:
        if event == "connectionstatechange":
            self.follow = callback

    def addTransceiver(self, _track: object, direction: str) -> Any:
        self._audio = mock.Mock(currentDirection=direction)
        return self._audio

    def getTransceivers(self) -> list[Any]:
        return [self._audio]

    async def setRemoteDescription(self, description: Any) -> None:
        if "good" not in description.sdp:
            raise ValueError("no SDP")

    async def setLocalDescription(self, _description: object) -> None:
        pass

    async def createAnswer(self) -> object:
        return None

    async def close(self) -> None:
        self.become("closed")

    def become(self, state: str) -> None:
        if self.connectionState not in ("closed", state):
            self.connectionState = state
            self.follow()
