"""What all tests share: one thread for torch, so that small models are quick and results do not vary; and no voices or
models that this user has installed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamer.telemetry.logs import QueueingHandler

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["XDG_DATA_HOME"] = str(Path(__file__).parent / "not_there")


@pytest.fixture(autouse=True)
def _no_log_is_left() -> Iterator[None]:
    """Take away the log that a test of a command configured: it would write into the report, and tell others more."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    for handler in [handler for handler in root.handlers if isinstance(handler, QueueingHandler)]:
        root.removeHandler(handler)
