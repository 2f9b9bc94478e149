"""Memory that a thread of whole passes or the codec writes again; fresh pages would cost as much as some kernels."""

from __future__ import annotations

import math
import threading

import torch
from torch import Tensor

_kept = threading.local()


def scratch(name: str, dtype: torch.dtype, *shape: int) -> Tensor:
    """Return a tensor of this thread's, with any content, which the next call of this name overwrites."""
    kept: dict[str, Tensor] = vars(_kept)
    size = math.prod(shape)
    if name not in kept or kept[name].dtype != dtype or len(kept[name]) < size:
        kept[name] = torch.empty(size, dtype=dtype)
    return kept[name][:size].view(shape)
