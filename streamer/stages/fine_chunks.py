"""Where the fine stage's chunks end: a function of the frame index alone; load never moves a border."""

from __future__ import annotations

from streamer.models.vocabulary import FineConfig


def chunk_end(first_frame: int, config: FineConfig) -> int:
    """The border after `first_frame`, in frames of the sentence.

    Sizes follow `chunk_frames`, the last repeating; none is larger than what fits beside the history.
    """
    border = 0
    sizes = [min(size, config.context - config.history) for size in config.chunk_frames]
    for size in sizes:
        border += size
        if border > first_frame:
            return border
    num_repeats = (first_frame - border) // sizes[-1] + 1
    return border + num_repeats * sizes[-1]
