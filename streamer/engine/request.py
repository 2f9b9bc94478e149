"""A sentence inside the engine: its work, whom to tell, and how urgent it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from streamer.engine.listener import Listener
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
    listener: Listener = field(default_factory=Listener)
    """Set by the engine, at the latest when it first sees the request."""
    is_cancelled: bool = False
    _looked_at: Listener | None = None
    _num_changes: int = 0
    _ahead_s: float = 0.0
    _urgency: tuple[bool, float, float] = (True, 0.0, 0.0)

    def is_same_sentence(self, other: Request[WorkT]) -> bool:
        """Whether both claim one place in an utterance; a listener hears one sentence at a time."""
        is_same_utterance = self.utterance_id != "" and self.utterance_id == other.utterance_id
        return is_same_utterance and self.sentence_index == other.sentence_index

    @property
    def listener_id(self) -> str:
        """Of the utterance, or of the request where it is an utterance of its own."""
        return self.utterance_id or self.request_id

    @property
    def ahead_s(self) -> float:
        """Sound up to this sentence's that waits for its reader."""
        self._look()
        return self._ahead_s

    @property
    def urgency(self) -> tuple[bool, float, float]:
        """The smaller, the sooner it is this request's turn.

        First those for whom a listener waits who has heard nothing yet, then by when he would fall silent.
        """
        self._look()
        return self._urgency

    def _look(self) -> None:
        """Ask the listener again if anything about him has changed: the scheduler asks before every step."""
        listener, index = self.listener, self.sentence_index
        if self._looked_at is listener and self._num_changes == listener.num_changes:
            return
        self._looked_at, self._num_changes = listener, listener.num_changes
        self._ahead_s = listener.ahead_s(index)
        self._urgency = (not listener.waits_for(index), listener.runs_dry_s(index), self.submitted_s)

    def is_pressing(self, by_s: float) -> bool:
        """Whether its listener has heard nothing yet, or will have nothing left by then, for want of this sentence."""
        has_sound, runs_dry_s, _ = self.urgency
        return not has_sound or runs_dry_s < by_s
