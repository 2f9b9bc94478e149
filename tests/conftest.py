"""What all tests share: one thread for torch, so that small models are quick and results do not vary; and no voices or
models that this user has installed."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["XDG_DATA_HOME"] = str(Path(__file__).parent / "not_there")
