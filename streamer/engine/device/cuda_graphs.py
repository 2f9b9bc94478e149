"""Records a step once for each of a set of shapes and then replays it: one launch instead of hundreds.

A stage that has a step of static shapes wraps it in a `GraphedStep`, or calls it directly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

WARM_UP_RUNS = 3
"""Runs of a shape before it is recorded: in the first ones libraries select kernels and allocate memory, which cannot
be recorded."""


@dataclass(frozen=True, slots=True, order=True)
class StepShape:
    """The shape of a batch: its rows, the positions that each attends over, and whether top-k or top-p is applied."""

    num_rows: int
    length: int
    is_filtered: bool = False


class Step(Protocol):
    """A function of `rows`, int64 [rows, fields], to int64 [rows, results] that never reads data on the host."""

    def __call__(self, rows: Tensor, *, length: int, is_filtered: bool) -> Tensor: ...


class Recorder(Protocol):
    """Records what `run` launches and returns a function that launches it again on the same tensors."""

    def __call__(self, run: Callable[[], None]) -> Callable[[], object]: ...


class CudaRecorder:
    """Records CUDA graphs that share one pool of memory, because they never run at the same time."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, run: Callable[[], None]) -> Callable[[], object]:
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP_RUNS):
                run()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            run()
        return graph.replay


@dataclass(frozen=True, slots=True)
class _Recorded:
    rows: Tensor
    results: Tensor
    replay: Callable[[], object]


class GraphedStep:
    """Replays `step` for a batch that fits a recorded shape: it is copied in, padded to that shape and launched once.

    `padding` [fields] is a row that may be computed any number of times without harm. A batch that fits no recorded
    shape runs `step` itself.
    """

    def __init__(self, step: Step, padding: Tensor, record: Recorder) -> None:
        self._step = step
        self._padding = padding
        self._record = record
        self._recorded: dict[StepShape, _Recorded] = {}

    @torch.inference_mode()
    def record(self, shapes: Iterable[StepShape], on_recorded: Callable[[], None]) -> None:
        """Record every shape, the largest first, so that the smaller ones reuse its memory."""
        for shape in sorted(shapes, reverse=True):
            rows = self._padding.repeat(shape.num_rows, 1)
            results = self._run(rows, shape).clone()

            def run(rows: Tensor = rows, results: Tensor = results, shape: StepShape = shape) -> None:
                results.copy_(self._run(rows, shape))

            self._recorded[shape] = _Recorded(rows, results, self._record(run))
            on_recorded()
        self._recorded = dict(sorted(self._recorded.items()))

    @torch.inference_mode()
    def __call__(self, rows: Tensor, *, length: int, is_filtered: bool) -> Tensor:
        """Run the step; the next call overwrites the results."""
        shape = self.shape_for(len(rows), length, is_filtered=is_filtered)
        if shape is None:
            return self._step(rows, length=length, is_filtered=is_filtered)
        recorded = self._recorded[shape]
        recorded.rows[: len(rows)].copy_(rows, non_blocking=True)
        recorded.rows[len(rows) :].copy_(self._padding)
        recorded.replay()
        return recorded.results[: len(rows)]

    def shape_for(self, num_rows: int, length: int, *, is_filtered: bool) -> StepShape | None:
        """Return the smallest recorded shape that such a batch fits, or None."""
        for shape in self._recorded:
            if shape.num_rows >= num_rows and shape.length >= length and shape.is_filtered == is_filtered:
                return shape
        return None

    def _run(self, rows: Tensor, shape: StepShape) -> Tensor:
        return self._step(rows, length=shape.length, is_filtered=shape.is_filtered)


def row_counts(max_rows: int) -> list[int]:
    """Return the powers of two below `max_rows`, and `max_rows` itself."""
    counts = [1 << power for power in range(max_rows.bit_length()) if 1 << power < max_rows]
    return [*counts, max_rows]
