"""The codec's convolutions on a CPU, compiled, and what stands between them; `codec_kernels` puts them together.

Positions follow each other in memory, each with all its channels. What an output position reads is then one stretch of
numbers, a window, and a convolution is the product of all windows with a matrix, whose outputs are a vector's lanes.
Every output is summed up in the same order wherever it stands and whatever is computed beside it.
"""

# ruff: noqa: ARG001  (an intrinsic need not use all its arguments)
from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from streamer.models.cpu.integer_products import HAS_AVX512
from streamer.models.cpu.llvm_intrinsics import prefer_wide_vectors
from streamer.models.cpu.numba_math import exp, inline, kernel

LANES = 16 if HAS_AVX512 else 8
PAIR = 2 * LANES
"""The outputs that are computed together where a convolution has a multiple of them; else it is LANES."""
ROW_GROUP = 8 * LANES
"""The outputs of a single row that are computed together."""
_ROWS_OF_PAIRS = 8 if HAS_AVX512 else 6
_ROWS_OF_VECTORS = 16 if HAS_AVX512 else 12
MOST_ROWS: Final = _ROWS_OF_VECTORS
"""The most rows that are computed together: a convolution writes up to so many, less one, behind its last."""

CONVOLUTION = np.dtype(
    [
        (name, np.int64)
        for name in (
            "rate",  # the input positions of a frame
            "padding",  # the positions that stand before the first window's last one
            "reflects",  # whether a sentence's reflection stands there at its start, or zeros
            "tail",  # where the state keeps them
            "channels",  # the numbers of an input position
            "window",  # the numbers that a row reads
            "more_channels",  # the same for a second input, whose products are added
            "more_window",
            "fold",  # the input positions by which rows are apart
            "width",  # the outputs of a row
            "group",  # the outputs that are computed together
            "weights",  # where the matrix [groups, window + more_window, group] is
            "biases",  # where the biases [width] are
        )
    ]
)
"""What a convolution is. A row of outputs has `fold` positions, so that it fills vectors: zeros in the matrix stand for
what one of them does not read."""

_i32, _f32 = ir.IntType(32), ir.FloatType()
_floats = ir.VectorType(_f32, LANES)


def _multiply_add(builder: ir.IRBuilder, first: ir.Value, second: ir.Value, third: ir.Value) -> ir.Value:
    """Return `first` times `second` plus `third`; as a function it is not put into another order."""
    kind = ir.FunctionType(_floats, [_floats] * 3)
    name = f"llvm.fmuladd.v{LANES}f32"
    function = cgutils.get_or_insert_function(builder.module, kind, name)  # type: ignore[no-untyped-call]
    return builder.call(function, [first, second, third])


def _load(builder: ir.IRBuilder, address: ir.Value, offset: int, kind: ir.Type) -> ir.Value:
    place = builder.inttoptr(builder.add(address, address.type(offset)), kind.as_pointer())
    return builder.load(place, align=4)


def _splat(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    first = builder.insert_element(ir.Constant(_floats, ir.Undefined), value, _i32(0))
    return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(_i32, LANES), [_i32(0)] * LANES))


def _product(num_rows: int, num_vectors: int) -> Callable[..., Any]:
    """Make the product of some rows with a matrix of some vectors' outputs, whose sums stay in registers."""

    def product(typing_context, x, x_step, window, more, more_step, more_window, weights, biases, y, y_step):
        """Write float32 `y` [num_rows, outputs]: `biases`, and `x` and `more` times `weights`.

        A row reads `window` numbers of `x` and `more_window` of `more`. Arguments are addresses, numbers, and steps
        from row to row in bytes.
        """

        def generate(context, builder, signature, arguments):
            x, x_step, window, more, more_step, more_window, weights, biases, y, y_step = arguments
            word = x.type
            sums = [
                [cgutils.alloca_once(builder, _floats) for _ in range(num_vectors)] for _ in range(num_rows)
            ]
            for places in sums:
                for vector, place in enumerate(places):
                    builder.store(_load(builder, biases, 4 * LANES * vector, _floats), place)
            line = word(4 * LANES * num_vectors)
            for address, step, size in ((x, x_step, window), (more, more_step, more_window)):
                rows = [builder.add(address, builder.mul(step, word(row))) for row in range(num_rows)]
                with cgutils.for_range(builder, size) as loop:
                    at = builder.add(weights, builder.mul(loop.index, line))
                    vectors = [
                        _load(builder, at, 4 * LANES * vector, _floats) for vector in range(num_vectors)
                    ]
                    offset = builder.mul(loop.index, word(4))
                    for row, places in zip(rows, sums, strict=True):
                        value = _splat(builder, _load(builder, builder.add(row, offset), 0, _f32))
                        for vector, place in zip(vectors, places, strict=True):
                            builder.store(_multiply_add(builder, value, vector, builder.load(place)), place)
                weights = builder.add(weights, builder.mul(size, line))
            for row, places in enumerate(sums):
                out = builder.add(y, builder.mul(y_step, word(row)))
                for vector, place in enumerate(places):
                    at = builder.add(out, word(4 * LANES * vector))
                    builder.store(builder.load(place), builder.inttoptr(at, _floats.as_pointer()), align=4)
            return context.get_dummy_value()

        return types.void(*[types.uintp] * 10), generate

    return intrinsic(product)


