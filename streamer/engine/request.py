"""A sentence inside the engine: its work, whom to tell, and how far ahead of its listener it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

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
    """One sentence. Times are on the engine's clock, in seconds.

    `delivered_s` is sound handed out so far, `consumed_s` what the outlet's reader has taken of it.
    """

    request_id: str
    work: WorkT
    outlet: Outlet
    submitted_s: float = 0.0
    first_audio_s: float | None = None
    delivered_s: float = 0.0
    consumed_s: float = 0.0
    is_cancelled: bool = False

    @property
    def ahead_s(self) -> float:
        """Sound that waits for its reader."""
        return self.delivered_s - self.consumed_s

    @property
    def runs_dry_s(self) -> float:
        """When a listener who began with the first chunk would fall silent."""
        if self.first_audio_s is None:
            return self.submitted_s
        return self.first_audio_s + self.delivered_s
