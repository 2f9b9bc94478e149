"""A thread beside the engine's, on which a CPU runs some stages in order: what a stream is to a GPU."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue

import torch
from torch import Tensor

from streamer.models.cpu.joining import Join, offering
from streamer.models.cpu.threads import use_one_thread


def num_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class CpuStream:
    """Runs what is launched on it, one call after another, on a thread for which torch uses no further ones."""

    def __init__(self) -> None:
        self._launched: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self.is_idle = False
        """Whether the thread waits for something to do, as far as is known."""
        self._joined_s = 0.0
        self._has_begun = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cpu-stream", daemon=True)
        usual = torch.get_num_threads()
        self._thread.start()
        self._has_begun.wait()
        torch.set_num_threads(usual)  # Threads that start later take the number that was set last.

    def launch(
        self, call: Callable[[], Tensor], commit: Callable[[Tensor], None], num_steps: int = 1
    ) -> PendingCall:
        """Have `call` made behind all that was launched before. `commit` gets its result when the step is finished.

        The call stands for `num_steps` of them.
        """
        pending = PendingCall(call, commit, num_steps)
        self.is_idle = False
        self._launched.put(pending.make)
        return pending

    def invite(self, join: Join) -> None:
        """Have the thread take part in what another one does, unless it has something to do itself."""

        def take_part() -> None:
            joined_s = join()
            self._joined_s += joined_s

        if self.is_idle:
            self.is_idle = False
            self._launched.put(take_part)

    def take_joined_s(self) -> float:
        """Return for how many seconds the thread has taken part in others' calls since this was asked last."""
        joined_s, self._joined_s = self._joined_s, 0.0
        return joined_s

    def close(self, timeout_s: float) -> bool:
        """End the thread behind what was launched; False if that took longer than `timeout_s`."""
        self._launched.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        use_one_thread()
        self._has_begun.set()
        while (make := self._next()) is not None:
            make()

    def _next(self) -> Callable[[], None] | None:
        self.is_idle = self._launched.empty()
        make = self._launched.get()
        self.is_idle = False
        return make


@dataclass(slots=True)
class PendingCall:
    """A step on a `CpuStream`; `finish` raises what the call raised."""

    call: Callable[[], Tensor]
    commit: Callable[[Tensor], None]
    num_steps: int = 1
    span_s: tuple[float, float] | None = None
    """When the call began and ended, by `time.monotonic`; None before its end."""
    joined_s: float = 0.0
    """For how long the thread that waited has taken part in it."""
    _offers: SimpleQueue[Join | None] = field(default_factory=SimpleQueue)
    """What a thread that waits can take part in; None comes last."""
    _result: Future[Tensor] = field(default_factory=Future)

    def make(self) -> None:
        """Make the call, on the stream's thread."""
        began_s = time.monotonic()
        try:
            with torch.inference_mode(), offering(self._offers.put):  # Both are properties of the thread.
                result = self.call()
        except BaseException as error:  # whatever it is, the engine waits for it
            self._result.set_exception(error)
        else:
            self.span_s = began_s, time.monotonic()
            self._result.set_result(result)
        self._offers.put(None)

    def is_done(self) -> bool:
        return self._result.done()

    def wait(self) -> None:
        """Take part in the call until it was made, whatever came of it; its result is not committed."""
        while not self._result.done() and (join := self._offers.get()) is not None:
            self.joined_s += join()

    def finish(self) -> None:
        """Take part in the call until it was made, and commit its result."""
        self.wait()
        self.commit(self._result.result())
