"""Random numbers that depend on nothing but their key, so that a sentence sounds the same in any batch.

A counter-based generator (Philox) is opened afresh for every block of rows; the key is a hash of
(seed, sentence, stage, …, block), so row n is the same number whenever, and beside whomever, it is drawn.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

BLOCK_ROWS = 16
"""Rows drawn at once: one token's worth alone would pay the generator's set-up every step."""


class NoiseSource:
    """Standard exponential noise: row n is a pure function of (key, n).

    `argmax(probabilities / row)` draws from `probabilities`: the way `torch.multinomial` does it.
    """

    def __init__(self, *key: int | str, width: int) -> None:
        self._key = "/".join(str(part) for part in key)
        self._width = width
        self._block_index = -1
        self._block = torch.empty(0, width)

    def row(self, index: int) -> Tensor:
        """The noise of step `index`: float32, all above zero, [width]."""
        return self._block_at(index // BLOCK_ROWS)[index % BLOCK_ROWS]

    def rows(self, first: int, count: int) -> Tensor:
        """The noise of the steps first..first+count-1, [count, width]."""
        first_block, last_block = first // BLOCK_ROWS, (first + count - 1) // BLOCK_ROWS
        blocks = [self._block_at(index) for index in range(first_block, last_block + 1)]
        offset = first - first_block * BLOCK_ROWS
        return torch.cat(blocks)[offset : offset + count]

    def _block_at(self, block_index: int) -> Tensor:
        if block_index != self._block_index:
            self._block = self._draw(block_index)
            self._block_index = block_index
        return self._block

    def _draw(self, block_index: int) -> Tensor:
        digest = hashlib.blake2b(f"{self._key}/{block_index}".encode(), digest_size=16).digest()
        generator = np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
        block = generator.standard_exponential((BLOCK_ROWS, self._width), dtype=np.float32)
        # A zero would turn the probability 0 into 0/0.
        return torch.from_numpy(np.maximum(block, np.finfo(np.float32).tiny))
