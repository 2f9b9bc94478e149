"""Where the fine stage's chunks end: a function of the sentence's and the frame's index; load never moves a border."""

from __future__ import annotations

from streamer.models.config import FineConfig


def chunk_end(first_frame: int, sentence_index: int, config: FineConfig) -> int:
    """The border after `first_frame`, in frames of the sentence, which is an utterance's `sentence_index`-th.

    Sizes follow `chunk_frames`, or `later_chunk_frames` from the second sentence on, the last repeating; none is
    larger than what fits beside the history.
    """
    border = 0
    series = config.later_chunk_frames if sentence_index else config.chunk_frames
    sizes = [min(size, config.context - config.history) for size in series]
    for size in sizes:
        border += size
        if border > first_frame:
            return border
    num_repeats = (first_frame - border) // sizes[-1] + 1
    return border + num_repeats * sizes[-1]
