"""Products of integers as LLVM vectors, so that the compiler has no choice; `int8_linear` multiplies by them.

A processor with VNNI multiplies bytes: four weights with four inputs in each lane of a vector (`vpdpbusd`). The inputs
must then have no sign, so that 128 is added to them, which the initial values of the sums take off again. Any other
processor multiplies pairs of int16, for which LLVM chooses the instructions (on x86 `vpmaddwd`).
"""

# ruff: noqa: ARG001  (an intrinsic need not use all its arguments)
from __future__ import annotations

import platform
from collections.abc import Callable
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import config
from numba.core import cgutils, types
from numba.extending import intrinsic


def _has(feature: str) -> bool:
    """Return whether the processor that numba compiles for has a feature, by LLVM's name.

    Numba compiles for this one, unless NUMBA_CPU_FEATURES names features, as in "+avx2,+fma".
    """
    chosen: str | None = config.CPU_FEATURES  # type: ignore[attr-defined]
    if chosen is not None:
        return f"+{feature}" in chosen.split(",")
    return bool(get_host_cpu_features().get(feature))


IS_X86 = platform.machine().lower() in ("x86_64", "amd64")
HAS_AVX512 = _has("avx512bw") and _has("avx512vl")
HAS_VNNI = (HAS_AVX512 and _has("avx512vnni")) or _has("avxvnni")
LANES = 16 if HAS_AVX512 else 8
"""The int32 numbers in a vector."""
GROUP = 32
"""The outputs of a linear layer that are computed together."""
UNIT = 4 if HAS_VNNI else 2
"""The neighbouring inputs that a lane multiplies at once."""
INPUTS = 16
"""The unit of a packed linear layer's inputs, which zeros fill up to a multiple of it."""
INPUT = np.uint8 if HAS_VNNI else np.int16
"""The type of quantized inputs."""
OFFSET = 128 if HAS_VNNI else 0
"""What is added to a quantized input."""
PARTS = 2 if HAS_VNNI else 1
"""The rows of type INPUT that an input row of int16 consists of: its upper bytes, and its lower ones."""
ROWS_AT_ONCE = 8 if HAS_AVX512 else 2
"""The most rows of type INPUT whose sums of a group fit into the registers."""

_MAX_SETS = 8 if HAS_AVX512 else 2
"""The sums among which a single row alternates, so that they fit into the registers."""

LINE_BYTES = 64
"""The unit in which memory is read."""

_i8, _i16, _i32, _f32 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.FloatType()
NUM_VECTORS = GROUP // LANES
"""The vectors of a group of outputs."""
_sums, _floats = ir.VectorType(_i32, LANES), ir.VectorType(_f32, LANES)
_shorts = ir.VectorType(_i16, 2 * LANES)
_packed = _sums if HAS_VNNI else ir.VectorType(_i8, 2 * LANES)
"""A vector's weights of one unit of inputs, in memory."""


def _load(builder: ir.IRBuilder, address: ir.Value, offset: int, kind: ir.Type, align: int = 1) -> ir.Value:
    place = builder.inttoptr(builder.add(address, address.type(offset)), kind.as_pointer())
    return builder.load(place, align=align)


def _prefetch(builder: ir.IRBuilder, address: ir.Value) -> None:
    """Begin to load what will soon be read; an address behind the end does no harm."""
    byte = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, _i32, _i32, _i32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")  # type: ignore[no-untyped-call]
    for_reading, all_caches, data = _i32(0), _i32(3), _i32(1)
    builder.call(function, [builder.inttoptr(address, byte), for_reading, all_caches, data])


def in_order(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Return `value`, computed before what follows: else LLVM multiplies in an order of its own, and rounds by it."""
    kind = ir.FunctionType(_floats, [_floats])
    name = f"llvm.arithmetic.fence.v{LANES}f32"
    function = cgutils.get_or_insert_function(builder.module, kind, name)  # type: ignore[no-untyped-call]
    return builder.call(function, [value])


def splat(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Return a vector with `value` in each of its LANES."""
    vector = ir.VectorType(value.type, LANES)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, _i32(0))
    return builder.shuffle_vector(first, first, ir.Constant(_sums, [_i32(0)] * LANES))


def _ints(value: int) -> ir.Constant:
    return ir.Constant(_sums, [_i32(value)] * LANES)


def _weights(builder: ir.IRBuilder, address: ir.Value, vector: int) -> ir.Value:
    """Load the weights of a vector's outputs, for one unit of inputs, as `_add_products` takes them."""
    packed = _load(builder, address, LANES * UNIT * vector, _packed)
    return packed if HAS_VNNI else builder.sext(packed, _shorts)


