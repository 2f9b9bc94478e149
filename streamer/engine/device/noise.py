"""Random numbers that depend on their key alone, so that a sentence sounds the same in any batch.

A counter-based generator: number j of step n of a key is the j-th output of SplitMix64 (Steele, Lea and Flood,
"Fast splittable pseudorandom number generators", 2014) seeded with a mix of the key and n. It uses only integers,
so every device produces the same bits; `numba_sampler` is the compiled form.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

GAMMA = 0x9E3779B97F4A7C15
"""SplitMix64's increment of the counter: 2**64 divided by the golden ratio."""
MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
SHIFTS = (30, 27, 31)
"""The multipliers and shifts of SplitMix64's finalizer."""
UNIFORM_BITS = 23
"""Random bits of a uniform number, one fewer than a float32 holds: the middle of each step is exact, never 0 or 1."""


def noise_key(*parts: int | str) -> int:
    """Return the signed 64-bit key of a source of noise, named by `parts`: seed, sentence, stage and so on."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def exponential(keys: Tensor, steps: Tensor, width: int) -> Tensor:
    """Return standard exponential noise above zero, float32 [rows, width], for `keys` and `steps` int64 [rows]."""
    rows = _mix(keys + steps * _signed(GAMMA))
    counter = torch.arange(1, width + 1, device=keys.device) * _signed(GAMMA)
    bits = _mix(rows[:, None] + counter)
    uniform = (_shifted(bits, 64 - UNIFORM_BITS).float() + 0.5) * 2.0**-UNIFORM_BITS
    return -torch.log(uniform)


def _mix(value: Tensor) -> Tensor:
    """Apply SplitMix64's finalizer; int64 multiplication wraps as uint64's does."""
    for shift, multiplier in zip(SHIFTS[:2], MULTIPLIERS, strict=True):
        value = (value ^ _shifted(value, shift)) * _signed(multiplier)
    return value ^ _shifted(value, SHIFTS[2])


def _shifted(value: Tensor, by: int) -> Tensor:
    """Shift to the right, filling with zeros where torch's operator would copy the sign."""
    return (value >> by) & ((1 << (64 - by)) - 1)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
