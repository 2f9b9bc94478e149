"""Model directories: every format loads to the same tensors, and what is wrong is said in one clear error."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from streamer.errors import CheckpointError
from streamer.models.cpu import int8_gpt
from streamer.models.cpu.int8_gpt import Int8DecodeStep
from streamer.models.files import checkpoint, hugging_face, suno, weight_files
from streamer.models.files.checkpoint import LoadedModel, convert_model, load_model, save_model
from tests.fakes.bark_files import save_suno_stage

PARTS = ("semantic", "coarse", "fine", "codec")


@pytest.fixture(scope="module")
def loaded(suno_directory: Path) -> LoadedModel:
    return load_model(suno_directory)


@pytest.fixture
def own(loaded: LoadedModel, tmp_path: Path) -> Path:
    save_model(loaded, tmp_path / "own")
    return tmp_path / "own"


@pytest.fixture
def broken_suno(suno_directory: Path, tmp_path: Path) -> Path:
    """A copy of Suno's directory whose text.pt may be spoiled."""
    copy = tmp_path / "suno"
    copy.mkdir()
    for file in suno_directory.iterdir():
        if file.name != "text.pt":
            (copy / file.name).symlink_to(file)
    shutil.copyfile(suno_directory / "text.pt", copy / "text.pt")
    return copy


