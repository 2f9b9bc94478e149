"""How many replicas the listeners need: the policy that Ray Serve's controller runs, by figures of the engines.

Ray Serve copies this module by value into its controller, so it imports nothing of this package.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, Protocol

TARGET_LOAD: Final = 0.7
"""The part of the places that listeners take when there are just enough replicas, unless `policy_kwargs` set it."""


class ScalingContext(Protocol):
    """What is read of `ray.serve.config.AutoscalingContext`."""

    @property
    def target_num_replicas(self) -> int: ...

    @property
    def aggregated_metrics(self) -> Mapping[str, Mapping[Any, float]] | None: ...


def replicas_for_listeners(
    context: ScalingContext, target_load: float = TARGET_LOAD
) -> tuple[int, dict[str, Any]]:
    """Return the number of replicas with which listeners take `target_load` of all places, and the state to keep: none.

    Replicas tell `listeners` and `places`. While none does, the number stays as it is. Ray Serve applies the bounds and
    delays of `autoscaling_config` to the answer.
    """
    figures = context.aggregated_metrics or {}
    listeners, places = figures.get("listeners", {}), figures.get("places", {})
    known_places = [value for value in places.values() if value > 0]
    if not known_places:
        return context.target_num_replicas, {}
    mean_places = sum(known_places) / len(known_places)
    # A mean over time is rarely a whole number; what is left of a listener who is gone needs no replica.
    needed = round(sum(listeners.values()) / (target_load * mean_places), 3)
    return max(1, math.ceil(needed)), {}
