"""What attention and products round to integers, written as LLVM vectors, so that no short loop is left without them.

`int8_attention` calls these for every head of a position, and for a query's softmax weights; `int8_linear` calls those
of queries for a row of inputs, too.
"""

# ruff: noqa: ARG001  (an intrinsic need not use all its arguments)
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from streamer.models.cpu.integer_products import HAS_VNNI, LANES, in_order, splat

_i8, _i16, _i32, _f32 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.FloatType()
_ints, _floats = ir.VectorType(_i32, LANES), ir.VectorType(_f32, LANES)
_MAGIC = 12582912.0
"""1.5 * 2^23: added to a float32 far below, it rounds to a whole number, which are then the sum's last bits."""
_POWERS = (0.009618129, 0.055503324, 0.2402265, 0.6931472, 1.0)
"""2^x for |x| <= 0.5 as a polynomial, from the highest power on; its error of 6e-5 is far below 16 bits' rounding."""


def _vector(value: ir.Constant) -> ir.Constant:
    return ir.Constant(ir.VectorType(value.type, LANES), [value] * LANES)


def _float(value: float) -> ir.Constant:
    return _vector(ir.Constant(_f32, value))


def _load(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    return builder.load(builder.inttoptr(address, _floats.as_pointer()), align=4)


def _at(builder: ir.IRBuilder, address: ir.Value, first: ir.Value, size: int) -> ir.Value:
    return builder.add(address, builder.mul(first, address.type(size)))


def _multiply_add(builder: ir.IRBuilder, first: ir.Value, second: ir.Value, third: ir.Value) -> ir.Value:
    return builder.fadd(builder.fmul(first, second, flags=["contract"]), third, flags=["contract"])


def _over_vectors(
    builder: ir.IRBuilder, count: ir.Value, body: Callable[[ir.Value, ir.Value | None], None]
) -> None:
    """Call `body` with the first index of each full vector, and of a last one with which of its lanes there are."""
    word = count.type
    num_full = builder.udiv(count, word(LANES))
    with cgutils.for_range(builder, num_full) as loop:
        body(builder.mul(loop.index, word(LANES)), None)
    first = builder.mul(num_full, word(LANES))
    left = builder.trunc(builder.sub(count, first), _i32)
    with builder.if_then(builder.icmp_unsigned(">", left, _i32(0))):
        lanes = ir.Constant(_ints, [_i32(lane) for lane in range(LANES)])
        body(first, builder.icmp_unsigned("<", lanes, splat(builder, left)))


def _reduce(
    builder: ir.IRBuilder, vector: ir.Value, combine: Callable[[ir.Value, ir.Value], ir.Value]
) -> ir.Value:
    """Combine a vector's halves until a single number is left."""
    size = LANES
    while size > 1:
        size //= 2
        places = [
            ir.Constant(ir.VectorType(_i32, size), [_i32(at + lane) for lane in range(size)])
            for at in (0, size)
        ]
        vector = combine(*(builder.shuffle_vector(vector, vector, which) for which in places))
    return builder.extract_element(vector, _i32(0))


def _larger(builder: ir.IRBuilder, first: ir.Value, second: ir.Value) -> ir.Value:
    """Return the larger number of each lane; of a number and NaN, `second`."""
    return builder.select(builder.fcmp_ordered(">", first, second), first, second)


def _quantizing(kind: ir.IntType, *, adds_up: bool = False, halves: bool = False) -> Callable[..., Any]:
    def quantize(typing_context, x, num_vectors, largest, offset, quantized, total):
        """Round a head's `num_vectors` of float32 to integers of up to `largest`, plus `offset`; returns the factor.

        The factor of a head with a number that is not finite is NaN. `total` gets the sum of the integers, without
        the offset, if this adds up. If it halves them, `quantized` gets their upper bytes and `total` their lower
        ones. `x`, `quantized` and `total` are addresses.
        """

        def generate(context, builder, signature, arguments):
            x, num_vectors, largest, offset, quantized, total = arguments
            most = cgutils.alloca_once_value(builder, ir.Constant(_ints, None))
            builder.store(ir.Constant(_ints, None), most)
            with cgutils.for_range(builder, num_vectors) as loop:
                values = _load(builder, _at(builder, x, loop.index, 4 * LANES))
                magnitude = builder.and_(builder.bitcast(values, _ints), _vector(_i32(0x7FFF_FFFF)))
                before = builder.load(most)
                builder.store(
                    builder.select(builder.icmp_signed(">", magnitude, before), magnitude, before), most
                )

            def larger(first: ir.Value, second: ir.Value) -> ir.Value:
                return builder.select(builder.icmp_signed(">", first, second), first, second)

            bits = _reduce(builder, builder.load(most), larger)
            number = builder.bitcast(bits, _f32)
            is_finite = builder.icmp_signed("<", bits, _i32(0x7F80_0000))
            factor = builder.select(is_finite, builder.fdiv(number, largest), ir.Constant(_f32, float("nan")))
            is_large = builder.fcmp_ordered(">=", number, ir.Constant(_f32, 1e-30))
            inverse = builder.fdiv(largest, builder.select(is_large, number, ir.Constant(_f32, 1.0)))
            is_there = builder.and_(is_finite, is_large)
            inverse = splat(builder, builder.select(is_there, inverse, ir.Constant(_f32, 0.0)))
            magic = splat(builder, builder.fadd(ir.Constant(_f32, _MAGIC), builder.sitofp(offset, _f32)))
            start = builder.bitcast(magic, _ints)
            integers = ir.VectorType(kind, LANES)
            sums = cgutils.alloca_once_value(builder, ir.Constant(_ints, None))
            builder.store(ir.Constant(_ints, None), sums)
            with cgutils.for_range(builder, num_vectors) as loop:
                values = _load(builder, _at(builder, x, loop.index, 4 * LANES))
                whole = builder.bitcast(_multiply_add(builder, values, inverse, magic), _ints)
                upper = builder.lshr(whole, _vector(_i32(8))) if halves else whole
                for numbers, address in ((upper, quantized), (whole, total))[: 2 if halves else 1]:
                    at = _at(builder, address, loop.index, LANES * kind.width // 8)
                    place = builder.inttoptr(at, integers.as_pointer())
                    builder.store(builder.trunc(numbers, integers), place, align=1)
                if adds_up:
                    builder.store(builder.add(builder.load(sums), builder.sub(whole, start)), sums)
            if adds_up:
                place = builder.inttoptr(total, _i32.as_pointer())
                builder.store(_reduce(builder, builder.load(sums), builder.add), place, align=4)
            return factor

        arguments = types.uintp, types.uintp, types.float32, types.int32, types.uintp, types.uintp
        return types.float32(*arguments), generate

    return intrinsic(quantize)


_INPUT = _i8 if HAS_VNNI else _i16
quantize_query, quantize_halves = _quantizing(_INPUT), _quantizing(_i8, halves=True)
quantize_key, quantize_value = _quantizing(_i8, adds_up=True), _quantizing(_i8)


@intrinsic
def largest_score(typing_context, scores, count):
    """Return the largest of `count` float32 at the address `scores`; NaN may hide others, and be hidden.

    What fills up the last vector is read, too.
    """

    def generate(context, builder, signature, arguments):
        scores, count = arguments
        lowest = _float(float("-inf"))
        most = cgutils.alloca_once_value(builder, lowest)
        builder.store(lowest, most)

        def body(first: ir.Value, present: ir.Value | None) -> None:
            values = _load(builder, _at(builder, scores, first, 4))
            if present is not None:
                values = builder.select(present, values, lowest)
            builder.store(_larger(builder, values, builder.load(most)), most)

        _over_vectors(builder, count, body)
        return _reduce(builder, builder.load(most), lambda a, b: _larger(builder, a, b))

    return types.float32(types.uintp, types.uintp), generate


@intrinsic
def weigh(typing_context, scores, factors, count, largest, unit, upper, lower):
    """Write 2 to the power of each score minus `largest`, times its factor and `unit`, as integers.

    Returns the powers' sum. Scores and factors are float32 [count]. With VNNI, `upper` and `lower` get the integers'
    bytes, else `upper` gets them as int16. Addresses; what fills up the last vector is read, and zeros are written
    there.
    """

    def generate(context, builder, signature, arguments):
        scores, factors, count, largest, unit, upper, lower = arguments
        largest, unit = splat(builder, largest), splat(builder, unit)
        total = cgutils.alloca_once_value(builder, _float(0.0))
        builder.store(_float(0.0), total)
        size = _INPUT.width // 8
        numbers = ir.VectorType(_INPUT, LANES)

        def store(whole: ir.Value, address: ir.Value, first: ir.Value) -> None:
            place = builder.inttoptr(_at(builder, address, first, size), numbers.as_pointer())
            builder.store(builder.trunc(whole, numbers), place, align=1)

        def body(first: ir.Value, present: ir.Value | None) -> None:
            power = builder.fsub(_load(builder, _at(builder, scores, first, 4)), largest)
            least = _float(-126.0)
            power = builder.select(builder.fcmp_ordered("<", power, least), least, power)
            shifted = in_order(builder, builder.fadd(power, _float(_MAGIC)))
            rest = builder.fsub(power, in_order(builder, builder.fsub(shifted, _float(_MAGIC))))
            weight = _float(_POWERS[0])
            for coefficient in _POWERS[1:]:
                weight = _multiply_add(builder, weight, rest, _float(coefficient))
            exponent = builder.shl(builder.bitcast(shifted, _ints), _vector(_i32(23)))
            exponent = builder.add(exponent, _vector(_i32(127 << 23)))
            weight = builder.fmul(weight, builder.bitcast(exponent, _floats))
            if present is not None:
                weight = builder.select(present, weight, _float(0.0))
            builder.store(builder.fadd(builder.load(total), weight), total)
            scaled = builder.fmul(_load(builder, _at(builder, factors, first, 4)), unit)
            whole = builder.bitcast(_multiply_add(builder, weight, scaled, _float(_MAGIC)), _ints)
            if present is not None:  # A factor behind the end may be NaN, which no zero hides.
                whole = builder.select(present, whole, ir.Constant(_ints, None))
            if HAS_VNNI:
                store(builder.lshr(whole, _vector(_i32(8))), upper, first)
                store(whole, lower, first)
            else:
                store(whole, upper, first)

        _over_vectors(builder, count, body)
        return _reduce(builder, builder.load(total), builder.fadd)

    return types.float32(*[types.uintp] * 3, types.float32, types.float32, types.uintp, types.uintp), generate
