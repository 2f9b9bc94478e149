"""A sentence inside the engine: its work, whom to tell, and how urgent it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from streamer.engine.playback import PlaybackState
from streamer.engine.stage import Work
from streamer.errors import StreamerError
from streamer.synthesis import PcmChunk

WorkT = TypeVar("WorkT", bound=Work)


class Outlet(Protocol):
    """Where a request's sound goes. Called on the engine's thread, so neither method may block or raise."""

    def deliver(self, chunk: PcmChunk) -> None: ...

    def fail(self, error: StreamerError) -> None: ...


@dataclass(slots=True, eq=False)
class Request(Generic[WorkT]):
    """One sentence: the `sentence_index`-th of those that its listener hears."""

    request_id: str
    work: WorkT
    outlet: Outlet
    utterance_id: str = ""
    """Requests of one utterance share a listener; by default the request is an utterance of its own."""
    sentence_index: int = 0
    submitted_s: float = 0.0
    listener: PlaybackState = field(default_factory=PlaybackState)
    """Set by the engine, at the latest when it first sees the request."""
    is_cancelled: bool = False

    def is_same_sentence(self, other: Request[WorkT]) -> bool:
        """Whether both claim one place in an utterance; a listener hears one sentence at a time."""
        is_same_utterance = self.utterance_id != "" and self.utterance_id == other.utterance_id
        return is_same_utterance and self.sentence_index == other.sentence_index

    @property
    def listener_id(self) -> str:
        """Of the utterance, or of the request where it is an utterance of its own."""
        return self.utterance_id or self.request_id

    @property
    def buffered_s(self) -> float:
        """Sound up to this sentence's that waits for its reader."""
        return self.listener.buffered_s(self.sentence_index)

    @property
    def deadline_s(self) -> float:
        """When its listener falls silent for want of this sentence: the smaller, the sooner it is its turn.

        Who has heard nothing has been silent since he asked; infinite while he waits for an earlier sentence.
        """
        if self.listener.waits_for(self.sentence_index):
            return self.submitted_s
        return self.listener.underrun_at_s(self.sentence_index)