_product_of_pairs, _product_of_vectors = _product(_ROWS_OF_PAIRS, 2), _product(_ROWS_OF_VECTORS, 1)
_product_of_row = _product(1, ROW_GROUP // LANES)


@inline
def address(array, offset):
    """The address of a float32 in a contiguous array."""
    return array.ctypes.data + np.uintp(4 * offset)


@kernel
def convolve(c, weights, x, more, num_positions, y):
    """Write the outputs of convolution `c` for `num_positions` of flat float32 inputs to `y`, in rows.

    `x` begins with the positions before the first. Some rows more are written, of whatever stands behind the last.
    """
    if num_positions % c.fold:  # What has zeros for weights must be numbers all the same.
        x[(c.padding + num_positions) * c.channels :][: c.fold * c.channels] = 0
        more[num_positions * c.more_channels :][: c.fold * c.more_channels] = 0
    num_rows = -(-num_positions // c.fold)
    is_pair = c.group == PAIR
    rows_at_once = _ROWS_OF_PAIRS if is_pair else _ROWS_OF_VECTORS
    x_step, more_step = c.fold * c.channels, c.fold * c.more_channels
    for group in range(c.width // c.group):
        matrix = address(weights, c.weights + group * c.group * (c.window + c.more_window))
        biases = address(weights, c.biases + group * c.group)
        for row in range(0, num_rows, rows_at_once):
            first = address(x, row * x_step), np.uintp(4 * x_step), np.uintp(c.window)
            second = address(more, row * more_step), np.uintp(4 * more_step), np.uintp(c.more_window)
            out = address(y, row * c.width + group * c.group), np.uintp(4 * c.width)
            if is_pair:
                _product_of_pairs(*first, *second, matrix, biases, *out)
            else:
                _product_of_vectors(*first, *second, matrix, biases, *out)


@kernel
def multiply_rows(x, weights, biases, y):
    """Write `biases` [rows, outputs] plus `x` [rows, inputs] times `weights` to `y` [rows, outputs], all float32.

    Weights are [groups, inputs, ROW_GROUP], of which a group is fetched once for all rows.
    """
    none, num_inputs = np.uintp(0), np.uintp(x.shape[1])
    for group in range(len(weights)):
        matrix, offset = weights[group].ctypes.data, np.uintp(4 * ROW_GROUP * group)
        for row in range(len(x)):
            at = x[row].ctypes.data, none, num_inputs, none, none, none
            _product_of_row(*at, matrix, biases[row].ctypes.data + offset, y[row].ctypes.data + offset, none)


@kernel
def continue_input(c, state, is_start, x, num_positions):
    """Put what stands before the positions of a convolution's flat input there, and keep the last ones in `state`."""
    channels, padding = c.channels, c.padding
    tail = state[c.tail : c.tail + padding * channels]
    if not is_start:
        x[: padding * channels] = tail
    else:
        for distance in range(1, padding + 1):
            before = x[(padding - distance) * channels :][:channels]
            if c.reflects and distance < num_positions:
                before[:] = x[(padding + distance) * channels :][:channels]
            else:  # A sentence that is too short to be reflected is extended with zeros for it, as in EnCodec.
                before[:] = 0
    tail[:] = x[num_positions * channels :][: padding * channels]


@kernel
def elu(x, y):
    """Write ELU of float32 `x` to `y`, both flat."""
    prefer_wide_vectors()
    for index in range(len(x)):
        value = x[index]
        y[index] = exp(value) - np.float32(1) if value < 0 else value
