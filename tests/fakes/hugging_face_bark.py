"""Fixtures: Hugging Face's own Bark, tiny and with random weights, and directories with them in all layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
from tokenizers.models import WordPiece

from tests.fakes.bark_files import encodec_names, save_suno_stage, suno_names


@pytest.fixture(scope="session")
def bark() -> Any:
    """Return Hugging Face's Bark with one narrow layer each, Bark's own vocabularies and codec, and random weights."""
    from transformers import BarkConfig, BarkModel
    from transformers.models.encodec import EncodecConfig

    def sizes(input_vocab_size: int, output_vocab_size: int) -> dict[str, object]:
        return {
            "num_layers": 1,
            "num_heads": 2,
            "hidden_size": 8,
            "block_size": 1024,
            "bias": False,
            "input_vocab_size": input_vocab_size,
            "output_vocab_size": output_vocab_size,
        }

    torch.manual_seed(1)
    config = BarkConfig(
        semantic_config=sizes(129_600, 10_048),
        coarse_acoustics_config=sizes(12_096, 12_096),
        fine_acoustics_config=sizes(1056, 1056),
        codec_config=EncodecConfig(target_bandwidths=[6.0]).to_dict(),
    )
    model: Any = BarkModel(config)
    model.eval()
    for stage in (model.semantic, model.coarse_acoustics, model.fine_acoustics):
        for parameter in stage.parameters():
            torch.nn.init.normal_(parameter, std=0.5)  # large enough for attention to be far from uniform
    for name, buffer in model.codec_model.quantizer.named_buffers():
        if name.endswith("embed"):
            buffer.normal_()
    return model


@pytest.fixture(scope="session")
def hugging_face_directory(bark: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a directory as on the hub: config.json, pytorch_model.bin, tokenizer.json."""
    directory = tmp_path_factory.mktemp("hugging_face")
    bark.config.save_pretrained(directory)
    torch.save(bark.state_dict(), directory / "pytorch_model.bin")
    words = {"[UNK]": 0, "hello": 1, ".": 2}
    tokenizers.Tokenizer(WordPiece(words, unk_token="[UNK]")).save(str(directory / "tokenizer.json"))
    return directory


@pytest.fixture(scope="session")
def suno_directory(bark: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the same weights in the layout of Suno's three files, with the encodec package's file."""
    directory = tmp_path_factory.mktemp("suno")
    state = bark.state_dict()
    stages = (("text", "semantic."), ("coarse_2", "coarse_acoustics."), ("fine", "fine_acoustics."))
    for name, prefix in stages:
        save_suno_stage(directory / f"{name}.pt", suno_names(state, prefix))
    torch.save(encodec_names(state), directory / "encodec_24khz-d7cc33bc.th")
    (directory / "vocab.txt").write_text("[PAD]\n")
    return directory
