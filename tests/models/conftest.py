"""An independent implementation for the models' tests: the encodec package. Hugging Face's Bark is in `fakes`."""

from __future__ import annotations

import importlib
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec

import pytest
from torch import nn

from tests.fakes.hugging_face_bark import bark, hugging_face_directory, suno_directory  # noqa: F401


@contextmanager
def _torchaudio_stand_in() -> Iterator[None]:
    """Stand in for torchaudio, which encodec imports for a resampler that these tests do not use."""
    if "torchaudio" in sys.modules:
        yield
        return
    stand_in = types.ModuleType("torchaudio")
    stand_in.__spec__ = ModuleSpec("torchaudio", None)
    sys.modules["torchaudio"] = stand_in
    try:
        yield
    finally:
        del sys.modules["torchaudio"]


@pytest.fixture(scope="session")
def encodec() -> types.SimpleNamespace:
    """The encodec package's `SEANetDecoder` and `ResidualVectorQuantizer`."""
    with _torchaudio_stand_in():
        seanet = importlib.import_module("encodec.modules.seanet")
        quantization = importlib.import_module("encodec.quantization")

    def decoder(**sizes: object) -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch renamed weight_norm
            made: nn.Module = seanet.SEANetDecoder(causal=True, norm="weight_norm", **sizes)
        return made.eval()

    return types.SimpleNamespace(decoder=decoder, quantizer=quantization.ResidualVectorQuantizer)
