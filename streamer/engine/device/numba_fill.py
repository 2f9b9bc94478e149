"""A fine chunk of a narrow model on a CPU as one compiled function: every codebook's pass, and the draws behind it.

Its passes take milliseconds (`models/cpu/compiled_fine`); a score of torch's operations around each would not only take
time themselves, but also have two threads pass Python's lock to and fro. The draws are those of `numba_sampler`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from streamer.compilation import compiled
from streamer.engine.device.numba_sampler import draw_one
from streamer.models.cpu.compiled_fine import CompiledFine, FineWeights, fine_logits


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
    is_finite: bool = _fill(
        tuple(fine.weights), tuple(room), codes.numpy(), columns, first_frame,
        np.float32(temperature), signed, codebook_size, logits,
    )  # fmt: skip
    return is_finite


@compiled()
def _fill(weights, shared, codes, columns, first_frame, temperature, keys, codebook_size, logits):
    first, end, last_end = columns
    num_made, num_heads, is_finite = len(keys), len(FineWeights(*weights).heads), True
    for number in range(len(keys)):
        codebook = len(codes) - len(keys) + number
        stop = last_end if number == len(keys) - 1 else end
        fine_logits(weights, shared, codes, codebook, num_heads - num_made + number, first, stop, logits)
        for column in range(first, stop):
            step = np.uint64(first_frame + column - first)
            token, is_well = draw_one(logits[column, :codebook_size], keys[number], step, temperature)
            codes[codebook, column] = token
            is_finite = is_finite and is_well
    return is_finite
