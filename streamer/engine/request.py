"""A sentence inside the engine: its work, who receives its audio, and how urgent it is."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from streamer.engine.playback import PlaybackState
from streamer.engine.stage import Work
from streamer.errors import StreamerError
from streamer.synthesis import PcmChunk

WorkT = TypeVar("WorkT", bound=Work)
PREFERRED_BY_S = 5.0
"""What a preferred sentence gains on others, in seconds: more than others are late if the engine has too much to do."""
Outlet = Callable[[PcmChunk | StreamerError], None]
"""Receives a request's audio, up to the chunk with `is_last` or an error. It is called on the engine's thread, so it
must neither block nor raise."""

OnStep = Callable[[str, float, float, int], object]
"""Called with a step's stage, when it began and ended by the engine's clock, and how many rows it had."""


@dataclass(slots=True, eq=False)
class Request(Generic[WorkT]):
    """One sentence, the `sentence_index`-th of its utterance. The same object is never submitted twice."""

    request_id: str
    """Names the request in the log; it need not be unique."""
    work: WorkT
    outlet: Outlet
    utterance_id: str = ""
    """Requests of one utterance share its playback; a request with an empty id is an utterance of its own."""
    sentence_index: int = 0
    speed: float = 1.0
    """How much faster than it is made the audio is played."""
    submitted_s: float = 0.0
    playback: PlaybackState = field(default_factory=PlaybackState)
    """Set by the engine when it first sees the request."""
    is_preferred: bool = False
    """Whether the sentence is made as if its playback underran earlier, by `PREFERRED_BY_S`."""
    is_cancelled: bool = False
    on_step: OnStep | None = None
    """Told of every step that was taken for the request, on the engine's thread; it must neither block nor raise."""

    @property
    def utterance_key(self) -> Hashable:
        """Identifies the utterance, whether or not it has an id."""
        return self.utterance_id or self

    @property
    def key(self) -> Hashable:
        """Identifies the request's place: of one utterance's sentence there is one open request at a time."""
        return self.utterance_key, self.sentence_index

    @property
    def buffered_s(self) -> float:
        """Seconds of audio, up to this sentence's, that were delivered and not consumed."""
        return self.playback.buffered_s(self.sentence_index)

    @property
    def underrun_at_s(self) -> float:
        """When the audio up to this sentence's will have been played; infinite before the utterance's first audio."""
        return self.playback.underrun_at_s(self.sentence_index)

    @property
    def deadline_s(self) -> float:
        """When playback underruns unless this sentence delivers audio, on the engine's clock.

        Before the first audio of an utterance that is the time at which its next sentence was submitted, and infinite
        for its later sentences.
        """
        if self.playback.waits_for(self.sentence_index):
            return self.submitted_s
        return self.underrun_at_s

    @property
    def urgent_from_s(self) -> float:
        """The deadline by which the requests are put in order: a preferred sentence's is earlier than its own."""
        return self.deadline_s - PREFERRED_BY_S * self.is_preferred