def text_state(directory: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(directory / "text.pt", weights_only=False)["model"]
    return {key.removeprefix("_orig_mod."): tensor for key, tensor in state.items()}


def assert_same(left: LoadedModel, right: LoadedModel) -> None:
    for name in PARTS:
        ours, theirs = getattr(left, name).state_dict(), getattr(right, name).state_dict()
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert torch.equal(ours[key], theirs[key]), f"{name}: {key}"


def error_of(directory: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_model(directory)
    return caught.value.message


def test_all_formats_load_to_the_same_tensors(
    loaded: LoadedModel, hugging_face_directory: Path, bark: Any, tmp_path: Path
) -> None:
    """Suno's files, pytorch_model.bin and model.safetensors of one model give one model."""
    from_bin = load_model(hugging_face_directory)
    assert_same(loaded, from_bin)
    assert replace(loaded.config, tokenizer=from_bin.config.tokenizer) == from_bin.config
    bark.save_pretrained(tmp_path)
    shutil.copyfile(hugging_face_directory / "tokenizer.json", tmp_path / "tokenizer.json")
    assert (tmp_path / "model.safetensors").is_file()
    assert_same(loaded, load_model(tmp_path))


def test_loaded_codec_speaks_like_hugging_face(loaded: LoadedModel, bark: Any) -> None:
    """The folded codec gives the samples of transformers' EnCodec."""
    codes = torch.randint(1024, (1, 8, 12))
    with torch.no_grad():
        expected = bark.codec_model.decode(codes[None], [None]).audio_values[0]
    torch.testing.assert_close(loaded.codec.decode(codes), expected, rtol=0, atol=1e-5)


def test_own_format_round_trips(own: Path, loaded: LoadedModel) -> None:
    """What `save_model` wrote loads as it was, with config and tokenizer, and ties the fine heads."""
    again = load_model(own)
    assert_same(loaded, again)
    assert again.config == loaded.config
    assert again.fine.lm_heads[0].weight is again.fine.transformer.wtes[1].weight
    assert (own / "vocab.txt").is_file()
    assert not any(key.startswith("lm_heads") for key in load_file(own / "fine.safetensors"))


def test_dtype_is_that_of_the_transformers_only(own: Path) -> None:
    """`dtype` turns linears and embeddings; norms and the codec stay in float32."""
    model = load_model(own, dtype="bfloat16")
    block = model.semantic.blocks[0]
    assert block.attn.c_attn.weight.dtype == torch.bfloat16
    assert block.ln_1.weight.dtype == torch.float32
    assert model.codec.codebooks.dtype == torch.float32
    codes = torch.randint(1024, (1, 8, 10))
    assert model.fine(2, codes).isfinite().all()


def test_int8_is_compiled_when_it_is_loaded(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first step of a sentence does not wait for the compiler; the fine model and the codec stay floats."""
    compiled, step = [], int8_gpt.decode_step
    monkeypatch.setattr(int8_gpt, "decode_step", lambda *given: compiled.append(given) or step(*given))
    model = load_model(own, dtype="int8")
    assert len(compiled) == 2
    for network in (model.semantic, model.coarse):
        assert isinstance(network.decode_step, Int8DecodeStep)
    assert model.codec.codebooks.dtype == torch.float32


def test_a_narrower_stored_type_loads(loaded: LoadedModel, tmp_path: Path) -> None:
    """Weights stored in half precision load as float32, near the original."""
    save_model(loaded, tmp_path, dtype=torch.float16)
    again = load_model(tmp_path)
    original, stored = loaded.codec.codebooks, again.codec.codebooks
    assert stored.dtype == torch.float32
    torch.testing.assert_close(stored, original, rtol=1e-3, atol=1e-3)


def test_numpy_1_pickles_are_read(broken_suno: Path, loaded: LoadedModel) -> None:
    """Suno's own files name numpy's scalar as numpy 1 did; that is read too."""
    source = broken_suno / "text.pt"
    renamed = broken_suno / "renamed.pt"
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(renamed, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename.endswith("data.pkl"):
                content = content.replace(b"numpy._core.", b"numpy.core.")
                assert b"cnumpy.core.multiarray\nscalar" in content
            new.writestr(entry, content)
    renamed.replace(source)
    assert_same(loaded, load_model(broken_suno))


def test_a_single_vocabulary_size_counts_for_both(broken_suno: Path) -> None:
    """Old files give `vocab_size` alone: it is the size of input and output."""
    state = text_state(broken_suno)
    state["lm_head.weight"] = torch.zeros_like(state["transformer.wte.weight"])
    sizes: dict[str, object] = {"input_vocab_size": None, "output_vocab_size": None, "vocab_size": 129_600}
    save_suno_stage(broken_suno / "text.pt", state, **sizes)
    assert load_model(broken_suno).config.semantic.transformer.output_vocab_size == 129_600


class RunsWhenUnpickled:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.marker,)


def test_code_in_a_pickle_is_refused_and_not_run(broken_suno: Path, tmp_path: Path) -> None:
    """A pickle that holds a call is an error naming the file, and the call is not made."""
    marker = tmp_path / "was_run"
    torch.save({"model_args": {}, "model": RunsWhenUnpickled(marker)}, broken_suno / "text.pt")
    message = error_of(broken_suno)
    assert "text.pt" in message
    assert "never executed" in message
    assert not marker.exists()


@pytest.mark.parametrize("kept", [0, 100, 5000, -200])
def test_a_truncated_pickle_is_named(broken_suno: Path, kept: int) -> None:
    """A file cut off anywhere is an error that names it."""
    file = broken_suno / "text.pt"
    file.write_bytes(file.read_bytes()[:kept])
    assert "text.pt" in error_of(broken_suno)


def test_a_truncated_safetensors_file_is_named(own: Path) -> None:
    """So is a cut safetensors file."""
    file = own / "coarse.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    assert "coarse.safetensors" in error_of(own)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_weight_that_is_no_number_is_named(own: Path, part: str, value: float, tmp_path: Path) -> None:
    """One value in any tensor of any stage is enough, for loading and for converting."""
    file = own / f"{part}.safetensors"
    tensors = load_file(file)
    key = sorted(key for key, tensor in tensors.items() if tensor.is_floating_point())[-1]
    tensors[key].view(-1)[-1] = value
    save_file(tensors, file)
    assert f"{part}.safetensors: {key} holds values" in error_of(own)
    with pytest.raises(CheckpointError, match=f"{part}.safetensors"):
        convert_model(own, tmp_path / "converted")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"transformer.h.0.ln_1.weight": None}, "transformer.h.0.ln_1.weight is missing"),
        ({"transformer.h.0.ln_1.bias": torch.zeros(8)}, "transformer.h.0.ln_1.bias is not part of the model"),
        ({"transformer.wpe.weight": torch.zeros(1024, 9)}, "transformer.wpe.weight has the shape (1024, 9)"),
        ({"transformer.ln_f.weight": torch.zeros(8).int()}, "transformer.ln_f.weight holds torch.int32"),
    ],
)
def test_a_wrong_key_is_named(broken_suno: Path, change: dict[str, Tensor | None], expected: str) -> None:
    """Missing, additional, wrongly shaped and wrongly typed tensors are errors naming file and key."""
    changed = {**text_state(broken_suno), **change}
    save_suno_stage(
        broken_suno / "text.pt", {key: value for key, value in changed.items() if value is not None}
    )
    message = error_of(broken_suno)
    assert "text.pt" in message
    assert expected in message


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ({"n_layer": None}, "model_args.n_layer"),
        ({"n_head": "two"}, "model_args.n_head"),
        ({"n_head": 3}, "num_heads"),
        ({"bias": True}, "model_args.bias"),
        ({"input_vocab_size": 10_048}, "semantic.input_vocab_size is 10048"),
        ({"block_size": 256}, "semantic.block_size is 256"),
        ({"n_layer": 2}, "transformer.h.1.ln_1.weight is missing"),
    ],
)
def test_wrong_sizes_are_named(broken_suno: Path, args: dict[str, object], expected: str) -> None:
    """Sizes that are missing, no numbers, too small for the token ids, or not the weights' are errors."""
    save_suno_stage(broken_suno / "text.pt", text_state(broken_suno), **args)
    assert expected in error_of(broken_suno)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("text.pt", "text_2.pt"),
        ("coarse_2.pt", "coarse.pt"),
        ("encodec_24khz-d7cc33bc.th", "https://dl.fbaipublicfiles.com/encodec"),
        ("vocab.txt", "bert-base-multilingual-cased"),
    ],
)
def test_what_sunos_files_lack_is_said(broken_suno: Path, file: str, expected: str) -> None:
    """The error names a missing stage, codec or vocabulary, and the place to get it."""
    (broken_suno / file).unlink()
    assert expected in error_of(broken_suno)


def test_a_fine_head_that_differs_from_its_embedding_is_named(broken_suno: Path) -> None:
    """Bark's fine heads are embeddings; a file in which they differ is not Bark's."""
    content = torch.load(broken_suno / "fine.pt", weights_only=False)
    content["model"]["_orig_mod.lm_heads.2.weight"] = torch.zeros(1056, 8)
    (broken_suno / "fine.pt").unlink()
    torch.save(content, broken_suno / "fine.pt")
    assert "lm_heads.2.weight differs" in error_of(broken_suno)


@pytest.mark.parametrize("key", ["lm_heads.x.weight", "lm_heads.1", "transformer.wtes.99.weight"])
def test_a_strange_key_of_the_fine_model_is_named(broken_suno: Path, key: str) -> None:
    """Whatever a head or an embedding is called, the answer is the one clear error."""
    content = torch.load(broken_suno / "fine.pt", weights_only=False)
    content["model"][key] = torch.zeros(1056, 8)
    (broken_suno / "fine.pt").unlink()
    torch.save(content, broken_suno / "fine.pt")
    message = error_of(broken_suno)
    assert "fine.pt" in message and "is not part of the model" in message


def test_half_of_a_normalized_weight_is_named(broken_suno: Path) -> None:
    """A codec file with a direction but no magnitude is an error naming both."""
    file = broken_suno / "encodec_24khz-d7cc33bc.th"
    state = torch.load(file)
    del state["decoder.model.0.conv.conv.weight_g"]
    file.unlink()
    torch.save(state, file)
    assert "0.conv.weight_v has no 0.conv.weight_g" in error_of(broken_suno)


def test_hugging_face_config_faults_are_named(hugging_face_directory: Path, tmp_path: Path) -> None:
    """A section that is missing, or a codec of another architecture, is an error naming it."""
    for file in hugging_face_directory.iterdir():
        (tmp_path / file.name).symlink_to(file)
    content = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").unlink()
    spoiled = {**content, "codec_config": {**content["codec_config"], "norm_type": "time_group_norm"}}
    (tmp_path / "config.json").write_text(json.dumps(spoiled))
    assert "codec_config.norm_type" in error_of(tmp_path)
    del spoiled["fine_acoustics_config"]
    (tmp_path / "config.json").write_text(json.dumps(spoiled))
    assert "fine_acoustics_config is missing" in error_of(tmp_path)


def test_shards_are_joined_and_stay_inside(
    hugging_face_directory: Path, loaded: LoadedModel, tmp_path: Path
) -> None:
    """Sharded weights load as one; an index that leads out of the directory is refused."""
    for name in ("config.json", "tokenizer.json"):
        shutil.copyfile(hugging_face_directory / name, tmp_path / name)
    state = torch.load(hugging_face_directory / "pytorch_model.bin")
    state = {key: tensor.clone() for key, tensor in state.items() if ".lm_heads." not in key}
    keys = list(state)
    shards = {"a.safetensors": keys[::2], "b.safetensors": keys[1::2]}
    for name, part in shards.items():
        save_file({key: state[key] for key in part}, tmp_path / name)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {key: name for name, part in shards.items() for key in part}}))
    assert_same(loaded, load_model(tmp_path))
    index.write_text(json.dumps({"weight_map": {"a": "../a.safetensors"}}))
    assert "leads out" in error_of(tmp_path)