def _weights_of_nibbles(builder: ir.IRBuilder, address: ir.Value) -> list[ir.Value]:
    """Load what `pack_nibbles` has packed as `_add_products` takes it: for each pair of vectors, lower halves, and all.

    The sums of the one that all belong to are too large by those of the lower halves: see `_totals`.
    """
    made: list[ir.Value] = []
    lower = ir.Constant(_packed, [0x0F0F_0F0F if HAS_VNNI else 0x0F] * _packed.count)
    for pair in range(NUM_VECTORS // 2):
        both = _load(builder, address, LANES * UNIT * pair, _packed)
        made += (builder.and_(both, lower), both)
    return made if HAS_VNNI else [builder.sext(packed, _shorts) for packed in made]


def _add_products(builder: ir.IRBuilder, sums: ir.Value, inputs: ir.Value, weights: ir.Value) -> ir.Value:
    """Add the products of one unit of inputs, an int32's bits, with the weights of a vector's outputs."""
    inputs = splat(builder, inputs)
    if HAS_VNNI:
        kind = ir.FunctionType(_sums, [_sums, _sums, _sums])
        name = f"llvm.x86.avx512.vpdpbusd.{32 * LANES}"
        function = cgutils.get_or_insert_function(builder.module, kind, name)  # type: ignore[no-untyped-call]
        return builder.call(function, [sums, inputs, weights])
    wide = ir.VectorType(_i32, 2 * LANES)
    products = builder.mul(builder.sext(weights, wide), builder.sext(builder.bitcast(inputs, _shorts), wide))
    even, odd = (ir.Constant(_sums, [_i32(lane) for lane in range(first, 2 * LANES, 2)]) for first in (0, 1))
    pairs = [builder.shuffle_vector(products, products, places) for places in (even, odd)]
    return builder.add(sums, builder.add(*pairs))


class _Kind(NamedTuple):
    """A kind of product: the parts of each row, the bytes fetched for each unit, and how weights are packed."""

    num_parts: int = 1
    fetched_bytes: int = 0
    has_nibbles: bool = False


_Sums = list[list[list[ir.Value]]]
"""Places in memory, which become registers: [sets, rows, vectors]. Few rows alternate among sets of sums, because an
addition to a sum waits for the one before."""


def _new_sum(builder: ir.IRBuilder) -> ir.Value:
    return cgutils.alloca_once(builder, _sums)  # type: ignore[no-untyped-call]


def _new_sums(builder: ir.IRBuilder, offsets: ir.Value, num_rows: int, kind: _Kind) -> _Sums:
    """Make sums that begin with the `offsets` of a group, in upper rows, and else with zero, as with nibbles."""
    sums = [
        [[_new_sum(builder) for _ in range(NUM_VECTORS)] for _ in range(num_rows)]
        for _ in range(min(4, max(1, _MAX_SETS // num_rows)))
    ]
    for turn, per_set in enumerate(sums):
        for row, places in enumerate(per_set):
            for vector, place in enumerate(places):
                start = _load(builder, offsets, 4 * LANES * vector, _sums)
                has_offset = turn == 0 and row % kind.num_parts == 0 and not kind.has_nibbles
                builder.store(start if has_offset else ir.Constant(_sums, None), place)
    return sums


def _add_units(
    builder: ir.IRBuilder,
    sums: _Sums,
    weights: ir.Value,
    rows: list[ir.Value],
    number: ir.Value,
    ahead: ir.Value,
    kind: _Kind,
) -> None:
    """Add the products of one unit of inputs to each set of sums, from unit `number` times the sets on.

    For each unit, as much is fetched of what follows `ahead` as its `kind` says.
    """
    word = weights.type
    first = builder.mul(number, word(len(sums)))
    unit_bytes = GROUP * UNIT // 2 if kind.has_nibbles else GROUP * UNIT
    weights_at = builder.add(weights, builder.mul(first, word(unit_bytes)))
    inputs_at = builder.mul(first, word(4))
    for turn, per_set in enumerate(sums):
        unit_at = builder.add(weights_at, word(turn * unit_bytes))
        fetched_at = builder.add(ahead, builder.mul(first, word(kind.fetched_bytes)))
        for line_at in range(turn * kind.fetched_bytes, (turn + 1) * kind.fetched_bytes, LINE_BYTES):
            _prefetch(builder, builder.add(fetched_at, word(line_at)))
        if kind.has_nibbles:
            vectors = _weights_of_nibbles(builder, unit_at)
        else:
            vectors = [_weights(builder, unit_at, vector) for vector in range(NUM_VECTORS)]
        for row, places in zip(rows, per_set, strict=True):
            inputs = _load(builder, builder.add(row, inputs_at), 4 * turn, _i32)
            for vector, place in zip(vectors, places, strict=True):
                builder.store(_add_products(builder, builder.load(place), inputs, vector), place)


def _totals(builder: ir.IRBuilder, sums: _Sums, row: int, num_parts: int) -> list[ir.Value]:
    """Return a row's sums for each vector as int32: those of all sets, and of both parts."""
    return [
        _both_parts(
            builder,
            [
                reduce(builder.add, [builder.load(per_set[part][vector]) for per_set in sums])
                for part in range(row * num_parts, (row + 1) * num_parts)
            ],
        )
        for vector in range(NUM_VECTORS)
    ]


def _both_parts(builder: ir.IRBuilder, totals: list[ir.Value]) -> ir.Value:
    """Return the sums of upper bytes and of lower ones as those of int16."""
    if len(totals) == 1:
        return totals[0]
    return builder.add(builder.shl(totals[0], _ints(8)), totals[1])


def _totals_of_nibbles(
    builder: ir.IRBuilder, totals: list[ir.Value], offsets: ir.Value, excess: ir.Value, num_parts: int
) -> list[ir.Value]:
    """Return what the weights' own sums are.

    What lower halves make is a 16th, and their 8 make the same of every output: `excess`, which is negated.
    """
    made: list[ir.Value] = []
    for pair in range(0, NUM_VECTORS, 2):
        lower, both = totals[pair : pair + 2]
        made += (builder.add(builder.shl(lower, _ints(4)), excess), builder.sub(both, lower))
    starts = [_load(builder, offsets, 4 * LANES * vector, _sums) for vector in range(NUM_VECTORS)]
    if num_parts > 1:
        starts = [builder.shl(start, _ints(8)) for start in starts]
    return [builder.add(*each) for each in zip(made, starts, strict=True)]


def _product(num_results: int, kind: _Kind) -> Callable[..., Any]:
    """Make the product of a number of rows, each of which has one part or an upper and a lower one."""
    num_parts = kind.num_parts
    num_rows = num_results * num_parts

    def product(
        typing_context, weights, offsets, scales, x, x_stride, num_units, factors, y, y_stride, ahead, excesses
    ):  # fmt: skip
        """Multiply int8 weights [num_units, GROUP, UNIT] with `x` [rows, num_units * UNIT] of type INPUT.

        `num_units` is a multiple of 4. The sums begin with int32 `offsets` [GROUP] and are exact. With two parts,
        rows alternate between upper and lower ones. The result is float32 `y` [rows / parts, GROUP], times `scales`
        [GROUP] and `factors` [rows / parts]. Arguments are addresses, and strides in bytes. What lies from `ahead` on
        is fetched into the cache, as it will be read next. `excesses` int32 [rows / parts] are read for nibbles only:
        see `excess_of_nibbles`.
        """

        def generate(context, builder, signature, arguments):
            weights, offsets, scales, x, x_stride, num_units, factors, y, y_stride, ahead, excesses = (
                arguments
            )
            word = weights.type
            sums = _new_sums(builder, offsets, num_rows, kind)
            rows = [builder.add(x, builder.mul(x_stride, word(row))) for row in range(num_rows)]
            with cgutils.for_range(builder, builder.udiv(num_units, word(len(sums)))) as loop:
                _add_units(builder, sums, weights, rows, loop.index, ahead, kind)
            for row in range(num_results):
                factor = splat(builder, _load(builder, factors, 4 * row, _f32))
                out = builder.add(y, builder.mul(y_stride, word(row)))
                totals = _totals(builder, sums, row, num_parts)
                if kind.has_nibbles:
                    excess = splat(builder, _load(builder, excesses, 4 * row, _i32))
                    totals = _totals_of_nibbles(builder, totals, offsets, excess, num_parts)
                for vector, total in enumerate(totals):
                    scale = _load(builder, scales, 4 * LANES * vector, _floats)
                    scaled = in_order(builder, builder.fmul(builder.sitofp(total, _floats), scale))
                    value = builder.fmul(scaled, factor)
                    place = builder.add(out, word(4 * LANES * vector))
                    builder.store(value, builder.inttoptr(place, _floats.as_pointer()), align=4)
            return context.get_dummy_value()

        return types.void(*[types.uintp] * 11), generate

    return intrinsic(product)


product_of_1, product_of_2, product_of_4, product_of_8 = (_product(rows, _Kind()) for rows in (1, 2, 4, 8))
fetching_product_of_8 = _product(8, _Kind(fetched_bytes=LINE_BYTES))
"""The same, while half as many bytes as it reads of weights are fetched from `ahead` on."""
words_of_1, words_of_2, words_of_4, words_of_8 = (
    _product(rows, _Kind(PARTS, GROUP * UNIT)) for rows in (1, 2, 4, 8)
)
"""The same for rows of int16, while as many bytes as it reads of weights are fetched."""
nibbles_of_1, nibbles_of_2, nibbles_of_4, nibbles_of_8 = (
    _product(rows, _Kind(PARTS, GROUP * UNIT // 2, has_nibbles=True)) for rows in (1, 2, 4, 8)
)
"""The same with weights that `pack_nibbles` has packed."""
