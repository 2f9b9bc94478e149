"""Convolutions of the codec on a CPU, compiled: `compiled_codec` calls them.

Neighbouring positions lie in the lanes of a vector, so that a convolution reads its input where it lies. Every output
is summed up in the same order wherever it stands and whatever is computed beside it.
"""

# ruff: noqa: ARG001  (an intrinsic need not use all its arguments)
from __future__ import annotations

from typing import Final

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from streamer.models.cpu.integer_products import HAS_AVX512
from streamer.models.cpu.llvm_intrinsics import prefer_wide_vectors
from streamer.models.cpu.numba_math import exp, kernel

LANES = 16 if HAS_AVX512 else 8
VECTORS: Final = 2
POSITIONS = LANES * VECTORS
"""The positions that are computed together."""
CHANNELS = 8 if HAS_AVX512 else 4
"""The output channels that are computed together: as many as have their sums in registers."""

_i32, _f32 = ir.IntType(32), ir.FloatType()
_floats = ir.VectorType(_f32, LANES)


@intrinsic
def _convolve_block(
    typing_context, x, x_stride, num_inputs, num_taps, tap_stride, weights, biases, y, y_stride
):
    """Write CHANNELS x POSITIONS of a convolution's outputs to float32 `y`, whose channels are `y_stride` apart.

    `x` is the address of the first position's first tap; its channels are `x_stride` apart and its taps `tap_stride`.
    Weights are float32 [num_inputs, num_taps, CHANNELS]. Arguments are addresses, and strides in bytes.
    """

    def generate(context, builder, signature, arguments):
        x, x_stride, num_inputs, num_taps, tap_stride, weights, biases, y, y_stride = arguments
        word = x.type

        def load(address, offset, kind):
            place = builder.inttoptr(builder.add(address, word(offset)), kind.as_pointer())
            return builder.load(place, align=4)

        def splat(address, offset):
            value = load(address, offset, _f32)
            first = builder.insert_element(ir.Constant(_floats, ir.Undefined), value, _i32(0))
            lanes = ir.Constant(ir.VectorType(_i32, LANES), [_i32(0)] * LANES)
            return builder.shuffle_vector(first, first, lanes)

        sums = [[cgutils.alloca_once(builder, _floats) for _ in range(VECTORS)] for _ in range(CHANNELS)]
        for channel, places in enumerate(sums):
            bias = splat(biases, 4 * channel)
            for place in places:
                builder.store(bias, place)
        with cgutils.for_range(builder, num_inputs) as inputs:
            row = builder.add(x, builder.mul(inputs.index, x_stride))
            first_weight = builder.mul(inputs.index, num_taps)
            with cgutils.for_range(builder, num_taps) as taps:
                at = builder.add(row, builder.mul(taps.index, tap_stride))
                number = builder.add(first_weight, taps.index)
                weights_at = builder.add(weights, builder.mul(number, word(4 * CHANNELS)))
                vectors = [load(at, 4 * LANES * vector, _floats) for vector in range(VECTORS)]
                for channel, places in enumerate(sums):
                    weight = splat(weights_at, 4 * channel)
                    for vector, place in zip(vectors, places, strict=True):
                        product = builder.fmul(vector, weight, flags=["contract"])
                        total = builder.fadd(builder.load(place), product, flags=["contract"])
                        builder.store(total, place)
        for channel, places in enumerate(sums):
            out = builder.add(y, builder.mul(y_stride, word(channel)))
            for vector, place in enumerate(places):
                at = builder.add(out, word(4 * LANES * vector))
                builder.store(builder.load(place), builder.inttoptr(at, _floats.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(*[types.uintp] * 9), generate


@kernel
def convolve(x, weights, biases, dilation, y):
    """Convolve `x` [rows, inputs, length] to `y` [rows, outputs, positions], both float32.

    Weights are [groups, inputs, taps, CHANNELS] and biases [groups, CHANNELS]; `y` has all channels of all groups, and
    at least POSITIONS positions. Position p reads the inputs p, p + dilation and so on, one for each tap.
    """
    num_groups, num_inputs, num_taps, _ = weights.shape
    num_positions = y.shape[2]
    for row in range(len(x)):
        begin = 0
        while begin < num_positions:
            first = min(begin, num_positions - POSITIONS)  # The last block begins within the one before.
            for group in range(num_groups):
                _convolve_block(
                    x[row].ctypes.data + np.uintp(4 * first),
                    x.strides[1],
                    num_inputs,
                    num_taps,
                    4 * dilation,
                    weights[group].ctypes.data,
                    biases[group].ctypes.data,
                    y[row, group * CHANNELS].ctypes.data + np.uintp(4 * first),
                    y.strides[1],
                )
            begin += POSITIONS


@kernel
def interleave(phases, y):
    """Write float32 `phases` [rows, channels * stride, length] to `y` [rows, channels, length * stride]."""
    num_rows, num_channels, size = y.shape
    length = phases.shape[2]
    stride = size // length
    for row in range(num_rows):
        for channel in range(num_channels):
            out = y[row, channel]
            for phase in range(stride):
                values = phases[row, channel * stride + phase]
                for position in range(length):
                    out[position * stride + phase] = values[position]


@kernel
def elu(x, y):
    """Write ELU of float32 `x` to `y`, both flat."""
    prefer_wide_vectors()
    for index in range(len(x)):
        value = x[index]
        y[index] = max(value, np.float32(0)) + (exp(min(value, np.float32(0))) - np.float32(1))
