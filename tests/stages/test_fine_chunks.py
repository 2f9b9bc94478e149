"""Chunk borders depend on the frame index alone."""

from dataclasses import replace

from streamer.models.vocabulary import SMALL
from streamer.stages.fine_chunks import chunk_end


def borders(config, num_chunks):
    frames = [0]
    for _ in range(num_chunks):
        frames.append(chunk_end(frames[-1], config))
    return frames[1:]


def test_chunks_grow_and_the_last_size_repeats():
    """The configured sizes one after another, then the last again and again."""
    assert borders(SMALL.fine, 9) == [8, 24, 54, 114, 234, 474, 954, 1434, 1914]


def test_no_chunk_exceeds_the_room_beside_the_history():
    """Sizes are cut to what a buffer holds beside its left context."""
    config = replace(SMALL.fine, context=128, history=64, chunk_frames=(8, 30, 200))
    assert borders(config, 4) == [8, 38, 102, 166]
