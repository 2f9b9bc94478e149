"""Short voices with Bark's own vocabularies, and files of them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streamer.models.config import SMALL
from streamer.voices.voice import Voice

Arrays = dict[str, npt.NDArray[Any]]


def voice_arrays(num_tokens: int = 40, *, seed: int = 0, **changes: npt.NDArray[Any]) -> Arrays:
    """Return the three prompts of a random voice, some of them changed."""
    random = np.random.default_rng(seed)
    fine = random.integers(0, SMALL.fine.codebook_size, (8, num_tokens * 3 // 2))
    semantic = random.integers(0, SMALL.semantic.vocab_size, num_tokens)
    return {"semantic_prompt": semantic, "coarse_prompt": fine[:2], "fine_prompt": fine, **changes}


def npz(arrays: Arrays) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def npy(array: npt.NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def assert_is(path: Path, arrays: Arrays) -> None:
    """Check that the file holds the voice, in Bark's form."""
    voice = Voice.load(path, SMALL)
    for name in ("semantic", "coarse", "fine"):
        assert np.array_equal(getattr(voice, name), arrays[f"{name}_prompt"])


BROKEN = {
    "truncated": npz(voice_arrays())[:700],
    "empty": b"",
    "text": b"not a voice",
    "without the fine prompt": npz({"semantic_prompt": np.zeros(40, int)}),
    "pickled objects": npz(voice_arrays(semantic_prompt=np.array([{}] * 40, dtype=object))),
    "fractions": npz(voice_arrays(semantic_prompt=np.zeros(40))),
    "a token out of range": npz(voice_arrays(semantic_prompt=np.full(40, 10_000))),
    "a code out of range": npz(voice_arrays(fine_prompt=np.full((8, 60), 1024))),
    "a wrong ratio": npz(voice_arrays(semantic_prompt=np.zeros(30, int))),
    "coarse that is not fine": npz(voice_arrays(coarse_prompt=np.zeros((2, 60), int))),
    "too few codebooks": npz(voice_arrays(fine_prompt=np.zeros((4, 60), int))),
}
"""Files that are no voice, by what is wrong with them."""
