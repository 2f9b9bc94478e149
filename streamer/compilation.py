"""How functions are compiled on a CPU (numba): the one decorator that the sampler's and the models' kernels share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that compiles a function at its first call, with numba's `options`.

    The result is kept on disk for the next start if the cache's folder can be written.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        settings = {"nogil": True, "error_model": "numpy", **options}
        try:
            return njit(cache=True, **settings)(function)
        except RuntimeError:  # There is no place for a cache, as in a container without a home.
            return njit(**settings)(function)

    return decorate
