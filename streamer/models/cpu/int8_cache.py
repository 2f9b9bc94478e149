"""The keys and values of an int8 model on a CPU, as bytes: passes and decode steps attend to them where they lie."""

from __future__ import annotations

from torch import Tensor

from streamer.models.config import TransformerConfig
from streamer.models.cpu.packed_heads import PackedHeads, new_packed_heads, store_keys, store_values


class Int8KvCache:
    """A `SlotCache` whose memory is taken when a slot is first used.

    No row reads past its own position; a slot is reused without clearing.
    """

    def __init__(self, config: TransformerConfig, num_slots: int) -> None:
        head_dim = config.width // config.num_heads
        self.num_slots, self.block_size = num_slots, config.block_size
        self.packed = new_packed_heads(
            config.num_layers, num_slots, config.num_heads, head_dim, config.block_size
        )

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.packed)

    def clear(self, slots: Tensor) -> None:
        """Zero the given slots [rows]."""
        for array in self.packed:
            array[:, slots.numpy()] = 0

    def copy(self, slot: int, to_slot: int) -> None:
        """Copy all that one slot holds to another."""
        for array in self.packed:
            array[:, to_slot] = array[:, slot]

    def write_prefix(self, layer: int, slots: Tensor, keys: Tensor, values: Tensor) -> None:
        """Store positions 0..length-1 of `slots` [rows]; keys and values [rows, heads, length, head_dim]."""
        head_dim = keys.shape[3]
        for row, slot in enumerate(slots.tolist()):
            heads = PackedHeads(*(array[layer, slot] for array in self.packed))
            for store, numbers in ((store_keys, keys[row]), (store_values, values[row])):
                projected = numbers.transpose(0, 1).flatten(1).float().contiguous()
                store(projected.numpy(), 0, 0, heads, head_dim)
