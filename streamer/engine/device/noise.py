"""Random numbers that depend on nothing but their key, so that a sentence sounds the same in any batch.

A counter-based generator: number j of step n of a key is the j-th output of SplitMix64 (Steele, Lea and Flood,
"Fast splittable pseudorandom number generators", 2014) seeded with a mix of key and n. Only integers decide it,
so every device has the same bits; `compiled_sampler` makes them again, compiled.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

GAMMA = 0x9E3779B97F4A7C15
MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
SHIFTS = (30, 27, 31)
UNIFORM_BITS = 23
"""One fewer than a float32 keeps, so that the middle between two steps is exact, and neither 0 nor 1."""


def noise_key(*parts: int | str) -> int:
    """The 64-bit key (signed) of whatever names a source: seed, sentence, stage …"""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def exponential(keys: Tensor, steps: Tensor, width: int) -> Tensor:
    """Standard exponential noise, above zero: `keys` and `steps` int64 [rows] to float32 [rows, width]."""
    rows = _mix(keys + steps * _signed(GAMMA))
    counter = torch.arange(1, width + 1, device=keys.device) * _signed(GAMMA)
    bits = _mix(rows[:, None] + counter)
    uniform = (_shifted(bits, 64 - UNIFORM_BITS).float() + 0.5) * 2.0**-UNIFORM_BITS
    return -torch.log(uniform)


def _mix(value: Tensor) -> Tensor:
    """SplitMix64's finalizer; int64 multiplication wraps as uint64's does."""
    for shift, multiplier in zip(SHIFTS[:2], MULTIPLIERS, strict=True):
        value = (value ^ _shifted(value, shift)) * _signed(multiplier)
    return value ^ _shifted(value, SHIFTS[2])


def _shifted(value: Tensor, by: int) -> Tensor:
    """A shift to the right that brings in zeros; torch's brings in the sign."""
    return (value >> by) & ((1 << (64 - by)) - 1)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
