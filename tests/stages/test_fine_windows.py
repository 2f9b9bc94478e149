"""The fine model's windows depend only on the place of the sentence and of the frame."""

import itertools
from dataclasses import replace

import pytest

from streamer.assembly import BUILTIN_MODEL
from streamer.config import CHUNK_SCHEDULES
from streamer.models.config import SMALL
from streamer.models.files.config_file import read_config
from streamer.stages.coarse_windows import CoarseWindows
from streamer.stages.fine_windows import FineWindow, chunk_end, chunk_window, scheduled, whole_window


def borders(config, num_chunks, sentence_index=0):
    frames = [0]
    for _ in range(num_chunks):
        frames.append(chunk_end(frames[-1], None, sentence_index, config))
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


@pytest.mark.parametrize(
    ("schedule", "first_sentence", "later_sentence"),
    [
        ("latency", [8, 32, 104, 320, 832], [128, 640, 1152]),
        ("balanced", [128, 640, 1152], [128, 640, 1152]),
        ("throughput", [512, 1024, 1536], [512, 1024, 1536]),
    ],
)
def test_a_schedule_names_its_borders(schedule, first_sentence, later_sentence):
    """Bark's borders by each schedule: written down, because a seed's sound depends on them, on every machine."""
    config = scheduled(SMALL.fine, schedule)
    assert borders(config, len(first_sentence)) == first_sentence
    assert borders(config, len(later_sentence), 1) == later_sentence
    assert not config.is_whole


def test_the_built_in_voice_has_the_same_schedules():
    """Its own chunks come first, and the largest are as long as its history leaves room for."""
    fine = read_config(BUILTIN_MODEL / "config.json").fine
    assert borders(scheduled(fine, "latency"), 4) == [40, 88, 152, 216]
    assert borders(scheduled(fine, "throughput"), 3) == [64, 128, 192]


def ends(num_frames, config, *, num_ahead):
    """Return the borders of a sentence whose length is known when so many of its last coarse codes are missing."""
    found = [0]
    while found[-1] < num_frames:
        for num_there in range(found[-1] + 1, num_frames + 1):
            is_known = num_there + num_ahead >= num_frames
            border = chunk_end(found[-1], num_frames if is_known else None, 0, config)
            if border <= num_there:
                break
        found.append(border)
    return found[1:]


@pytest.mark.parametrize(
    ("num_frames", "borders"),
    [
        (30, [30]),
        (40, [40]),
        (41, [41]),
        (56, [56]),
        (57, [40, 57]),
        (88, [40, 88]),
        (89, [40, 89]),
        (104, [40, 104]),
        (105, [40, 88, 105]),
        (136, [40, 88, 136]),
        (137, [40, 88, 112, 137]),
        (151, [40, 88, 120, 151]),
        (152, [40, 88, 152]),
        (250, [40, 88, 152, 216, 250]),
        (270, [40, 88, 152, 216, 240, 270]),
    ],
)
def test_a_sentence_ends_with_a_short_chunk(num_frames, borders):
    """What is left is cut in two if it is longer than two short chunks, and does not reach the usual border.

    A few frames behind a border join the chunk, as far as its window has room.
    """
    fine = read_config(BUILTIN_MODEL / "config.json").fine
    assert fine.last_chunk_frames == 24
    assert ends(num_frames, fine, num_ahead=num_frames) == borders


def test_borders_do_not_depend_on_when_the_end_is_known():
    """And before a sentence's last chunk there are whole units of frames, for which torch's codec is compiled."""
    config = read_config(BUILTIN_MODEL / "config.json")
    builtin, num_ahead = config.fine, CoarseWindows.from_config(config).num_frames_ahead
    assert builtin.joined_frames < num_ahead < 20
    for num_last, num_joined in itertools.product((0, 1, 3, 8, 24, 1000), (0, 5, builtin.joined_frames)):
        fine = replace(builtin, last_chunk_frames=num_last, joined_frames=num_joined)
        for num_frames in range(1, 300):
            borders = ends(num_frames, fine, num_ahead=num_frames)
            assert borders == ends(num_frames, fine, num_ahead=num_ahead - 1)
            assert borders == ends(num_frames, fine, num_ahead=num_joined)
            assert all(border % 8 == 0 for border in borders[:-1])
            assert borders == sorted(set(borders)) and borders[-1] == num_frames


def test_each_schedule_that_may_be_set_is_known_and_no_other():
    """All names of the option but `auto` are schedules, of which one is the original's own."""
    assert {scheduled(SMALL.fine, name).is_whole for name in CHUNK_SCHEDULES if name != "auto"} == {
        True,
        False,
    }
    for unknown in ("auto", "growing", "", "Latency"):
        with pytest.raises(ValueError, match="is no schedule"):
            scheduled(SMALL.fine, unknown)


@pytest.mark.parametrize(
    ("first", "num_prompt_frames", "window"),
    [
        (0, 0, FineWindow(0, 0, 8, 8)),
        (0, 237, FineWindow(-237, 0, 8, 8)),
        (320, 237, FineWindow(-192, 320, 700, 700)),
        (832, 512, FineWindow(320, 832, 900, 900)),
    ],
)
def test_a_chunk_sees_what_came_before_it(first, num_prompt_frames, window):
    """As much of the prompt and of the sentence as the history holds, and nothing that follows the chunk."""
    assert chunk_window(first, max(700, window.end), num_prompt_frames, 0, SMALL.fine) == window


@pytest.mark.parametrize("num_prompt_frames", [0, 1, 237, 511, 512])
@pytest.mark.parametrize("num_frames", [1, 7, 511, 512, 513, 787, 788, 900, 1024, 1025, 1154, 1536, 1537])
def test_whole_windows_are_the_originals(num_prompt_frames, num_frames):
    """`start_idx`, `start_fill_idx` and `n_loops` of generate_fine, at every border."""
    length = max(1024, num_prompt_frames + num_frames)
    num_loops = max(0, -(-(num_frames - (1024 - num_prompt_frames)) // 512)) + 1
    starts = [min(number * 512, length - 1024) for number in range(num_loops)]
    fills = [min(num_prompt_frames + number * 512, length - 512) for number in range(num_loops)]
    expected = [
        FineWindow(
            start - num_prompt_frames,
            fill - num_prompt_frames,
            min(start - num_prompt_frames + 1024, num_frames),
            next_fill - num_prompt_frames,
        )
        for start, fill, next_fill in zip(
            starts, fills, [*fills[1:], num_prompt_frames + num_frames], strict=True
        )
    ]
    found, first = [], 0
    while first < num_frames:
        found.append(whole_window(first, num_frames, num_prompt_frames, SMALL.fine))
        first = found[-1].num_final
    assert found == expected
