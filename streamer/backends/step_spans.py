"""The spans of the engine's steps for one sentence: one for each stage and, of a part of the steps, one for each."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

from streamer.telemetry.traces import Span

_US_PER_S: Final = 1_000_000


@dataclass(slots=True)
class _Stage:
    """The steps of one stage; `sampled` are those that get a span: begin, end and rows."""

    began_s: float
    ended_s: float
    busy_s: float = 0.0
    num_steps: int = 0
    num_rows: int = 0
    sampled: list[tuple[float, float, int]] = field(default_factory=list)


class StepSpans:
    """Collects the steps on the engine's thread; `record` makes spans of them, once the sentence is over."""

    def __init__(self, sentence: Span, step_ratio: float) -> None:
        self._sentence = sentence
        self._step_ratio = step_ratio
        self._stages: dict[str, _Stage] = {}

    def add(self, stage_name: str, began_s: float, ended_s: float, num_rows: int) -> None:
        """Note a step that was taken for the sentence and `num_rows - 1` others."""
        stage = self._stages.get(stage_name) or _Stage(began_s, ended_s)
        stage.ended_s = ended_s
        stage.busy_s += ended_s - began_s
        stage.num_steps += 1
        stage.num_rows += num_rows
        if random.random() < self._step_ratio:  # nosec B311
            stage.sampled.append((began_s, ended_s, num_rows))
        self._stages[stage_name] = stage  # last, because the other thread may look at any moment

    def record(self) -> None:
        """Record the spans. A step that ends later was one too many, and is left out."""
        for name, stage in tuple(self._stages.items()):
            span = self._sentence.child(
                name,
                stage.began_s,
                num_steps=stage.num_steps,
                busy_us=round(stage.busy_s * _US_PER_S),
                mean_rows=round(stage.num_rows / stage.num_steps, 2),
            )
            for began_s, ended_s, num_rows in tuple(stage.sampled):
                span.child("step", began_s, num_rows=num_rows).end(ended_s)
            span.end(stage.ended_s)
