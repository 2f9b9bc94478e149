"""The beginnings of the coarse stage's next windows, which a thread beside the engine's fills ahead of time (`coarse`).

A window reads what the one before it makes in its last positions only. As the network is causal, all others can be
filled in while that one is still decoded, some more as soon as its tokens are there: in a second slot, from which they
are copied when the window begins. If memory runs out for it, the window begins as a whole.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from streamer.engine.device.cpu_stream import CpuStream, PendingCall
from streamer.engine.in_flight import is_out_of_memory
from streamer.engine.stage import Pending
from streamer.models.gpt import CausalGpt
from streamer.models.kv_cache import PARTS_UNIT, SlotCache
from streamer.stages.sentence import SentenceWork

logger = logging.getLogger(__name__)
MIN_POSITIONS = 32
"""The fewest positions that are worth a pass of their own: at first, and later on."""


def slots_per_sentence(model: CausalGpt, *, has_stream: bool) -> int:
    """Return how many slots a sentence takes of the coarse cache: two if its windows can begin ahead."""
    return 2 if has_stream and model.prefills_in_parts else 1


@dataclass(slots=True)
class _Ahead:
    """The first `num_positions` of the window that begins at `step`; until it `is_made`, some are still under way.

    They are 0 if memory ran out: nothing more of that window is begun ahead.
    """

    step: int
    num_positions: int
    pending: PendingCall
    is_made: bool = False


class WindowsAhead:
    """A `Preparation`: at most one window per sentence. The second half of the cache's slots is used for it.

    `window_input` returns what a sentence's window at a step reads, without a number of tokens at its end.
    """

    def __init__(
        self,
        model: CausalGpt,
        cache: SlotCache,
        stream: CpuStream,
        window_input: Callable[[SentenceWork, int, int], list[int]],
    ) -> None:
        self._model, self._cache, self._stream = model, cache, stream
        self._window_input = window_input
        self._num_slots = cache.num_slots // 2
        self._by_slot: dict[int, _Ahead] = {}

    def begin(self, slot: int) -> None:
        """Forget what is left of a slot's last sentence, once nothing is written there any more."""
        ahead = self._by_slot.pop(slot, None)
        if ahead is not None:
            ahead.pending.wait()

    def is_ready(self, work: SentenceWork) -> bool:
        """Whether enough of the next window's first positions are known that were not begun yet."""
        step, ahead = _next_window(work), self._by_slot.get(work.slot)
        if ahead is not None and not (ahead.is_made and ahead.num_positions and ahead.step == step):
            return False
        if step >= work.num_coarse_steps or not work.has_semantic_for(step):
            return False
        return _num_known(work, step) - self._num_begun(work) >= MIN_POSITIONS

    def step_beside(self, work: SentenceWork) -> Pending:
        """Fill in the next window's first positions, or those that have become known since."""
        step, slot = _next_window(work), work.slot
        start, num_known = self._num_begun(work), _num_known(work, step)
        inputs = self._window_input(work, step, step - len(work.coarse.tokens))[start:num_known]
        slots = torch.tensor([self._num_slots + slot])

        def run() -> Tensor:
            try:
                embeddings = self._model.embed(torch.tensor([inputs]))
                return self._model.prefill(embeddings, self._cache, slots, start=start)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                logger.warning("out of memory for a window's beginning", extra={"error": str(error)})
                return torch.empty(0)

        def commit(logits: Tensor) -> None:
            begun.is_made = True
            begun.num_positions = num_known if len(logits) else 0

        begun = self._by_slot[slot] = _Ahead(step, num_known, self._stream.launch(run, commit))
        return begun.pending

    def _num_begun(self, work: SentenceWork) -> int:
        """Return how many of the next window's positions were begun."""
        ahead = self._by_slot.get(work.slot)
        return 0 if ahead is None else ahead.num_positions

    def has_begun(self, work: SentenceWork) -> bool:
        """Whether the window that is to begin now has its first positions already."""
        ahead = self._of_now(work)
        return ahead is not None and ahead.is_made and ahead.num_positions > 0

    def is_under_way(self, work: SentenceWork) -> bool:
        """Whether the thread is still filling in the window that is to begin now."""
        ahead = self._of_now(work)
        return ahead is not None and not ahead.is_made

    def take(self, work: SentenceWork) -> int:
        """Return how many positions of the window that begins now are there, to be put in place, or 0."""
        return self._by_slot.pop(work.slot).num_positions if self._of_now(work) is not None else 0

    def put_in_place(self, slot: int) -> None:
        """Copy what was begun for a slot to itself."""
        self._cache.copy(self._num_slots + slot, slot)

    def _of_now(self, work: SentenceWork) -> _Ahead | None:
        """Return what was begun of the window that is to begin now."""
        ahead = self._by_slot.get(work.slot)
        return ahead if ahead is not None and ahead.step == work.coarse.num_issued else None


def _next_window(work: SentenceWork) -> int:
    """Return the first step of the window behind the present one."""
    return (work.coarse.num_issued // work.windows.window + 1) * work.windows.window


def _num_known(work: SentenceWork, step: int) -> int:
    """Return how many of the first positions of the window at `step` are known, a multiple of `PARTS_UNIT`."""
    windows, num_missing = work.windows, step - len(work.coarse.tokens)
    num_coarse = min(windows.max_history, len(work.coarse_history) + step) - num_missing
    num_known = windows.semantic_context + 1 + max(0, num_coarse)
    return num_known - num_known % PARTS_UNIT
