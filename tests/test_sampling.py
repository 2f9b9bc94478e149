"""Every sampling knob is bounded, by name, and what a model cannot follow is refused in one sentence."""

from dataclasses import fields

import numpy as np
import pytest

from streamer.audio.pcm import SentenceJoiner, faded_out
from streamer.errors import InvalidParameterError
from streamer.sampling import (
    RANGES,
    CoarseLimits,
    SamplingParams,
    check_windows,
    coarse_ranges,
    sampling_params,
)

DEFAULTS = SamplingParams(seed=0)
BARK = CoarseLimits()
SMALLER = CoarseLimits(120, 30, 151)


def test_every_knob_has_its_range():
    """A new field of `SamplingParams` cannot be forgotten."""
    assert set(RANGES) == {field.name for field in fields(SamplingParams)}


@pytest.mark.parametrize("name", RANGES)
def test_a_value_beyond_its_range_or_of_another_kind_is_named(name):
    """One error that says which, what was given and what may be."""
    allowed = RANGES[name]
    for value in (allowed.smallest - 1, allowed.largest * 2 + 1, float("nan"), True, "1", [1]):
        with pytest.raises(InvalidParameterError, match=name) as raised:
            sampling_params({name: value}, DEFAULTS, BARK)
        assert raised.value.param == f"params.{name}"
    if not allowed.may_be_null:
        with pytest.raises(InvalidParameterError):
            sampling_params({name: None}, DEFAULTS, BARK)


def test_the_shortest_sentence_that_may_be_asked_for_is_heard():
    """Silence and hiss before its first word are left out, and its end is faded; less than the smallest is refused."""
    rate_hz, smallest_s = 24_000, RANGES["max_gen_duration_s"].smallest
    with pytest.raises(InvalidParameterError, match=f"a number from {smallest_s:g}"):
        sampling_params({"max_gen_duration_s": 0.1}, DEFAULTS, BARK)
    sound = np.full(round(smallest_s * rate_hz), 0.01, np.float32)
    sound[round(0.1 * rate_hz) :] = 0.5
    joiner = SentenceJoiner(rate_hz)
    heard = np.concatenate([joiner.push(faded_out(sound, rate_hz)), joiner.end_sentence()])
    assert len(heard) >= 0.1 * rate_hz and np.abs(heard).max() > 0.4


def test_null_switches_off_and_the_rest_is_the_models_own():
    """What is not given stays."""
    assert sampling_params({"min_eos_p": None, "seed": 3}, DEFAULTS, BARK) == SamplingParams(
        seed=3, min_eos_p=None
    )


def test_an_unknown_knob_is_refused():
    """With the names there are."""
    with pytest.raises(InvalidParameterError, match="text_temp"):
        sampling_params({"temperature": 1.0}, DEFAULTS, BARK)


@pytest.mark.parametrize(
    ("limits", "given", "is_allowed"),
    [
        (BARK, {"max_coarse_history": 60}, True),
        (BARK, {"max_coarse_history": 59}, False),
        (BARK, {"max_coarse_history": 631}, False),
        (BARK, {"sliding_window_len": 138}, True),
        (BARK, {"sliding_window_len": 139}, False),
        (BARK, {"max_coarse_history": 60, "sliding_window_len": 708}, True),
        (SMALLER, {"max_coarse_history": 60}, True),
        (SMALLER, {"max_coarse_history": 121}, False),
        (SMALLER, {"sliding_window_len": 60}, False),
    ],
)
def test_coarse_windows_keep_barks_conditions_in_the_models_sizes(limits, given, is_allowed):
    """History from 60 to the model's own, and both within what its block holds beside the semantic tokens."""
    if is_allowed:
        sampling_params(given, DEFAULTS, limits)
    else:
        with pytest.raises(InvalidParameterError, match="|".join(given)):
            sampling_params(given, DEFAULTS, limits)


@pytest.mark.parametrize(
    ("given", "param", "told"),
    [
        ({"max_coarse_history": 5}, "max_coarse_history", "is 5; this model takes 60 to 120"),
        ({"max_coarse_history": 0}, "max_coarse_history", "is 0; this model takes 60 to 120"),
        ({"max_coarse_history": 2**30}, "max_coarse_history", "is 1073741824; this model takes 60 to 120"),
        ({"max_coarse_history": 60.5}, "max_coarse_history", "is 60.5; it must be a whole number, or null"),
        ({"sliding_window_len": 5}, "sliding_window_len", "is 5; {} 120 this model takes 10 to 31"),
        ({"sliding_window_len": 37}, "sliding_window_len", "is 37; {} 120 this model takes 10 to 31"),
        (
            {"max_coarse_history": 60, "sliding_window_len": 99},
            "sliding_window_len",
            "is 99; {} 60 this model takes 10 to 91",
        ),
    ],
)
def test_a_wrong_window_is_told_what_the_model_takes(given, param, told):
    """In its own sizes and at the first mistake, with the field's path and its value."""
    with pytest.raises(InvalidParameterError) as error:
        sampling_params(given, DEFAULTS, SMALLER)
    assert error.value.param == f"params.{param}"
    assert error.value.message == f"params.{param} " + told.format("with a max_coarse_history of")


def test_a_models_own_window_may_be_shorter_than_any_that_may_be_asked_for():
    """Its defaults are right as they are, and a client may ask for as short a window, but for no shorter one."""
    limits = CoarseLimits(history=24, window=6, room=47)
    check_windows(SamplingParams(seed=0), limits)
    check_windows(SamplingParams(seed=0, sliding_window_len=6), limits)
    with pytest.raises(InvalidParameterError, match="takes 6 to 23"):
        check_windows(SamplingParams(seed=0, sliding_window_len=5), limits)


@pytest.mark.parametrize("limits", [CoarseLimits(), CoarseLimits(60, 90, 151), CoarseLimits(20, 8, 40)])
def test_the_ends_of_coarse_ranges_are_allowed_and_no_more(limits: CoarseLimits) -> None:
    """The longest window goes with the least history, and nothing goes beyond."""
    least, most = coarse_ranges(limits)["max_coarse_history"]
    shortest, longest = coarse_ranges(limits)["sliding_window_len"]
    for history, window in ((least, shortest), (least, longest), (most, shortest)):
        check_windows(SamplingParams(seed=1, max_coarse_history=history, sliding_window_len=window), limits)
    for history, window in (
        (least - 1, shortest),
        (most + 1, shortest),
        (least, longest + 1),
        (least, shortest - 1),
    ):
        with pytest.raises(InvalidParameterError):
            check_windows(
                SamplingParams(seed=1, max_coarse_history=history, sliding_window_len=window), limits
            )
