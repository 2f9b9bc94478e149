"""Copies between the host and a device that never make the host wait: uploads are queued, results are polled.

On a CPU both are plain tensors and every result is ready at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from streamer.engine.stage import Pending


def upload(
    values: Sequence[Any] | npt.NDArray[Any], device: torch.device, dtype: torch.dtype = torch.long
) -> Tensor:
    """Return a tensor of `values` on `device`, ready for what is launched there next."""
    if device.type != "cuda":
        return torch.tensor(values, dtype=dtype, device=device)
    # The copy from pinned memory is only queued; torch keeps that memory until it has been read.
    return torch.tensor(values, dtype=dtype, pin_memory=True).to(device, non_blocking=True)


class Readback:
    """A tensor on its way from a device to the host; the device may overwrite its own at once."""

    def __init__(self, tensor: Tensor) -> None:
        self._arrived: torch.cuda.Event | None = None
        if tensor.device.type != "cuda":
            self._host = tensor.cpu()
            return
        self._host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        self._host.copy_(tensor, non_blocking=True)
        self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._arrived.record()

    def is_done(self) -> bool:
        return self._arrived is None or bool(self._arrived.query())  # type: ignore[no-untyped-call]

    def wait(self) -> Tensor:
        """Wait for the tensor and return it on the host."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._host


@dataclass(frozen=True, slots=True)
class PendingResult:
    """A launched step whose results `commit` writes into the works once `readback` has brought them."""

    readback: Readback
    commit: Callable[[Tensor], None]
    num_steps: int = 1
    span_s: None = None
    joined_s: float = 0.0

    def is_done(self) -> bool:
        return self.readback.is_done()

    def finish(self) -> None:
        self.commit(self.readback.wait())


@dataclass(frozen=True, slots=True)
class PendingResults:
    """The pending results of a step that consists of several parts."""

    parts: Sequence[Pending]
    num_steps: int = 1

    @property
    def span_s(self) -> tuple[float, float] | None:
        """From the begin of the first part that knows it to the end of the last one."""
        spans = [part.span_s for part in self.parts if part.span_s is not None]
        return (spans[0][0], spans[-1][1]) if spans else None

    @property
    def joined_s(self) -> float:
        return sum(part.joined_s for part in self.parts)

    def is_done(self) -> bool:
        return all(part.is_done() for part in self.parts)

    def finish(self) -> None:
        for part in self.parts:
            part.finish()
