"""A narrow fine model's pass as one compiled function, from codes to logits; `engine/device/numba_fill` calls it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streamer.models.cpu.compiled_layers import (
    CompiledLayers,
    Int8Head,
    bias_of,
    bits_of,
    floats_of,
)
from streamer.models.cpu.int8_linear import Floats, multiply_words, new_words, quantize_words
from streamer.models.cpu.layer_kernels import ROWS_OF_WORDS, Pass, new_pass, norm_row, run_layers
from streamer.models.cpu.llvm_intrinsics import prefer_wide_vectors
from streamer.models.cpu.numba_math import as_float32, inline, kernel
from streamer.models.fine_gpt import FineGpt


class FineWeights(NamedTuple):
    """A fine model's weights as a pass reads them.

    The `tables` of the codebooks' embeddings, [tokens, width] each, and `positions` are float32, or bfloat16 seen as
    uint16. `layers` are the fields of `LayerWeights`, `heads` those of an `Int8Linear` for each codebook that is made.
    """

    tables: tuple[npt.NDArray[Any], ...]
    positions: npt.NDArray[Any]
    layers: tuple[Any, ...]
    gain: Floats
    bias: Floats
    heads: tuple[tuple[Any, ...], ...]


class CompiledFine:
    """The weights of a fine network whose passes are compiled and share no threads, and what a pass needs beside."""

    def __init__(self, fine: FineGpt, layers: CompiledLayers) -> None:
        norm = fine.transformer.ln_f
        heads = [head for head in fine.lm_heads if isinstance(head, Int8Head)]
        assert all(head.outputs.start == 0 for head in heads)  # The first logit is the first code's.
        self.weights = FineWeights(
            tuple(bits_of(table.get_parameter("weight")) for table in fine.transformer.wtes),
            bits_of(fine.transformer.wpe.weight),
            tuple(layers.packed),
            floats_of(norm.weight),
            bias_of(norm),
            tuple(head.linear for head in heads),
        )
        self._layers = layers
        self._num_outputs = max(scales.size for _, _, scales in self.weights.heads)

    def open(self, num_frames: int) -> tuple[Pass, Floats]:
        """Make room for passes over a window: what the layers share, and logits [frames, outputs]."""
        x = np.empty((num_frames, len(self.weights.gain)), np.float32)
        heads, num_layers = self._layers.new_heads(num_frames), len(self._layers.packed.gains)
        room = new_pass(x, self._layers.num_heads, num_layers, heads, 0, (0, num_frames), is_causal=False)
        return room, np.empty((num_frames, self._num_outputs), np.float32)


def compiled_fine(fine: FineGpt) -> CompiledFine | None:
    """Return a network's compiled pass, or None if it has none or shares threads."""
    layers = fine.transformer.h
    if not isinstance(layers, CompiledLayers) or layers.num_threads > 1:
        return None
    return CompiledFine(fine, layers)


@kernel
def _embed(tables, positions, codes, last, x):
    """Write the sum of the embeddings of the codebooks up to the `last`, and of the positions, to `x`."""
    prefer_wide_vectors()
    for column in range(len(x)):
        for index in range(x.shape[1]):
            x[column, index] = as_float32(positions[column, index])
    for number in range(last + 1):
        table = tables[number]
        for column in range(len(x)):
            embedding = table[codes[number, column]]
            for index in range(x.shape[1]):
                x[column, index] += as_float32(embedding[index])


@inline
def fine_logits(weights, shared, codes, codebook, head, first, end, logits):
    """Write a codebook's logits of the columns from `first` to `end` of `codes` [codebooks, frames] to their rows.

    `weights` are the fields of `FineWeights`, and `shared` those of `Pass`; both have no names within a tuple.
    """
    prefer_wide_vectors()
    w, s = FineWeights(*weights), Pass(*shared)
    _embed(w.tables, w.positions, codes, codebook, s.x)
    s.borders[0], s.borders[1] = first, end
    s.counters[:] = 0
    run_layers(w.layers, shared)
    linear = w.heads[head]
    normed, words = np.empty(s.x.shape[1], np.float32), new_words(ROWS_OF_WORDS, s.x.shape[1])
    factors = np.empty(ROWS_OF_WORDS, np.float32)
    for begin in range(first, end, ROWS_OF_WORDS):
        count = min(ROWS_OF_WORDS, end - begin)
        for row in range(count):
            norm_row(s.x[begin + row], w.gain, w.bias, normed)
            factors[row] = quantize_words(normed, row, words)
        for group in range(len(linear[0])):
            multiply_words(linear, group, words, factors[:count], logits[begin : begin + count])
