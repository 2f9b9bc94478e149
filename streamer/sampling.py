"""How a sentence is sampled, in Bark's names, and the bounds of each parameter; used on both sides of the port."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from streamer.errors import InvalidParameterError


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How a sentence is sampled. The names are Bark's, and so are the defaults, unless a model brings its own.

    `seed` is always a number here: one is drawn for an utterance whose client gave none (`draw_seed`).
    """

    seed: int
    text_temp: float = 0.7
    waveform_temp: float = 0.7
    fine_temp: float | None = 0.5
    """None: the likeliest code at every position."""
    top_k: int | None = None
    top_p: float | None = None
    min_eos_p: float | None = 0.2
    """A sentence ends once its end is at least this likely; None: only when the end is drawn."""
    max_gen_duration_s: float | None = None
    """The longest sound of a sentence; None: what its text may take."""
    max_coarse_history: int | None = None
    """Coarse tokens of context before a window; with fewer the voice is forgotten sooner. None: the model's own."""
    sliding_window_len: int | None = None
    """Coarse tokens made per window; None: the model's own."""


@dataclass(frozen=True, slots=True)
class CoarseLimits:
    """What a model allows `max_coarse_history` and `sliding_window_len` to be, in tokens; the defaults are Bark's.

    `history` and `window` are the model's own values; `room` is what both may have together.
    """

    history: int = 630
    window: int = 60
    room: int = 768


BARK_PARAMS: Final = SamplingParams(seed=0)
BARK_COARSE_LIMITS: Final = CoarseLimits()


MIN_GEN_DURATION_S: Final = 0.2
"""The smallest `max_gen_duration_s`. Of less nothing is heard: a model needs a tenth of a second to begin to speak, and
what is quiet in front of a sentence is left out."""


@dataclass(frozen=True, slots=True)
class Range:
    """From `smallest` to `largest`, both included. `may_be_null`: null switches it off, or leaves it to the model."""

    smallest: float
    largest: float
    may_be_null: bool = False
    is_whole: bool = False


RANGES: Final = {
    "seed": Range(0, 2**53 - 1, is_whole=True),
    "text_temp": Range(0.01, 2.0),
    "waveform_temp": Range(0.01, 2.0),
    "fine_temp": Range(0.01, 2.0, may_be_null=True),
    "top_k": Range(1, 100_000, may_be_null=True, is_whole=True),
    "top_p": Range(1e-6, 1.0, may_be_null=True),
    "min_eos_p": Range(1e-6, 1.0, may_be_null=True),
    "max_gen_duration_s": Range(MIN_GEN_DURATION_S, 60.0, may_be_null=True),
    "max_coarse_history": Range(10, 2**20, may_be_null=True, is_whole=True),
    "sliding_window_len": Range(10, 2**20, may_be_null=True, is_whole=True),
}
"""The ranges of the fields of `SamplingParams`. Those of `COARSE_WINDOWS` are what any model may take; what one takes,
`CoarseLimits` says."""
COARSE_WINDOWS: Final = ("max_coarse_history", "sliding_window_len")
NUM_DRAWN_SEEDS: Final = 2**31
"""How many seeds `draw_seed` draws from: few enough that one can be read out and typed in again."""
MIN_COARSE_HISTORY: Final = 60
"""Bark's smallest `max_coarse_history`, in tokens; a model with less room may have less."""


def draw_seed() -> int:
    """Return a seed for an utterance whose client gave none."""
    return secrets.randbelow(NUM_DRAWN_SEEDS)


def sampling_params(
    given: Mapping[str, object], defaults: SamplingParams, limits: CoarseLimits
) -> SamplingParams:
    """A model's `defaults` with what was given.

    Raises `InvalidParameterError` naming the value and what it may be.
    """
    for name, value in given.items():
        if name not in RANGES:
            raise InvalidParameterError(
                f"there is no parameter {name!r}; there are {', '.join(RANGES)}", param=f"params.{name}"
            )
        _check(name, value, RANGES[name], has_range=name not in COARSE_WINDOWS)
    params = replace(defaults, **given)  # type: ignore[arg-type]
    check_windows(params, limits)
    return params


def _check(name: str, value: object, allowed: Range, *, has_range: bool) -> None:
    """Raise `InvalidParameterError` for a value of another kind or, if it `has_range`, beyond that."""
    if value is None and allowed.may_be_null:
        return
    kinds = (int,) if allowed.is_whole else (int, float)
    is_number = isinstance(value, kinds) and not isinstance(value, bool)
    if is_number and not has_range:
        return
    if not is_number or not allowed.smallest <= value <= allowed.largest:  # type: ignore[operator]
        what = "a whole number" if allowed.is_whole else "a number"
        null = ", or null" if allowed.may_be_null else ""
        shown = "d" if allowed.is_whole else "g"
        limits = f" from {allowed.smallest:{shown}} to {allowed.largest:{shown}}" if has_range else ""
        place = name if has_range else f"params.{name}"
        raise InvalidParameterError(
            f"{place} is {value!r}; it must be {what}{limits}{null}",
            param=f"params.{name}",
        )


def coarse_ranges(limits: CoarseLimits) -> dict[str, tuple[int, int]]:
    """Return the least and the most of each of `COARSE_WINDOWS`; the longest window goes with the least history."""
    least_history = min(MIN_COARSE_HISTORY, limits.history)
    shortest = min(int(RANGES["sliding_window_len"].smallest), limits.window)
    return {
        "max_coarse_history": (least_history, limits.history),
        "sliding_window_len": (shortest, limits.room - least_history),
    }


def check_windows(params: SamplingParams, limits: CoarseLimits) -> None:
    """Raise `InvalidParameterError` unless Bark's own conditions on its coarse windows hold for a model's sizes."""
    history = limits.history if params.max_coarse_history is None else params.max_coarse_history
    window = limits.window if params.sliding_window_len is None else params.sliding_window_len
    ranges = coarse_ranges(limits)
    smallest, largest = ranges["max_coarse_history"]
    if not smallest <= history <= largest:
        raise InvalidParameterError(
            f"params.max_coarse_history is {history}; this model takes {smallest} to {largest}",
            param="params.max_coarse_history",
        )
    shortest, longest = ranges["sliding_window_len"][0], limits.room - history
    if not shortest <= window <= longest:
        raise InvalidParameterError(
            f"params.sliding_window_len is {window}; with a max_coarse_history of {history}"
            f" this model takes {shortest} to {longest}",
            param="params.sliding_window_len",
        )
