"""The fine stage's windows in pure numbers: which frames each fills in, and where it begins; load moves no border.

In chunks, a sentence is heard early: each chunk is what `generate_fine` of suno-ai/bark (`bark/generation.py`) makes of
a sentence that ends there. Whole, it is that function's own: overlapping windows over the finished sentence, of which a
later one fills in again what the one before had too little to its right for. A schedule has a name (`scheduled`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from streamer.models.config import FineConfig

_CUT_UNIT: Final = 8
"""Before a sentence's last chunk there is a multiple of so many frames: on a CPU torch's codec is compiled for each
length."""


@dataclass(frozen=True, slots=True)
class FineWindow:
    """At most `context` frames from `start` on, which is negative if the window begins in the voice's prompt.

    Frames [first, end) are filled in, and those before `num_final` will not be again.
    """

    start: int
    first: int
    end: int
    num_final: int


def scheduled(config: FineConfig, schedule: str) -> FineConfig:
    """Return the config of a named schedule.

    `latency`: the model's own chunks. `balanced`: its chunks of later sentences, for the first one, too. `throughput`:
    chunks as large as fit beside the history. `whole`: the original's windows, once a sentence is finished. In this
    order the fine model runs less often, and the first sound comes later, but where a few frames join a chunk.
    """
    largest = (_stride(config),)
    match schedule:
        case "latency":
            return config
        case "balanced":
            return replace(config, chunk_frames=config.later_chunk_frames)
        case "throughput":
            return replace(config, chunk_frames=largest, later_chunk_frames=largest)
        case "whole":
            return replace(config, is_whole=True)
        case _:
            raise ValueError(f"{schedule!r} is no schedule of chunks")


def chunk_window(
    first: int, num_frames: int | None, num_prompt_frames: int, sentence_index: int, config: FineConfig
) -> FineWindow:
    """The chunk from frame `first` on behind its left context. `num_frames`: see `chunk_end`."""
    end = chunk_end(first, num_frames, sentence_index, config)
    return FineWindow(max(first - config.history, -num_prompt_frames), first, end, end)


def chunk_end(first: int, num_frames: int | None, sentence_index: int, config: FineConfig) -> int:
    """The border after frame `first` of an utterance's `sentence_index`-th sentence.

    `num_frames` are the sentence's, None while they are not known. It makes no difference when they become known: a
    chunk depends on them only if the sentence ends before the usual border, so that it must wait for its end, or so
    little behind it (`joined_frames`) that it is known when the border's coarse codes are there.
    """
    border = _usual_border(first, sentence_index, config)
    if num_frames is not None and border < num_frames <= min(
        border + config.joined_frames, first + _stride(config)
    ):
        return num_frames
    if num_frames is None or num_frames >= border:
        return border
    num_left, num_last = num_frames - first, config.last_chunk_frames
    size = (num_left - num_last) // _CUT_UNIT * _CUT_UNIT
    return first + size if 0 < 2 * num_last < num_left and size else num_frames


def _usual_border(first: int, sentence_index: int, config: FineConfig) -> int:
    """The border after frame `first` of a sentence that does not end before it.

    Sizes follow `chunk_frames`, or `later_chunk_frames` from the second sentence on, the last repeating; none is
    larger than what fits beside the history.
    """
    border = 0
    series = config.later_chunk_frames if sentence_index else config.chunk_frames
    sizes = [min(size, _stride(config)) for size in series]
    for size in sizes:
        border += size
        if border > first:
            return border
    num_repeats = (first - border) // sizes[-1] + 1
    return border + num_repeats * sizes[-1]


def whole_window(first: int, num_frames: int, num_prompt_frames: int, config: FineConfig) -> FineWindow:
    """The original's window that fills in frame `first` of a finished sentence, the last one right-aligned.

    `num_prompt_frames`: at most `history`.
    """
    stride = _stride(config)
    last_start = max(num_prompt_frames + num_frames - config.context, 0)
    number = -(-first // stride)
    start = min(number * stride, last_start) - num_prompt_frames
    is_last = num_frames <= number * stride + config.context - num_prompt_frames
    num_final = num_frames if is_last else min((number + 1) * stride, num_frames - stride)
    return FineWindow(start, first, min(start + config.context, num_frames), num_final)


def _stride(config: FineConfig) -> int:
    """What fits beside a full history."""
    return config.context - config.history
