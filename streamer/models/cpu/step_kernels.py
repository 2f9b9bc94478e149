"""What a decode step consists of (`decode_step`): its phases, and what lies between them; prefills share their ends.

A thread that takes part in a phase says whether it is the last one, which then does what comes before the next phase.
"""

from __future__ import annotations

import numpy as np

from streamer.models.cpu.int8_attention import attend_step
from streamer.models.cpu.int8_linear import (
    excess_of_nibbles,
    multiply_nibbles,
    multiply_words,
    new_words,
    quantize_words,
)
from streamer.models.cpu.integer_products import GROUP
from streamer.models.cpu.llvm_intrinsics import prefer_wide_vectors
from streamer.models.cpu.numba_math import as_float32, gelu, kernel, moments
from streamer.models.cpu.numba_threads import is_last, take
from streamer.models.cpu.packed_heads import append, heads_of


@kernel
def embed_tokens(tokens, token_embeddings, positions, position_embeddings, x):
    """Write the sum of each row's embeddings to `x` [rows, width]."""
    for row in range(len(x)):
        token, position = tokens[row], positions[row]
        for index in range(x.shape[1]):
            x[row, index] = as_float32(token_embeddings[token, index])
            x[row, index] += as_float32(position_embeddings[position, index])


@kernel
def round_norms(x, gain, rounded):
    """Round the layer norm, without a bias, of every row of `x` to the next product's inputs.

    These are `rounded`: rows of words, their factors, and for nibbles their excesses (see `multiply_nibbles`).
    """
    inputs, factors, excesses = rounded
    normed = np.empty(x.shape[1], np.float32)
    for row in range(len(x)):
        mean, scale = moments(x[row])
        for index in range(x.shape[1]):
            normed[index] = (x[row, index] - mean) * scale * gain[index]
        factors[row] = quantize_words(normed, row, inputs)
        if len(excesses):
            excesses[row] = excess_of_nibbles(inputs, row)


@kernel
def round_sums(x, added, gain, rounded):
    """Add to every row of the residual `x` what a product has made, and go on with its norm."""
    for row in range(len(x)):
        for index in range(x.shape[1]):
            x[row, index] += added[row, index]
    round_norms(x, gain, rounded)


@kernel
def round_rows(x, num_inputs, rounded):
    """Round the first numbers of every row of `x` to the next product's inputs."""
    inputs, factors, excesses = rounded
    for row in range(len(x)):
        factors[row] = quantize_words(x[row, :num_inputs], row, inputs)
        if len(excesses):
            excesses[row] = excess_of_nibbles(inputs, row)


@kernel
def _piece_size(num_groups, num_pieces):
    """Return how many groups of outputs are taken at a time."""
    return max(1, num_groups // num_pieces)


@kernel
def multiply_some_groups(linear, first, end, num_pieces, rounded, y, with_gelu, team):
    """Multiply `rounded` inputs with an `Int8Linear` to `y` [rows, outputs], perhaps with a GELU behind.

    A phase: this thread computes its share of the groups of outputs from `first` to `end`. Returns whether it is the
    last.
    """
    inputs, factors, excesses = rounded
    prefer_wide_vectors()
    size, has_nibbles = _piece_size(end - first, num_pieces), linear[0].shape[2] < GROUP
    begin = first + take(team) * size
    while begin < end:
        stop = min(begin + size, end)
        if has_nibbles:
            multiply_nibbles(linear, begin, stop, inputs, factors, excesses, y)
        else:
            multiply_words(linear, begin, stop, inputs, factors, y)
        if with_gelu:
            for row in range(len(y)):
                gelu(y[row, begin * GROUP : stop * GROUP])
        begin = first + take(team) * size
    return is_last(team, -(-(end - first) // size))


@kernel
def attend_some_heads(projected, attended, slots, positions, heads, layer, num_pieces, rooms, team):
    """Append each row's key and value, and attend. A phase: this thread computes some heads of some rows.

    Returns whether it is the last.
    """
    num_heads = heads.keys.shape[2]
    size = _piece_size(num_heads, num_pieces)
    per_row = -(-num_heads // size)
    for_keys, for_queries = rooms
    item = take(team)
    while item < len(attended) * per_row:
        row, first = item // per_row, item % per_row * size
        end = min(first + size, num_heads)
        of_row, position = heads_of(heads, layer, slots[row]), positions[row]
        append(projected, row, attended.shape[1], of_row, first, end, position, for_keys)
        attend_step(projected, row, of_row, first, end, position, for_queries, attended)
        item = take(team)
    return is_last(team, len(attended) * per_row)


@kernel
def add_positions(x, embeddings, start):
    """Add to the rows of `x` [positions, width] the embeddings of their positions, of which the first is `start`."""
    for row in range(len(x)):
        for index in range(x.shape[1]):
            x[row, index] += as_float32(embeddings[start + row, index])


@kernel
def make_logits(x, gain, head, first, end, logits):
    """Write what the last norm and the `head` make of `x` [rows, width], of the groups of outputs from `first` on."""
    inputs, factors = new_words(len(x), x.shape[1]), np.empty(len(x), np.float32)
    round_norms(x, gain, (inputs, factors, np.empty(0, np.int32)))
    multiply_words(head, first, end, inputs, factors, logits)
