"""The codec's decoder on a CPU as one compiled function, from vectors to samples; `compiled_codec` calls it.

A sentence goes through the convolutions in tiles of some frames, so that what lies between them needs little memory,
which stays in the processor's caches.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from streamer.models.cpu.convolution_kernels import continue_input, convolve, elu, multiply_rows
from streamer.models.cpu.llvm_intrinsics import prefer_wide_vectors
from streamer.models.cpu.numba_math import exp, inline, kernel

TILE_FRAMES: Final = 16
NUM_BUFFERS: Final = 5
"""What `DecoderRoom.buffers` holds: a convolution's inputs, and a residual block's inputs, the same after ELU, what is
within the block, and the block's outputs."""

Floats = npt.NDArray[np.float32]


class DecoderWeights(NamedTuple):
    """A decoder's weights, and what they are.

    `convolutions` are of type CONVOLUTION and in the order in which they are computed: a residual block is one over
    time, and one which joins its result with the shortcut. `recurrent` is [layers, groups, width, ROW_GROUP]. A state
    ends with the LSTM's [layers, 2, width].
    """

    weights: Floats
    recurrent: Floats
    convolutions: npt.NDArray[Any]
    num_stages: int
    num_blocks: int
    tile_frames: int


class DecoderRoom(NamedTuple):
    """Memory that a decoder writes, each with room for the rows that a convolution writes behind its last.

    `x`, and of the LSTM `remembered`, have [rows, frames, channels], and its `gates` [rows, frames, outputs]; they are
    flat. Its `sums` are [rows, outputs]. `buffers` are [NUM_BUFFERS, size].
    """

    x: Floats
    remembered: Floats
    gates: Floats
    sums: Floats
    buffers: Floats


@inline
def _sigmoid(x):
    power = exp(-abs(x))
    return (np.float32(1) if x >= 0 else power) / (np.float32(1) + power)


@inline
def _tanh(x):
    power = exp(np.float32(-2) * abs(x))
    size = (np.float32(1) - power) / (np.float32(1) + power)
    return size if x >= 0 else -size


@kernel
def _update(gates, cell, hidden):
    """Update an LSTM's `cell` and `hidden`, [width] each, by the sums of its gates, which are in torch's order."""
    prefer_wide_vectors()
    width = len(cell)
    for unit in range(width):
        new = _sigmoid(gates[unit]) * _tanh(gates[2 * width + unit])
        cell[unit] = new + _sigmoid(gates[width + unit]) * cell[unit]
        hidden[unit] = _sigmoid(gates[3 * width + unit]) * _tanh(cell[unit])


@kernel
def _run_first(w, r, vectors, state, is_start, x):
    """Write what the first convolution makes of a tile's vectors [frames, dimension] to flat `x`."""
    c, inputs = w.convolutions[0], r.buffers[0]
    inputs[c.padding * c.channels :][: vectors.size] = vectors.reshape(-1)
    continue_input(c, state, is_start, inputs, len(vectors))
    convolve(c, w.weights, inputs, inputs, len(vectors), x)


@kernel
def _run_lstm(w, r, num_frames, states, slots, is_first):
    """Add an LSTM's outputs to `r.x`. Its rows go together through each frame, for which the weights are read."""
    num_layers, num_rows = len(w.recurrent), len(slots)
    width = w.recurrent.shape[2]
    size = num_rows * num_frames * width
    r.remembered[:size] = r.x[:size]
    outputs = r.remembered[:size].reshape(num_rows, num_frames, width)
    for layer in range(num_layers):
        c = w.convolutions[1 + layer]
        convolve(c, w.weights, r.remembered, r.remembered, num_rows * num_frames, r.gates)
        gates = r.gates[: num_rows * num_frames * c.width].reshape(num_rows, num_frames, c.width)
        begin = states.shape[1] - 2 * (num_layers - layer) * width
        memory = np.zeros((num_rows, 2, width), np.float32)
        if not is_first:
            for row in range(num_rows):
                memory[row] = states[slots[row], begin : begin + 2 * width].reshape(2, width)
        for frame in range(num_frames):
            multiply_rows(memory[:, 0], w.recurrent[layer], gates[:, frame], r.sums)
            for row in range(num_rows):
                _update(r.sums[row], memory[row, 1], memory[row, 0])
                outputs[row, frame] = memory[row, 0]
        for row in range(num_rows):
            states[slots[row], begin : begin + 2 * width] = memory[row].reshape(-1)
    for index in range(size):
        r.x[index] += r.remembered[index]


@kernel
def _run_stages(w, r, x, state, is_start, samples):
    """Write the samples [frames * hop] of a tile `x` [frames, channels]; `number` counts the convolutions.

    `is_start` tells whether the tile is the first of a sentence, whose state is `state` [numbers].
    """
    inputs, activated, inner = r.buffers[0], r.buffers[1], r.buffers[2]
    block_inputs, block_outputs = r.buffers[3], r.buffers[4]
    number = 1 + len(w.recurrent)
    c = w.convolutions[number]
    num_positions = num_frames = len(x) // c.channels
    elu(x, inputs[c.padding * c.channels :])
    for _ in range(w.num_stages):
        continue_input(c, state, is_start, inputs, num_positions)
        convolve(c, w.weights, inputs, inputs, num_positions, block_inputs)
        num_positions = num_frames * w.convolutions[number + 1].rate
        for _ in range(w.num_blocks):
            c, join = w.convolutions[number + 1], w.convolutions[number + 2]
            number += 2
            elu(block_inputs[: num_positions * c.channels], activated[c.padding * c.channels :])
            continue_input(c, state, is_start, activated, num_positions)
            convolve(c, w.weights, activated, activated, num_positions, inner)
            elu(inner[: num_positions * join.more_channels], activated)
            convolve(join, w.weights, block_inputs, activated, num_positions, block_outputs)
            block_inputs, block_outputs = block_outputs, block_inputs
        number += 1
        c = w.convolutions[number]
        elu(block_inputs[: num_positions * c.channels], inputs[c.padding * c.channels :])
    continue_input(c, state, is_start, inputs, num_positions)
    convolve(c, w.weights, inputs, inputs, num_positions, block_outputs)
    samples[:] = block_outputs[:num_positions]


@kernel
def decode(weights, room, vectors, states, slots, is_first, samples):
    """Write the samples [rows, frames * hop] of float32 vectors [rows, frames, dimension].

    `states` are [slots, numbers], of which the rows are those of `slots` [rows]; `is_first` tells whether they are at
    their sentences' starts. `weights` and `room` are the fields of `DecoderWeights` and `DecoderRoom`.
    """
    w, r = DecoderWeights(*weights), DecoderRoom(*room)
    num_rows, num_frames, _ = vectors.shape
    num_channels, hop = w.convolutions[1].channels, samples.shape[1] // num_frames
    tiles = [
        (row, begin, min(begin + w.tile_frames, num_frames))
        for row in range(num_rows)
        for begin in range(0, num_frames, w.tile_frames)
    ]
    for row, begin, end in tiles:
        x = r.x[(row * num_frames + begin) * num_channels :]
        _run_first(w, r, vectors[row, begin:end], states[slots[row]], is_first and begin == 0, x)
    if len(w.recurrent):
        _run_lstm(w, r, num_frames, states, slots, is_first)
    for row, begin, end in tiles:
        x = r.x[(row * num_frames + begin) * num_channels :][: (end - begin) * num_channels]
        made = samples[row, begin * hop : end * hop]
        _run_stages(w, r, x, states[slots[row]], is_first and begin == 0, made)
