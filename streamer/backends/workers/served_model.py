"""What a worker tells of its model: above all a fingerprint of the model and the program, and digests of its voices."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from streamer.backends.local import LocalSynthesizer
from streamer.backends.workers.worker import ServedModel
from streamer.text.tokens.tokenizer import TokenizerFile
from streamer.voices.voice import Voice

NUM_SAMPLES: Final = 64
SAMPLE_BYTES: Final = 4096
"""Of each large file of a model this many pieces of this length are read, so that gigabytes take no minutes."""


def describe(synthesizer: LocalSynthesizer, version: str) -> ServedModel:
    """Return what front ends need to know of a loaded model. Raises `CheckpointError` and `OSError`.

    The fingerprint covers the program's version, the model's config and number format, its tokenizer, and the weights
    in samples. It covers neither the voices, which may change while the worker runs and have digests of their own, nor
    the kind of machine, which rounds in its own way.
    """
    config, directory = synthesizer.model_config, synthesizer.model_directory
    tokenizer = TokenizerFile.read(config.tokenizer, directory)
    digest = hashlib.blake2b(digest_size=16)
    info = synthesizer.info
    without_voices = replace(info, voices=(), default_voice="")
    digest.update(msgspec.json.encode((version, config, synthesizer.dtype, without_voices)))
    digest.update(tokenizer.data)
    for path in sorted(directory.iterdir()):
        if path.is_file():
            _digest_file(digest, path)
    voices = {name: _digest_voice(synthesizer.voices.get(name)) for name in info.voices}
    return ServedModel(info, tokenizer, digest.hexdigest(), voices)


def _digest_voice(voice: Voice) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for codes in (voice.semantic, voice.coarse, voice.fine):
        digest.update(f"{codes.shape}".encode())
        digest.update(codes.astype("<i8").tobytes())
    return digest.digest()


def _digest_file(digest: hashlib.blake2b, path: Path) -> None:
    size_bytes = path.stat().st_size
    digest.update(f"{path.name} {size_bytes}".encode())
    with path.open("rb") as file:
        if size_bytes <= NUM_SAMPLES * SAMPLE_BYTES:
            digest.update(file.read())
            return
        for number in range(NUM_SAMPLES):
            file.seek((size_bytes - SAMPLE_BYTES) * number // (NUM_SAMPLES - 1))
            digest.update(file.read(SAMPLE_BYTES))
