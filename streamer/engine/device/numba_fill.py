"""A fine chunk of a narrow model on a CPU as one compiled function: every codebook's pass, and the draws behind it.

Its passes take milliseconds (`models/cpu/compiled_fine`); a score of torch's operations around each would not only take
time themselves, but also have two threads pass Python's lock to and fro. The draws are those of `numba_sampler`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
from torch import Tensor

from streamer.compilation import compiled
from streamer.engine.device.numba_sampler import draw_one
from streamer.models.cpu.compiled_fine import (
    COLUMNS_AT_ONCE,
    CompiledFine,
    FineWeights,
    embed,
    fine_logits,
    run_fine_layers,
)
from streamer.models.cpu.joining import run_joined
from streamer.models.cpu.layer_kernels import Pass
from streamer.models.cpu.numba_threads import meet, new_team, take


def fill_codebooks(
    fine: CompiledFine,
    codes: Tensor,
    columns: tuple[int, int, int],
    first_frame: int,
    temperature: float,
    keys: Sequence[int],
    codebook_size: int,
) -> bool:
    """Fill in the last `len(keys)` codebooks of `codes`, int64 [codebooks, frames], in place.

    `columns`: the first one that is filled in, the one behind the last, and the same for the last codebook. Noise
    belongs to a codebook's key and to the frame, of which the first column's is `first_frame`. Returns whether all
    logits that were drawn from are finite.
    """
    room, logits = fine.open(codes.shape[1])
    signed: npt.NDArray[np.uint64] = np.array(keys, np.int64).view(np.uint64)
    went_well = np.ones(1, np.bool_)
    work = partial(
        _fill, tuple(fine.weights), tuple(room), codes.numpy(), columns, first_frame, np.float32(temperature), signed,
        codebook_size, logits, went_well,
    )  # fmt: skip
    run_joined(work, room.counters)
    return bool(went_well[0])


@compiled()
def _fill(weights, shared, codes, columns, first_frame, temperature, keys, codebook_size, logits, went_well):
    """Run one thread of all passes and draws, which takes part in every phase that is not over."""
    first, end, last_end = columns
    num_made, num_heads = len(keys), len(FineWeights(*weights).heads)
    team = new_team(Pass(*shared).counters)
    for number in range(num_made):
        codebook = len(codes) - num_made + number
        stop = last_end if number == num_made - 1 else end
        embed(weights, shared, codes, codebook, team)
        run_fine_layers(weights, shared, first, stop, team)
        begin = first + take(team) * COLUMNS_AT_ONCE
        while begin < stop:
            behind = min(begin + COLUMNS_AT_ONCE, stop)
            fine_logits(weights, shared, num_heads - num_made + number, begin, behind, logits)
            for column in range(begin, behind):
                step = np.uint64(first_frame + column - first)
                token, is_well = draw_one(logits[column, :codebook_size], keys[number], step, temperature)
                codes[codebook, column] = token
                if not is_well:
                    went_well[0] = False
            begin = first + take(team) * COLUMNS_AT_ONCE
        meet(team, -(-(stop - first) // COLUMNS_AT_ONCE))
