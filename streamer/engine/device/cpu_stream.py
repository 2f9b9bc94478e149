"""A thread beside the engine's, on which a CPU runs some stages in order: what a stream is to a GPU."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

import torch
from torch import Tensor

from streamer.models.cpu.threads import threads_of_their_own


def num_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class CpuStream:
    """Runs what is launched on it, one call after another, on a thread for which torch uses no further ones."""

    def __init__(self) -> None:
        self._thread = threads_of_their_own(1)

    def launch(self, call: Callable[[], Tensor], commit: Callable[[Tensor], None]) -> PendingCall:
        """Have `call` made behind all that was launched before. `commit` gets its result when the step is finished."""

        def called() -> Tensor:
            with torch.inference_mode():  # This is a property of the thread.
                return call()

        return PendingCall(self._thread.submit(called), commit)


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A step on a `CpuStream`; `finish` raises what the call raised."""

    future: Future[Tensor]
    commit: Callable[[Tensor], None]
    num_steps: int = 1

    def is_done(self) -> bool:
        return self.future.done()

    def finish(self) -> None:
        self.commit(self.future.result())
