"""The policy: how many replicas a number of listeners needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from streamer.backends.ray.autoscaling import replicas_for_listeners


@dataclass
class Context:
    target_num_replicas: int
    aggregated_metrics: Mapping[str, Mapping[str, float]] | None


def told(listeners: list[float], places: list[float]) -> Context:
    names = "abcdefgh"
    figures = {
        "listeners": dict(zip(names, listeners, strict=False)),
        "places": dict(zip(names, places, strict=False)),
    }
    return Context(5, figures)


@pytest.mark.parametrize(
    ("listeners", "places", "expected"),
    [
        ([0], [10], 1),
        ([7], [10], 1),
        ([7.004], [10], 2),
        ([7.00001], [10], 1),  # what a mean over time leaves of nobody
        ([10], [10], 2),
        ([10, 10], [10, 10], 3),
        ([1, 0, 0], [10, 10, 10], 1),
        ([70], [10], 10),
        ([14, 0], [10, 30], 1),  # replicas of two kinds
        ([20], [1], 29),
        ([10, 10], [10], 3),  # one that has just started, and has told no places yet
        ([3, 0], [10, 0], 1),  # one whose model is being read
    ],
)
def test_the_listeners_take_seventy_percent_of_the_places(
    listeners: list[float], places: list[float], expected: int
) -> None:
    """Of all replicas together, and there is always one."""
    assert replicas_for_listeners(told(listeners, places)) == (expected, {})


def test_another_share_may_be_asked_for() -> None:
    """By the policy's own argument."""
    assert replicas_for_listeners(told([10], [10]), target_load=1.0) == (1, {})
    assert replicas_for_listeners(told([10], [10]), target_load=0.25) == (4, {})


@pytest.mark.parametrize(
    "figures", [None, {}, {"listeners": {"a": 9.0}}, {"listeners": {}, "places": {"a": 0.0}}]
)
def test_without_figures_the_number_stays(figures: Mapping[str, Mapping[str, float]] | None) -> None:
    """Replicas that start, or a controller that was started again, are no reason to scale."""
    assert replicas_for_listeners(Context(5, figures)) == (5, {})
