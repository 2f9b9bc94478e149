"""The keys and values of a causal transformer, one slot per sentence; `gpt.CausalGpt` writes and reads it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from streamer.models.config import TransformerConfig

PARTS_UNIT = 4
"""What the first position of a prefill's later part is a multiple of."""
CACHE_LINE_BYTES = 64
"""What a row's keys and values begin at a multiple of, so that a vector is never read from two lines."""


class SlotCache(Protocol):
    """Keys and values of a causal transformer in the form that its prefill and its decode step read."""

    @property
    def num_slots(self) -> int: ...

    @property
    def block_size(self) -> int:
        """The most positions of a slot."""

    @property
    def nbytes(self) -> int:
        """The bytes of all slots together."""

    def clear(self, slots: Tensor) -> None:
        """Zero the given slots [rows]."""

    def copy(self, slot: int, to_slot: int) -> None:
        """Copy all that one slot holds to another."""

    def write_prefix(self, layer: int, slots: Tensor, keys: Tensor, values: Tensor) -> None:
        """Store positions 0..length-1 of `slots` [rows]; keys and values [rows, heads, length, head_dim]."""


class KvCache:
    """Preallocated keys and values: `keys` and `values` are [layers, slots, heads, block, head_dim].

    A slot is reused without clearing: no row ever reads past its own position. The one exception is a
    slot that holds NaN (a masked NaN still poisons a product): `clear` it after a numeric failure.
    """

    def __init__(
        self,
        config: TransformerConfig,
        num_slots: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        head_dim = config.width // config.num_heads
        shape = (config.num_layers, num_slots, config.num_heads, config.block_size, head_dim)
        self.keys, self.values = (_zeros(shape, dtype, torch.device(device)) for _ in range(2))

    @property
    def nbytes(self) -> int:
        return self.keys.nbytes + self.values.nbytes

    @property
    def num_slots(self) -> int:
        return self.keys.shape[1]

    @property
    def block_size(self) -> int:
        return self.keys.shape[3]

    def clear(self, slots: Tensor) -> None:
        """Zero the given slots [rows]."""
        self.keys[:, slots] = 0
        self.values[:, slots] = 0

    def copy(self, slot: int, to_slot: int) -> None:
        """Copy all that one slot holds to another."""
        for part in (self.keys, self.values):
            part[:, to_slot] = part[:, slot]

    def write_prefix(self, layer: int, slots: Tensor, keys: Tensor, values: Tensor) -> None:
        """Store positions 0..length-1 of `slots` [rows]; keys and values [rows, heads, length, head_dim]."""
        length = keys.shape[2]
        if self.keys.device.type == "cpu":  # Copying by rows is many times quicker than by indices.
            for row, slot in enumerate(slots.tolist()):
                self.keys[layer, slot, :, :length] = keys[row]
                self.values[layer, slot, :, :length] = values[row]
            return
        self.keys[layer, :, :, :length][slots] = keys.to(self.keys.dtype)
        self.values[layer, :, :, :length][slots] = values.to(self.values.dtype)

    def rows(self, slots: Tensor, positions: Tensor, length: int | None = None) -> CacheRows:
        """Open `slots` [rows] for one step in which row r appends at `positions[r]`.

        `length`: the number of cache positions to attend over; the default is just enough, for which `positions` are
        read back to the host. A caller on a GPU gives it, so that shapes do not depend on the data.
        """
        if length is None or self.keys.device.type == "cpu":
            return self._rows_of_known_places(slots, positions, length)
        return CacheRows(self, slots, positions, length, slots, self._mask(positions, length))

    def _rows_of_known_places(self, slots: Tensor, positions: Tensor, length: int | None) -> CacheRows:
        slot_list: list[int] = slots.tolist()
        position_list: list[int] = positions.tolist()
        needed = max(position_list) + 1
        length = needed if length is None else length
        first = slot_list[0]
        # Adjacent slots are read in place; others are gathered, which copies all their keys and values.
        adjacent = slot_list == list(range(first, first + len(slot_list)))
        place = slice(first, first + len(slot_list)) if adjacent else slots
        if adjacent and min(position_list) == max(position_list) and length == needed:
            return CacheRows(self, slots, None, length, place, None)
        return CacheRows(self, slots, positions, length, place, self._mask(positions, length))

    def _mask(self, positions: Tensor, length: int) -> Tensor:
        """Return the scores' summand [rows, 1, 1, length]: minus infinity behind each row's own position."""
        hidden = torch.arange(length, device=positions.device) > positions[:, None]
        mask = torch.zeros(hidden.shape, dtype=self.keys.dtype, device=positions.device)
        return mask.masked_fill_(hidden, -torch.inf)[:, None, None, :]


@dataclass(slots=True)
class CacheRows:
    """The rows of one decode step. `positions` None: all rows append at `length - 1`, with no mask."""

    cache: KvCache
    slots: Tensor
    positions: Tensor | None
    length: int
    place: slice | Tensor
    mask: Tensor | None

    def append(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store a key and a value per row [rows, heads, 1, head_dim]; return all [rows, heads, length, head_dim]."""
        keys, values = self.cache.keys[layer], self.cache.values[layer]
        if self.positions is None:
            keys, values = keys[self.place, :, : self.length], values[self.place, :, : self.length]
            keys[:, :, -1:].copy_(key)
            values[:, :, -1:].copy_(value)
            return keys, values
        keys[self.slots, :, self.positions] = key[:, :, 0].to(keys.dtype)
        values[self.slots, :, self.positions] = value[:, :, 0].to(values.dtype)
        return keys[:, :, : self.length][self.place], values[:, :, : self.length][self.place]


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return zeros, on a CPU such as take memory only where they are written; torch writes its own at once."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    num_bytes = math.prod(shape) * dtype.itemsize
    return torch.from_numpy(zeros_in_lines((num_bytes,), np.uint8)).view(dtype).view(shape)


def zeros_in_lines(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return zeros that begin with a line of the processor's cache, and take memory only where they are written."""
    num_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.zeros(num_bytes + CACHE_LINE_BYTES, np.uint8)
    first = -memory.ctypes.data % CACHE_LINE_BYTES
    return memory[first : first + num_bytes].view(dtype).reshape(shape)
