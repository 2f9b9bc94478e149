"""The bounds of every sampling knob, and whether given values keep them; used by `server` and `api`."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from streamer.errors import InvalidParameterError
from streamer.synthesis import CoarseLimits, ModelInfo, SamplingParams


@dataclass(frozen=True, slots=True)
class Range:
    """`smallest` to `largest`, both included. `may_be_null`: null switches the knob off, or leaves it to the model."""

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
    "max_gen_duration_s": Range(0.1, 60.0, may_be_null=True),
    "max_coarse_history": Range(10, 2**20, may_be_null=True, is_whole=True),
    "sliding_window_len": Range(10, 2**20, may_be_null=True, is_whole=True),
}
"""Of `SamplingParams`' fields; those of the coarse windows depend on the model as well (`CoarseLimits`)."""
DRAWN_SEEDS: Final = 2**31
"""How many seeds there are to draw from: few enough digits to be read out and typed again."""
MIN_COARSE_HISTORY: Final = 60
"""Bark's least `max_coarse_history`; a model with less room may have less."""


def draw_seed() -> int:
    """A seed for an utterance whose client gave none."""
    return secrets.randbelow(DRAWN_SEEDS)


def sampling_params(info: ModelInfo, given: Mapping[str, object]) -> SamplingParams:
    """The model's own params with those given. Raises `InvalidParameterError` naming the value and what it may be."""
    for name, value in given.items():
        if name not in RANGES:
            raise InvalidParameterError(
                f"there is no parameter {name!r}; there are {', '.join(RANGES)}", param=f"params.{name}"
            )
        _check(name, value, RANGES[name])
    params = replace(info.default_params, **given)  # type: ignore[arg-type]
    check_windows(params, info.coarse_limits)
    return params


def _check(name: str, value: object, allowed: Range) -> None:
    if value is None and allowed.may_be_null:
        return
    kinds = (int,) if allowed.is_whole else (int, float)
    is_number = isinstance(value, kinds) and not isinstance(value, bool)
    if not is_number or not allowed.smallest <= value <= allowed.largest:  # type: ignore[operator]
        what = "a whole number" if allowed.is_whole else "a number"
        null = ", or null" if allowed.may_be_null else ""
        raise InvalidParameterError(
            f"{name} is {value!r}; it must be {what} from {allowed.smallest:g} to {allowed.largest:g}{null}",
            param=f"params.{name}",
        )


def check_windows(params: SamplingParams, limits: CoarseLimits) -> None:
    """Raise `InvalidParameterError` unless Bark's own conditions on its coarse windows hold, by the model's sizes."""
    history = params.max_coarse_history or limits.history
    window = params.sliding_window_len or limits.window
    smallest = min(MIN_COARSE_HISTORY, limits.history)
    if not smallest <= history <= limits.history:
        raise InvalidParameterError(
            f"max_coarse_history is {history}; this model takes {smallest} to {limits.history}",
            param="params.max_coarse_history",
        )
    if history + window > limits.room:
        raise InvalidParameterError(
            f"max_coarse_history {history} and sliding_window_len {window} exceed {limits.room} together",
            param="params.sliding_window_len",
        )
