"""An independent implementation for the models' tests: the encodec package. Hugging Face's Bark is in `fakes`."""

from __future__ import annotations

import importlib
import types
import warnings

import pytest
from torch import nn

from benchmarks.suno_bark import importable_encodec
from tests.fakes.hugging_face_bark import bark, hugging_face_directory, suno_directory  # noqa: F401


@pytest.fixture(scope="session")
def encodec() -> types.SimpleNamespace:
    """The encodec package's `SEANetDecoder` and `ResidualVectorQuantizer`."""
    with importable_encodec():
        seanet = importlib.import_module("encodec.modules.seanet")
        quantization = importlib.import_module("encodec.quantization")

    def decoder(**sizes: object) -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch renamed weight_norm
            made: nn.Module = seanet.SEANetDecoder(causal=True, norm="weight_norm", **sizes)
        return made.eval()

    return types.SimpleNamespace(decoder=decoder, quantizer=quantization.ResidualVectorQuantizer)
