"""How functions are compiled on a CPU (numba): the one decorator that the sampler's and the models' kernels share."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache, IndexDataCacheFile

PACKAGE = Path(__file__).parent
KERNEL_FOLDERS = ("models/cpu", "engine/device")
"""The folders, within the package, of all compiled functions and of the constants and intrinsics that they use."""


@functools.cache
def sources_digest(package: Path = PACKAGE) -> str:
    """Return what the compiled functions' sources amount to: another digest if any of them has changed."""
    digest = hashlib.sha256()
    in_folders = (path for folder in KERNEL_FOLDERS for path in sorted((package / folder).glob("*.py")))
    for path in (package / Path(__file__).name, *in_folders):
        if (
            path.exists()
        ):  # It does not where the package is in an archive, whose date numba's own stamp tells.
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


class _Index(IndexDataCacheFile):
    """The list of a function's compiled versions on disk, which also tells how old it is."""

    def _load_index(self) -> Any:
        try:
            return super()._load_index()  # type: ignore[no-untyped-call]
        except (AttributeError, ImportError):  # It names types that are gone, so it is old.
            return {}


class KernelCache(FunctionCache):
    """A function's compiled code on disk, until any kernel changes.

    A compiled function contains the functions that it calls. numba's own cache knows the function's file alone, so
    after an update it would run the callees' old code.
    """

    def __init__(self, function: Callable[..., Any], package: Path = PACKAGE) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        self._cache_file = _Index(  # type: ignore[no-untyped-call]
            cache_path=self._cache_path,
            filename_base=self._impl.filename_base,
            source_stamp=(self._impl.locator.get_source_stamp(), sources_digest(package)),
        )


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that compiles a function at its first call, with numba's `options`.

    The result is kept on disk for the next start if the cache's folder can be written.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = njit(nogil=True, error_model="numpy", **options)(function)
        # Without a place for a cache, as in a container without a home, each start compiles anew.
        with contextlib.suppress(RuntimeError):
            dispatcher._cache = KernelCache(function)
        return dispatcher

    return decorate
