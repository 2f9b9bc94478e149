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
from streamer.models.cpu.numba_threads import Counters, meet, new_counters, new_team, take, takes_alone

TILE_FRAMES: Final = 16
_PIECES: Final = 3
"""What is done at a time: the LSTM of a tile, the upper stages of the one before, and the lower ones of the one before
that."""
_UPPER: Final = 2
_LOWER: Final = 7
NUM_BUFFERS: Final = 11
"""What `DecoderRoom.buffers` holds: the inputs of the lower stages, of two tiles by turns; those of the upper ones, and
what is within one of them; and what is within a lower one. Within a stage there are four: a residual block's inputs
after ELU, what is within the block, and its inputs and outputs."""

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
    counters: Counters


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
    c, inputs = w.convolutions[0], r.buffers[_UPPER]
    inputs[c.padding * c.channels :][: vectors.size] = vectors.reshape(-1)
    continue_input(c, state, is_start, inputs, len(vectors))
    convolve(c, w.weights, inputs, inputs, len(vectors), x)


@kernel
def _run_lstm(w, r, num_frames, begin, end, states, slots, is_start):
    """Add an LSTM's outputs of the frames from `begin` to `end` to `r.x`, in which each row has `num_frames`.

    The rows go together through each frame, for which the weights are read.
    """
    num_layers, num_rows, width = len(w.recurrent), len(slots), w.recurrent.shape[2]
    size = num_rows * num_frames * width
    x = r.x[:size].reshape(num_rows, num_frames, width)
    outputs = r.remembered[:size].reshape(num_rows, num_frames, width)
    outputs[:, begin:end] = x[:, begin:end]
    memory = np.zeros((num_rows, 2, width), np.float32)
    for layer in range(num_layers):
        c = w.convolutions[1 + layer]
        gates = r.gates[: num_rows * num_frames * c.width].reshape(num_rows, num_frames, c.width)
        for row in range(num_rows):  # In this order: some numbers more are written, where the next row's are.
            at = row * num_frames + begin
            inputs = r.remembered[at * width :]
            convolve(c, w.weights, inputs, inputs, end - begin, r.gates[at * c.width :])
        kept = states.shape[1] - 2 * (num_layers - layer) * width
        for row in range(num_rows):
            memory[row] = 0
            if not is_start:
                memory[row] = states[slots[row], kept : kept + 2 * width].reshape(2, width)
        for frame in range(begin, end):
            multiply_rows(memory[:, 0], w.recurrent[layer], gates[:, frame], r.sums)
            for row in range(num_rows):
                _update(r.sums[row], memory[row, 1], memory[row, 0])
                outputs[row, frame] = memory[row, 0]
        for row in range(num_rows):
            states[slots[row], kept : kept + 2 * width] = memory[row].reshape(-1)
    x[:, begin:end] += outputs[:, begin:end]


@inline
def _stage_number(w, stage):
    """Return the number of the convolution that a stage begins with; behind the last stage, of the last one."""
    return 1 + len(w.recurrent) + stage * (1 + 2 * w.num_blocks)


@kernel
def _run_stage(w, stage, num_frames, state, is_start, inputs, buffers, outputs):
    """Run a stage on a tile's activated `inputs`, and write its activated outputs to `outputs`.

    Both have room in front for the positions before the tile's, and may be the same. `is_start` tells whether it is the
    first of a sentence, whose state is `state` [numbers]. Of `buffers` [buffers, size] four are overwritten.
    """
    activated, inner, block_inputs, block_outputs = buffers[0], buffers[1], buffers[2], buffers[3]
    number = _stage_number(w, stage)
    c = w.convolutions[number]
    continue_input(c, state, is_start, inputs, num_frames * c.rate)
    convolve(c, w.weights, inputs, inputs, num_frames * c.rate, block_inputs)
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
    c = w.convolutions[number + 1]
    elu(block_inputs[: num_positions * c.channels], outputs[c.padding * c.channels :])


@kernel
def _run_upper_stages(w, r, x, state, is_start, number):
    """Run a sentence's `number`-th tile `x` [frames, channels] through the first half of the stages."""
    c, num_upper = w.convolutions[_stage_number(w, 0)], w.num_stages // 2
    inputs, handed_on = r.buffers[_UPPER], r.buffers[number % 2]
    elu(x, (inputs if num_upper else handed_on)[c.padding * c.channels :])
    for stage in range(num_upper):
        outputs = handed_on if stage == num_upper - 1 else inputs
        _run_stage(
            w, stage, len(x) // c.channels, state, is_start, inputs, r.buffers[_UPPER + 1 : _LOWER], outputs
        )


@kernel
def _run_lower_stages(w, r, num_frames, state, is_start, number, samples):
    """Go on with the other half, and write the tile's samples [frames * hop]."""
    inputs, last = r.buffers[number % 2], r.buffers[_LOWER]
    for stage in range(w.num_stages // 2, w.num_stages):
        _run_stage(w, stage, num_frames, state, is_start, inputs, r.buffers[_LOWER:], inputs)
    c = w.convolutions[_stage_number(w, w.num_stages)]
    continue_input(c, state, is_start, inputs, len(samples))
    convolve(c, w.weights, inputs, inputs, len(samples), last)
    samples[:] = last[: len(samples)]


@kernel
def decode(weights, room, vectors, states, slots, is_first, samples):
    """Write the samples [rows, frames * hop] of float32 vectors [rows, frames, dimension].

    `states` are [slots, numbers], of which the rows are those of `slots` [rows]; `is_first` tells whether they are at
    their sentences' starts. `weights` and `room` are the fields of `DecoderWeights` and `DecoderRoom`.

    This runs one thread, which takes part in every phase that is not over.
    """
    w, r = DecoderWeights(*weights), DecoderRoom(*room)
    num_rows, num_frames, _ = vectors.shape
    num_channels, hop = w.convolutions[1].channels, samples.shape[1] // num_frames
    team = new_team(r.counters)
    if takes_alone(team):
        for row in range(num_rows):
            for begin in range(0, num_frames, w.tile_frames):
                x = r.x[(row * num_frames + begin) * num_channels :]
                tile = vectors[row, begin : min(begin + w.tile_frames, num_frames)]
                _run_first(w, r, tile, states[slots[row]], is_first and begin == 0, x)
    meet(team, 1)
    # A tile of every row, then the next one of every row.
    num_tiles = -(-num_frames // w.tile_frames) * num_rows
    for turn in range(num_tiles + _PIECES - 1):
        piece = take(team)
        while piece < _PIECES:
            # The LSTM comes last, because it takes the least time.
            number = turn - (_PIECES - 1 - piece)
            tile, row = number // num_rows, number % num_rows
            begin, end = tile * w.tile_frames, min((tile + 1) * w.tile_frames, num_frames)
            is_start = is_first and tile == 0
            if not 0 <= number < num_tiles:
                pass
            elif piece == 0:
                made = samples[row, begin * hop : end * hop]
                _run_lower_stages(w, r, end - begin, states[slots[row]], is_start, number, made)
            elif piece == 1:
                first = row * num_frames
                x = r.x[(first + begin) * num_channels : (first + end) * num_channels]
                _run_upper_stages(w, r, x, states[slots[row]], is_start, number)
            elif row == 0 and len(w.recurrent):
                _run_lstm(w, r, num_frames, begin, end, states, slots, is_start)
            piece = take(team)
        meet(team, _PIECES)


def new_decoder_counters(num_rows: int, num_frames: int, tile_frames: int) -> Counters:
    """Make the counters of a call for so many frames."""
    return new_counters(_PIECES + num_rows * -(-num_frames // tile_frames))
