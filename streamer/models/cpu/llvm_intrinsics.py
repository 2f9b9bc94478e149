"""Attention's innermost loops in `decode_step`, and what numba has no functions for, written as LLVM code.

Nothing here is specific to a processor: LLVM maps the vectors to the processor's instructions, and splits vectors that
are wider than its registers.
"""

# ruff: noqa: ARG001  (an intrinsic need not use all its arguments)
from __future__ import annotations

import sys

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

LANES = 16
"""The int32 or float32 numbers in a vector of 512 bits."""
POSITIONS = 8
"""The positions of a cache that attention reads together."""
HEAD_PART = 64
"""The unit of a head's size in attention's vectors; heads of no multiple take a plain loop. Bark's have this size."""
_CHAINS = 2
"""The number of sums among which positions alternate: a single sum would wait for each addition."""

_i32, _f32 = ir.IntType(32), ir.FloatType()
_sums, _floats = ir.VectorType(_i32, LANES), ir.VectorType(_f32, LANES)


def _indices(values: range | list[int]) -> ir.Constant:
    return ir.Constant(ir.VectorType(_i32, len(values)), [ir.Constant(_i32, value) for value in values])


_EVEN, _ODD = _indices(range(0, 2 * LANES, 2)), _indices(range(1, 2 * LANES, 2))
_INTERLEAVED = [half * LANES + lane for lane in range(LANES) for half in range(2)]
_LOWER, _UPPER = _indices(_INTERLEAVED[:LANES]), _indices(_INTERLEAVED[LANES:])


def _splat(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    vector = ir.VectorType(value.type, LANES)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, _i32(0))
    return builder.shuffle_vector(first, first, _indices([0] * LANES))


def _load(builder: ir.IRBuilder, address: ir.Value, offset: int, kind: ir.Type, align: int) -> ir.Value:
    place = builder.inttoptr(builder.add(address, address.type(offset)), kind.as_pointer())
    return builder.load(place, align=align)


def _halves_at(builder: ir.IRBuilder, address: ir.Value) -> list[ir.Value]:
    """Load `2 * LANES` bfloat16 as float32: those at even places and those at odd ones, which takes no shuffle."""
    pairs = _load(builder, address, 0, _sums, 2)
    even = builder.shl(pairs, _splat(builder, _i32(16)))
    odd = builder.and_(pairs, _splat(builder, _i32(0xFFFF_0000)))
    return [builder.bitcast(half, _floats) for half in (even, odd)]


def _multiply_add(builder: ir.IRBuilder, first: ir.Value, second: ir.Value, third: ir.Value) -> ir.Value:
    return builder.fadd(builder.fmul(first, second, flags=["contract"]), third, flags=["contract"])


def _lane_sums(builder: ir.IRBuilder, vectors: list[ir.Value]) -> ir.Value:
    """Sum up the lanes of each of 8 vectors to float32 [8]: halves are added, and neighbours interleaved."""

    def add(first: ir.Value, second: ir.Value, low: list[int], high: list[int]) -> ir.Value:
        return builder.fadd(
            builder.shuffle_vector(first, second, _indices(low)),
            builder.shuffle_vector(first, second, _indices(high)),
        )

    lower, upper = list(range(8)), list(range(8, 16))
    vectors = [add(vector, vector, lower, upper) for vector in vectors]
    pairs = zip(vectors[::2], vectors[1::2], strict=True)
    low, high = [0, 8, 1, 9, 4, 12, 5, 13], [2, 10, 3, 11, 6, 14, 7, 15]
    vectors = [add(first, second, low, high) for first, second in pairs]
    pairs = zip(vectors[::2], vectors[1::2], strict=True)
    low, high = [0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15]
    first, second = (add(first, second, low, high) for first, second in pairs)
    return add(first, second, [0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15])


