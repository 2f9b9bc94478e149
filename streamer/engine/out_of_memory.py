"""What happens where memory runs out in the middle of work: those it was for fail, the engine goes on."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence

import torch

from streamer.engine.request import Request, WorkT
from streamer.errors import EngineError

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def fail_requests_on_oom(requests: Sequence[Request[WorkT]], where: str) -> Iterator[None]:
    """Set the requests' failure where memory runs out in this block; other errors pass."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        logger.exception("out of memory in %s with %d rows", where, len(requests))
        for request in requests:
            request.work.failure = EngineError(f"out of memory: {error}")


def _is_out_of_memory(error: Exception) -> bool:
    # On a CPU torch raises a plain RuntimeError, which only its text tells from others.
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
