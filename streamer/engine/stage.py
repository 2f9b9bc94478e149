"""What the engine requires of a model: `Work`, a sentence's progress, and `Stage`, a batched step over works."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from streamer.audio.samples import Samples
from streamer.errors import StreamerError


class Work(Protocol):
    """One sentence's progress through the stages. The engine sets `slot` when it admits the sentence."""

    slot: int
    failure: StreamerError | None
    """Set by a stage if this sentence went wrong; the others of its batch continue."""

    @property
    def is_finished(self) -> bool:
        """Whether every stage has done all that it will do for this sentence."""
        ...

    @property
    def is_truncated(self) -> bool:
        """Whether the sentence was cut at its cap."""
        ...

    def take_audio(self) -> Samples:
        """Return the samples made since the last call, [num_samples]; there may be none."""
        ...


class Pending(Protocol):
    """A launched step. Its results become known by `finish`, on the engine's thread."""

    @property
    def num_steps(self) -> int:
        """How many steps of the same works, one after another, this one stands for; with prefills it is one."""
        ...

    @property
    def span_s(self) -> tuple[float, float] | None:
        """When the finished step began and ended, by `time.monotonic`; None if it does not know."""
        ...

    @property
    def joined_s(self) -> float:
        """For how many seconds another thread has taken part in the finished step."""
        ...

    def is_done(self) -> bool:
        """Whether `finish` would return without waiting."""
        ...

    def finish(self) -> None:
        """Wait if necessary, and write the results into the works."""
        ...


AnyWork = TypeVar("AnyWork", bound=Work, contravariant=True)


class Preparation(Protocol[AnyWork]):
    """Does a part of a stage's later step on the thread beside the engine's. The step takes less time then."""

    def is_ready(self, work: AnyWork) -> bool:
        """Whether anything of a later step of this work can be done now."""
        ...

    def step_beside(self, work: AnyWork) -> Pending:
        """Do it."""
        ...

    def has_begun(self, work: AnyWork) -> bool:
        """Whether a part of the work's next step is done."""
        ...


class Stage(Protocol[AnyWork]):
    """One model of the chain. All of its state lives in slots and in the works."""

    @property
    def name(self) -> str: ...

    @property
    def max_rows(self) -> int:
        """The most works that a step takes."""
        ...

    @property
    def runs_beside(self) -> bool:
        """Whether its steps always run on the thread beside the engine's, where steps follow one another."""
        ...

    @property
    def step_beside(self) -> Callable[[Sequence[AnyWork]], Pending] | None:
        """What does the same as `step` on the thread beside the engine's, or None for a stage that has no such step.

        Until it is finished, `is_ready` is False for its works.
        """
        ...

    @property
    def step_here(self) -> Callable[[Sequence[AnyWork]], Pending] | None:
        """What does the same as `step` on the engine's own thread, for a stage that runs beside it; None: nothing.

        What was launched there of the works' earlier stages, and of this one, must be finished.
        """
        ...

    @property
    def is_joined(self) -> bool:
        """Whether the thread beside the engine's takes part in this stage's prefills here while it is idle."""
        ...

    @property
    def preparation(self) -> Preparation[AnyWork] | None:
        """What can be done of this stage's later steps, or None for a stage of whose steps that is nothing."""
        ...

    def begin(self, work: AnyWork) -> None:
        """Prepare for a new sentence, whose slot may hold what is left of another one."""
        ...

    def is_ready(self, work: AnyWork) -> bool:
        """Whether a step would advance this work now."""
        ...

    def is_prefill(self, work: AnyWork) -> bool:
        """Whether this work's next step reads a whole window, so that its cost is not shared by the batch."""
        ...

    def step(self, batch: Sequence[AnyWork]) -> Pending | None:
        """Advance every work of the batch by one step, in one forward pass per shape.

        The returned object writes the results into the works when it is finished; None says that they are there
        already. Until then `is_ready` counts the step as done.
        """
        ...
