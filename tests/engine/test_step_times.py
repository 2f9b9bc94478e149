"""Steps are counted by stage and duration."""

from streamer.engine.step_times import STEP_BORDERS_S, StepTimes


def test_a_step_is_counted_by_its_duration_with_its_rows():
    """A duration at a border belongs to the range below it; the longest have a range of their own."""
    times = StepTimes(("fine", "coarse"))
    for duration_s, num_rows in (
        (0.0001, 1),
        (STEP_BORDERS_S[3], 2),
        (STEP_BORDERS_S[3] * 1.01, 3),
        (99.0, 4),
    ):
        times.add("fine", duration_s, num_rows)
    fine, coarse = times.stats()["fine"], times.stats()["coarse"]
    assert [index for index, count in enumerate(fine.step_counts) if count] == [0, 3, 4, len(STEP_BORDERS_S)]
    assert fine.num_rows == 10
    assert fine.step_seconds > 99
    assert sum(coarse.step_counts) == coarse.num_rows == 0
