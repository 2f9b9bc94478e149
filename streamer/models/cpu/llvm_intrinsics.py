"""What numba has no functions for, written as LLVM code: bits of floats, vectors' widths, and atomic additions."""

# ruff: noqa: ARG001  (an intrinsic need not use all its arguments)
from __future__ import annotations

import sys

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

_i32, _f32 = ir.IntType(32), ir.FloatType()


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


@intrinsic
def read_atomically(typing_context, address):
    """Return the int64 at `address`, and see what the thread that wrote it had done before."""

    def generate(context, builder, signature, arguments):
        place = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.load_atomic(place, "acquire", 8)

    return types.int64(types.uintp), generate


yield_thread = types.ExternalFunction(
    "SwitchToThread" if sys.platform == "win32" else "sched_yield", types.int32()
)
"""Offers this core to another thread."""
