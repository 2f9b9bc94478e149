"""A narrow fine model's pass as one compiled function, from codes to logits; `engine/device/numba_fill` calls it."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

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
from streamer.models.cpu.layer_kernels import Pass, norm_row, run_layers
from streamer.models.cpu.llvm_intrinsics import prefer_wide_vectors
from streamer.models.cpu.numba_math import as_float32, kernel
from streamer.models.cpu.numba_threads import meet, take
from streamer.models.fine_gpt import FineGpt

COLUMNS_AT_ONCE: Final = 16
"""The columns of a window for which a thread does what is before and behind the layers."""
_MORE_PHASES: Final = 2


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
    """The weights of a fine network whose passes are compiled, and what a pass needs beside."""

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
        """Make room for a window's passes, one for each head: what they share, and logits [frames, outputs]."""
        x = np.empty((num_frames, len(self.weights.gain)), np.float32)
        heads = self._layers.new_heads(num_frames)
        room = self._layers.new_pass(
            x, heads, 0, (0, num_frames),
            is_causal=False, num_passes=len(self.weights.heads), num_more_phases=_MORE_PHASES,
        )  # fmt: skip
        return room, np.empty((num_frames, self._num_outputs), np.float32)


def compiled_fine(fine: FineGpt) -> CompiledFine | None:
    """Return a network's compiled pass, or None if it has none or shares threads."""
    layers = fine.transformer.h
    if not isinstance(layers, CompiledLayers) or layers.num_threads > 1:
        return None
    return CompiledFine(fine, layers)


@kernel
def embed(weights, shared, codes, last, team):
    """Begin a pass with the sum of the embeddings of the codebooks up to the `last`, and of the positions.

    `weights` are the fields of `FineWeights`, and `shared` those of `Pass`; both have no names within a tuple. A phase:
    this thread does it for some columns of `codes` [codebooks, frames].
    """
    prefer_wide_vectors()
    w, x = FineWeights(*weights), Pass(*shared).x
    begin = take(team) * COLUMNS_AT_ONCE
    while begin < len(x):
        columns = range(begin, min(begin + COLUMNS_AT_ONCE, len(x)))
        for column in columns:
            for index in range(x.shape[1]):
                x[column, index] = as_float32(w.positions[column, index])
        for number in range(last + 1):
            table = w.tables[number]
            for column in columns:
                embedding = table[codes[number, column]]
                for index in range(x.shape[1]):
                    x[column, index] += as_float32(embedding[index])
        begin = take(team) * COLUMNS_AT_ONCE
    meet(team, -(-len(x) // COLUMNS_AT_ONCE))


@kernel
def run_fine_layers(weights, shared, first, end, team):
    """Go on with the layers; the last one makes the columns from `first` to `end`."""
    run_layers(FineWeights(*weights).layers, shared, (first, end), team)


@kernel
def fine_logits(weights, shared, head, begin, end, logits):
    """End a pass: write a head's logits of at most COLUMNS_AT_ONCE columns to their rows."""
    prefer_wide_vectors()
    w, x = FineWeights(*weights), Pass(*shared).x
    linear = w.heads[head]
    normed, words = np.empty(x.shape[1], np.float32), new_words(COLUMNS_AT_ONCE, x.shape[1])
    factors = np.empty(COLUMNS_AT_ONCE, np.float32)
    for row in range(end - begin):
        norm_row(x[begin + row], w.gain, w.bias, normed)
        factors[row] = quantize_words(normed, row, words)
    multiply_words(linear, 0, len(linear[0]), words, factors[: end - begin], logits[begin:end])