@intrinsic
def dot_keys(typing_context, query, keys, size, scores):
    """Multiply float32 `query` [size] with bfloat16 keys [POSITIONS, size] to float32 `scores` [POSITIONS].

    Arguments are addresses; `size` is a multiple of HEAD_PART.
    """

    def generate(context, builder, signature, arguments):
        query, keys, size, scores = arguments
        word = size.type
        zero = ir.Constant(_floats, None)
        sums = [cgutils.alloca_once_value(builder, zero) for _ in range(POSITIONS)]
        for place in sums:
            builder.store(zero, place)
        stride = builder.mul(size, word(2))
        with cgutils.for_range(builder, builder.udiv(size, word(2 * LANES))) as loop:
            part_at = builder.add(query, builder.mul(loop.index, word(8 * LANES)))
            parts = [_load(builder, part_at, 4 * LANES * half, _floats, 4) for half in range(2)]
            parts = [builder.shuffle_vector(*parts, which) for which in (_EVEN, _ODD)]
            at = builder.add(keys, builder.mul(loop.index, word(4 * LANES)))
            for position, place in enumerate(sums):
                halves = _halves_at(builder, builder.add(at, builder.mul(stride, word(position))))
                total = builder.load(place)
                for half, part in zip(halves, parts, strict=True):
                    total = _multiply_add(builder, half, part, total)
                builder.store(total, place)
        total = _lane_sums(builder, [builder.load(place) for place in sums])
        builder.store(total, builder.inttoptr(scores, total.type.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(*[types.uintp] * 4), generate


@intrinsic
def add_values(typing_context, weights, values, num_blocks, size, out):
    """Add float32 `weights` [num_blocks * POSITIONS] times bfloat16 values [..., size] to float32 `out` [size].

    Arguments are addresses; `size` is a multiple of HEAD_PART. All positions are read for each HEAD_PART of `size`,
    so that the sums stay in registers and memory is read in order.
    """

    def generate(context, builder, signature, arguments):
        weights, values, num_blocks, size, out = arguments
        word = size.type
        stride = builder.mul(size, word(2))
        zero = ir.Constant(_floats, None)
        num_parts = HEAD_PART // LANES
        sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(num_parts)] for _ in range(_CHAINS)]
        with cgutils.for_range(builder, builder.udiv(size, word(HEAD_PART))) as part:
            for chain in sums:
                for place in chain:
                    builder.store(zero, place)
            at = builder.add(values, builder.mul(part.index, word(2 * HEAD_PART)))
            with cgutils.for_range(builder, num_blocks) as block:
                first = builder.mul(block.index, word(POSITIONS))
                weights_at = builder.add(weights, builder.mul(first, word(4)))
                for position in range(POSITIONS):
                    factor = _splat(builder, _load(builder, weights_at, 4 * position, _f32, 4))
                    row = builder.add(at, builder.mul(stride, builder.add(first, word(position))))
                    halves = [
                        half
                        for line in range(0, num_parts, 2)
                        for half in _halves_at(builder, builder.add(row, word(2 * LANES * line)))
                    ]
                    for half, place in zip(halves, sums[position % _CHAINS], strict=True):
                        builder.store(_multiply_add(builder, half, factor, builder.load(place)), place)
            totals = [builder.load(place) for place in sums[0]]
            for chain in sums[1:]:
                totals = [
                    builder.fadd(total, builder.load(place))
                    for total, place in zip(totals, chain, strict=True)
                ]
            out_at = builder.add(out, builder.mul(part.index, word(4 * HEAD_PART)))
            for index in range(num_parts):
                pair = totals[index - index % 2 :][:2]
                made = builder.shuffle_vector(*pair, (_LOWER, _UPPER)[index % 2])
                before = _load(builder, out_at, 4 * LANES * index, _floats, 4)
                place = builder.inttoptr(builder.add(out_at, word(4 * LANES * index)), _floats.as_pointer())
                builder.store(builder.fadd(before, made), place, align=4)
        return context.get_dummy_value()

    return types.void(*[types.uintp] * 5), generate


@intrinsic
def prefer_wide_vectors(typing_context):
    """Have this function's loops use vectors of 512 bits where there are some; LLVM prefers 256 on many processors."""

    def generate(context, builder, signature, arguments):
        # llvmlite's own `add` refuses attributes with values.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def as_float(typing_context, bits):
    """Return the float32 with these 32 bits."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], _f32)

    return types.float32(types.uint32), generate


@intrinsic
def as_bits(typing_context, value):
    """Return the 32 bits of a float32."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], _i32)

    return types.uint32(types.float32), generate


@intrinsic
def add_atomically(typing_context, address, amount):
    """Add to the int64 at `address`, seen by all threads, and return what it was."""

    def generate(context, builder, signature, arguments):
        place = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", place, arguments[1], "acq_rel")

    return types.int64(types.uintp, types.int64), generate


yield_thread = types.ExternalFunction(
    "SwitchToThread" if sys.platform == "win32" else "sched_yield", types.int32()
)
"""Offers this core to another thread."""
