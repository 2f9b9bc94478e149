"""Our config.json: written and read back the same, and read strictly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamer.errors import CheckpointError
from streamer.models.config import LARGE, SMALL, ModelConfig
from streamer.models.files.config_file import read_config, write_config


@pytest.mark.parametrize("config", [SMALL, LARGE])
def test_a_config_round_trips(config: ModelConfig, tmp_path: Path) -> None:
    """Every number of Bark's own configs survives the file."""
    write_config(config, tmp_path / "config.json")
    assert read_config(tmp_path / "config.json") == config


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        (None, "colour", "red", "unknown key colour"),
        ("coarse", "windows", 60, "unknown key coarse.windows"),
        ("coarse", "window", "sixty", "coarse.window"),
        ("coarse", "window", 200, "coarse.block_size is 1024"),
        ("codec", "num_codebooks", 4, "codec.num_codebooks is 4"),
        ("fine", "num_codebooks_given", 3, "do not rise"),
        ("coarse", "window", 0, "coarse.window is 0"),
        ("coarse", "window", 7, "no multiple of the 2 codebooks"),
        ("coarse", "num_codebooks", 0, "do not rise"),
        ("coarse", "dropped_history", -2, "coarse.dropped_history is -2"),
        ("coarse", "dropped_history", 1, "coarse.dropped_history is 1, no multiple of the 2 codebooks"),
        ("fine", "last_chunk_frames", -1, "fine.last_chunk_frames is -1"),
        ("fine", "joined_frames", -1, "fine.joined_frames is -1"),
        ("fine", "chunk_frames", [], "chunk_frames is 0"),
        ("fine", "chunk_frames", [8, 0], "chunk_frames is 0"),
        ("fine", "later_chunk_frames", [], "later_chunk_frames is 0"),
        ("fine", "history", 1024, "fine.context is 1024"),
        ("semantic", "rate_hz", float("nan"), "semantic.rate_hz is nan"),
        ("semantic", "rate_hz", 0, "semantic.rate_hz is 0"),
        ("semantic", "vocab_size", 129_600, "semantic.input_vocab_size is 129600"),
        ("semantic", "max_tokens", 0, "semantic.max_tokens is 0"),
        ("codec", "ratios", [8, 0], "codec.ratios is (8, 0)"),
        ("codec", "sample_rate_hz", 0, "codec.sample_rate_hz is 0"),
        ("codec", "ratios", [8, 2**40], "codec.ratios is"),
        ("codec", "num_lstm_layers", 2**31, "codec.num_lstm_layers is"),
        ("codec", "dimension", 2**63, "codec.dimension is"),
        ("tokenizer", "file", "../secret", "tokenizer.file"),
    ],
)
def test_faults_are_named(
    tmp_path: Path, section: str | None, key: str, value: object, expected: str
) -> None:
    """Unknown keys, wrong types and numbers that contradict each other are errors naming file and key."""
    file = tmp_path / "config.json"
    write_config(SMALL, file)
    content = json.loads(file.read_text())
    (content if section is None else content[section])[key] = value
    file.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"config\.json") as caught:
        read_config(file)
    assert expected in caught.value.message


@pytest.mark.parametrize("name", ["num_layers", "num_heads", "width", "block_size", "input_vocab_size"])
@pytest.mark.parametrize("value", [0, -1, 2**31, 2**40, 2**63])
def test_sizes_are_bounded(tmp_path: Path, name: str, value: int) -> None:
    """A size of no possible model is named before torch is asked for it."""
    file = tmp_path / "config.json"
    write_config(SMALL, file)
    content = json.loads(file.read_text())
    content["fine"]["transformer"][name] = value
    file.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=rf"fine\.{name} is {value}"):
        read_config(file)


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000])
def test_what_is_no_json_object_is_an_error(tmp_path: Path, content: str) -> None:
    """Broken, foreign and endlessly nested JSON are the same clear error."""
    file = tmp_path / "config.json"
    file.write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        read_config(file)
