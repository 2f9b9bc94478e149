"""What the engine asks of a model: `Work`, a sentence's progress, and `Stage`, a batched step over works."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from streamer.audio.samples import Samples
from streamer.errors import StreamerError


class Work(Protocol):
    """One sentence on its way through the stages. The engine sets `slot` when the sentence is admitted."""

    slot: int
    failure: StreamerError | None
    """Set by a stage when this sentence alone went wrong; its neighbours go on."""

    @property
    def is_finished(self) -> bool:
        """Whether every stage has done all it will do for this sentence."""
        ...

    @property
    def is_truncated(self) -> bool:
        """Whether the sentence was cut at the cap."""
        ...

    def take_audio(self) -> Samples:
        """The samples made since the last call, [num_samples]; may be empty."""
        ...


class Pending(Protocol):
    """A step that was launched; its results become known by `settle`, on the engine's thread."""

    def is_done(self) -> bool:
        """Whether `settle` would not have to wait."""
        ...

    def finish(self) -> None:
        """Wait where that is needed, and write the results into the works."""
        ...


AnyWork = TypeVar("AnyWork", bound=Work, contravariant=True)


class Stage(Protocol[AnyWork]):
    """One model of the chain. All of its state lives in slots and in the works, none elsewhere."""

    @property
    def name(self) -> str: ...

    @property
    def max_rows(self) -> int:
        """Most works a step takes."""
        ...

    def begin(self, work: AnyWork) -> None:
        """Clear the slot's row before a new sentence uses it."""
        ...

    def is_ready(self, work: AnyWork) -> bool:
        """Whether a step would move this work on now."""
        ...

    def is_prefill(self, work: AnyWork) -> bool:
        """Whether the next step of this work costs much by itself, however many others are in its batch."""
        ...

    def step(self, batch: Sequence[AnyWork]) -> Pending | None:
        """Move every work of the batch on by one step, in one forward per shape.

        What is returned brings the results into the works when it is settled; None: they are there already.
        Until then `is_ready` counts the step as made.
        """
        ...