def test_a_directory_without_a_model_says_what_it_could_be(tmp_path: Path) -> None:
    """An empty or missing directory is an error that lists the formats, or says it is not there."""
    assert "Hugging Face" in error_of(tmp_path)
    assert "no such model directory" in error_of(tmp_path / "nowhere")


def test_loading_needs_no_compiler_of_torch(own: Path) -> None:
    """Empty networks are made without it: it would take forty megabytes, and half a second of the start."""
    code = "import sys; from pathlib import Path; from streamer.models.files.checkpoint import load_model\n"
    code += f"load_model(Path({str(own)!r})); print('sympy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("layout", ["suno_directory", "hugging_face_directory", "own"])
def test_little_of_a_file_is_in_memory_at_once(
    layout: str, dtype: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However small the pieces, and however often the file is mapped again, the model is the same."""
    directory: Path = request.getfixturevalue(layout)
    expected = load_model(directory, dtype=dtype)
    monkeypatch.setattr(weight_files, "_NUMBERS_AT_ONCE", 50_000)
    monkeypatch.setattr(weight_files, "_RESIDENT_BYTES", 1_000_000)
    mapped: list[Path] = []
    for name in ("read_tensors", "read_pickle"):
        for module in (checkpoint, hugging_face, suno):
            if read := getattr(module, name, None):
                monkeypatch.setattr(module, name, lambda file, read=read: mapped.append(file) or read(file))
    again = load_model(directory, dtype=dtype)
    assert_same(expected, again)
    assert len(mapped) > 2 * len(set(mapped))
    if dtype != "int8":
        assert again.fine.lm_heads[0].weight is again.fine.transformer.wtes[1].weight


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("row", [0, 2999, 129_599])
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_weight_that_is_no_number_is_found_in_any_piece(
    broken_suno: Path, value: float, row: int, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the first, a middle or the last rows of the largest tensor: the file and the key are named."""
    monkeypatch.setattr(weight_files, "_NUMBERS_AT_ONCE", 20_000)
    state = text_state(broken_suno)
    state["transformer.wte.weight"][row, 3] = value
    save_suno_stage(broken_suno / "text.pt", state)
    with pytest.raises(CheckpointError, match=r"text\.pt: transformer\.wte\.weight holds values"):
        load_model(broken_suno, dtype=dtype)


@pytest.mark.parametrize("layout", ["suno_directory", "hugging_face_directory", "own"])
def test_a_file_that_is_replaced_while_it_is_read_is_told(
    layout: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights of two models are none: the error names the file, even if the new one is just as long."""
    directory: Path = request.getfixturevalue(layout)
    monkeypatch.setattr(weight_files, "_RESIDENT_BYTES", 1_000_000)
    copied = weight_files.Weights._read

    def replaced(weights: weight_files.Weights, key: str, dtype: torch.dtype) -> torch.Tensor:
        for file in [found for kind in ("safetensors", "bin", "pt") for found in directory.glob(f"*.{kind}")]:
            new = file.with_suffix(".new")
            new.write_bytes(file.read_bytes())
            new.replace(file)
        return copied(weights, key, dtype)

    monkeypatch.setattr(weight_files.Weights, "_read", replaced)
    with pytest.raises(CheckpointError, match=r"was replaced while it was read; load the model again"):
        load_model(directory)
