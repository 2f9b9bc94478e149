"""Chunk borders depend on the place of the sentence and of the frame alone."""

from dataclasses import replace

from streamer.models.config import SMALL
from streamer.stages.fine_chunks import chunk_end


def borders(config, num_chunks, sentence_index=0):
    frames = [0]
    for _ in range(num_chunks):
        frames.append(chunk_end(frames[-1], sentence_index, config))
    return frames[1:]


def test_chunks_grow_and_the_last_size_repeats():
    """The configured sizes one after another, then the last again and again."""
    assert borders(SMALL.fine, 6) == [8, 32, 104, 320, 832, 1344]


def test_later_sentences_need_no_early_sound():
    """They have a series of their own, all of them the same."""
    assert borders(SMALL.fine, 3, 1) == borders(SMALL.fine, 3, 7) == [128, 640, 1152]


def test_no_chunk_exceeds_the_room_beside_the_history():
    """Sizes are cut to what a buffer holds beside its left context."""
    config = replace(SMALL.fine, context=128, history=64, chunk_frames=(8, 30, 200))
    assert borders(config, 4) == [8, 38, 102, 166]
