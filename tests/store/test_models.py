"""Models by name: fetched whole or not at all, converted without a change, found by `--model`, and verified."""

from __future__ import annotations

import io
import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tokenizers
import torch
from safetensors.torch import load_file, save_file

from streamer.commands import cli
from streamer.models.files.checkpoint import load_model
from streamer.store import catalogue, models, verify
from streamer.store.hub import look_up, sha256
from streamer.store.installed import find_model, installed_models
from streamer.voices.library import VoiceLibrary, voice_directories
from tests.fakes.hub import FakeHub
from tests.stages.reference import generate_coarse, generate_fine, generate_semantic

NAME = "somebody/tiny-bark"
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "##s", "moon", "light", "the", "of", "."]
CODEC_SAMPLES = 320


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's models are in a folder of this test."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "streamer" / "models"


@pytest.fixture(scope="session")
def hub_files(hugging_face_directory: Path) -> dict[str, bytes]:
    """A repository as suno/bark's: weights, sizes, vocabulary, two voices and what nobody needs."""
    files = {path.name: path.read_bytes() for path in hugging_face_directory.iterdir()}
    del files["tokenizer.json"]
    files["vocab.txt"] = "\n".join(VOCABULARY).encode()
    files["README.md"] = b"not needed"
    random = np.random.default_rng(0)
    fine = random.integers(0, 1024, (8, 600))
    arrays = {"semantic": random.integers(0, 10_000, 400), "coarse": fine[:2], "fine": fine}
    for voice in catalogue.VOICES:
        for key, array in arrays.items():
            path = hugging_face_directory.parent / "array.npy"
            np.save(path, array)
            files[f"speaker_embeddings/{voice}_{key}_prompt.npy"] = path.read_bytes()
    return files


def streamer(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Status, standard output and standard error of the command."""
    with pytest.raises(SystemExit) as ended:
        cli.main(list(arguments))
    shown = capsys.readouterr()
    return int(ended.value.code or 0), shown.out, shown.err


def test_pull_convert_verify_and_speak(
    hub: FakeHub, hub_files: dict[str, bytes], home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole way by name: what is shown, what lies there, the same weights after converting, and a voice."""
    commit = hub.add(NAME, hub_files)
    status, out, err = streamer(capsys, "models", "pull", NAME)
    assert (status, err) == (0, "")
    assert "licence: mit" in out and commit[:12] in out and "on disk" in out
    assert {path.name for path in (home / NAME).iterdir()} == {
        *("config.json", "pytorch_model.bin", "vocab.txt", "speaker_embeddings", "manifest.json")
    }
    before = load_model(home / NAME)

    status, out, _ = streamer(capsys, "models", "convert", NAME)
    assert status == 0 and installed_models(home) == {NAME: home / NAME}
    assert not (home / NAME / "pytorch_model.bin").exists()
    after = load_model(home / NAME)
    for part in ("semantic", "coarse", "fine", "codec"):
        expected = getattr(before, part).state_dict()
        found = getattr(after, part).state_dict()
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[key], found[key]) for key in expected)

    status, out, _ = streamer(capsys, "models", "verify", NAME)
    assert status == 0 and out.count("good") == 2 and "there are none for these sizes" in out
    status, out, _ = streamer(capsys, "models", "list")
    assert f"{NAME}  " in out and "suno/bark-small" in out
    status, out, _ = streamer(capsys, "models", "info", NAME)
    assert commit in out and "width 8" in out and "2 voice(s)" in out
    output = tmp_path / "hello.wav"
    say = ("say", "hello.", "-o", str(output), "--model", NAME, "--seed", "1")
    status, _, err = streamer(capsys, *say, "--max-gen-duration-s", "0.3", "--dtype", "float32")
    assert status == 0, err
    assert output.stat().st_size > 2 * CODEC_SAMPLES


def test_sunos_own_files_come_with_codec_and_vocabulary(
    hub: FakeHub,
    hub_files: dict[str, bytes],
    home: Path,
    suno_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Suno's files carry neither: both are fetched from elsewhere, and the conversion drops the training's state."""
    files = {"text_2.pt": "text.pt", "coarse_2.pt": "coarse_2.pt", "fine_2.pt": "fine.pt"}
    content = {name: (suno_directory / file).read_bytes() for name, file in files.items()}
    hub.add("suno/bark", {**hub_files, **content})
    codec = (suno_directory / catalogue.CODEC_FILE).read_bytes()
    hub.plain["/codec"] = codec
    monkeypatch.setattr(models, "CODEC_ADDRESS", f"{hub.address}/codec")
    monkeypatch.setattr(models, "CODEC_SHA256_PREFIX", sha256(suno_directory / catalogue.CODEC_FILE)[:8])
    path = models.pull(look_up("suno/bark"), home, original="large")
    assert path == home / "suno/bark-large-original"
    before = load_model(path)
    target = models.convert(path, home / "converted", dtype="bfloat16", parts={})
    stored = load_file(target / "semantic.safetensors")
    assert stored.keys() == {key for key in before.semantic.state_dict() if not key.startswith("lm_heads.")}
    assert all(
        torch.equal(tensor, before.semantic.state_dict()[key].bfloat16()) for key, tensor in stored.items()
    )
    manifest = models.read_manifest(target)
    assert manifest is not None and manifest.repository == "suno/bark"


def test_stages_of_several_models_are_mixed(hugging_face_directory: Path, tmp_path: Path) -> None:
    """The coarse stage of another size joins; one with other windows does not, and nothing is left of the attempt."""
    source = tmp_path / "source"
    models.convert(hugging_face_directory, source, dtype="float32", parts={})
    other = tmp_path / "other"
    models.convert(hugging_face_directory, other, dtype="float32", parts={})
    tensors = load_file(other / "coarse.safetensors")
    tensors["transformer.wpe.weight"] += 1
    save_file(tensors, other / "coarse.safetensors")
    mixed = models.convert(source, tmp_path / "mixed", dtype="float32", parts={"coarse": other})
    loaded = load_model(mixed)
    assert torch.equal(loaded.coarse.transformer.wpe.weight, tensors["transformer.wpe.weight"])
    assert torch.equal(loaded.semantic.lm_head.weight, load_model(source).semantic.lm_head.weight)
    assert loaded.config.name.endswith("-mixed")
    config = json.loads((other / "config.json").read_text())
    config["coarse"]["window"] = 40
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(Exception, match="other tokens or windows"):
        models.convert(source, tmp_path / "wrong", dtype="float32", parts={"coarse": other})
    assert not any("wrong" in path.name for path in tmp_path.iterdir())


def test_the_next_run_continues_one_that_broke_off(
    hub: FakeHub, hub_files: dict[str, bytes], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half a model is not listed, and the next run fetches only what is missing."""
    hub.add(NAME, hub_files)
    hub.cut_after, hub.is_down_after_cut = 25_000_000, True
    status, _, err = streamer(capsys, "models", "pull", NAME)
    assert status == 2 and err.count("\n") == 1
    assert installed_models(home) == {}
    hub.is_down = False
    status, _, err = streamer(capsys, "models", "pull", NAME)
    assert status == 0, err
    assert any(asked and asked != "bytes=0-" for _, asked in hub.requests)
    assert list(installed_models(home)) == [NAME]


def _pickled_code(files: dict[str, bytes]) -> dict[str, bytes]:
    class Code:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (eval, ("1",))

    return {**files, "pytorch_model.bin": pickle.dumps({"model": Code()})}


def _other_shape(files: dict[str, bytes]) -> dict[str, bytes]:
    state = torch.load(io.BytesIO(files["pytorch_model.bin"]), weights_only=True)
    key = "semantic.layers.0.mlp.in_proj.weight"
    written = io.BytesIO()
    torch.save({**state, key: state[key][1:]}, written)
    return {**files, "pytorch_model.bin": written.getvalue()}


def _other_kind_of_vocabulary(files: dict[str, bytes]) -> dict[str, bytes]:
    bytes_pairs = tokenizers.Tokenizer(tokenizers.models.BPE()).to_str().encode()
    return {
        **{name: content for name, content in files.items() if name != "vocab.txt"},
        "tokenizer.json": bytes_pairs,
    }


BROKEN = {
    "another shape": (_other_shape, "mlp.c_fc.weight has the shape"),
    "another vocabulary": (lambda files: {**files, "vocab.txt": b"one\ntwo\n"}, "lacks [UNK]"),
    "another kind of vocabulary": (_other_kind_of_vocabulary, "no word-piece vocabulary, but BPE"),
    "too many words": (
        lambda files: {
            **files,
            "vocab.txt": files["vocab.txt"] + b"\n".join(b"%d" % n for n in range(120_000)),
        },
        "but the model takes",
    ),
    "truncated": (lambda files: {**files, "pytorch_model.bin": files["pytorch_model.bin"][:5000]}, "damaged"),
    "code": (_pickled_code, "damaged, or holds objects other than tensors"),
    "no weights": (
        lambda files: {name: content for name, content in files.items() if name != "pytorch_model.bin"},
        "no weights of Bark's",
    ),
    "no vocabulary": (
        lambda files: {name: content for name, content in files.items() if name != "vocab.txt"},
        "tokenizer.json",
    ),
    "no JSON": (lambda files: {**files, "config.json": b"{"}, "is not JSON"),
    "traversal": (
        lambda files: {
            **{name: content for name, content in files.items() if name != "pytorch_model.bin"},
            "pytorch_model.bin.index.json": json.dumps({"weight_map": {"a": "../../x.bin"}}).encode(),
        },
        "x.bin",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_install_nothing(
    hub: FakeHub, hub_files: dict[str, bytes], home: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """One line that says what is wrong, status 2, and no model."""
    break_files, message = BROKEN[name]
    hub.add(NAME, break_files(hub_files))
    status, _, err = streamer(capsys, "models", "pull", NAME)
    assert status == 2 and message in err and err.count("\n") == 1
    assert "weights_only" not in err, "no advice to run the file"
    assert installed_models(home) == {}
    assert not list(home.rglob("*.bin")), "what is no good is not kept"


def test_a_changed_file_is_noticed(
    hub: FakeHub, hub_files: dict[str, bytes], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was installed is what must be there."""
    hub.add(NAME, hub_files)
    assert streamer(capsys, "models", "pull", NAME)[0] == 0
    (home / NAME / "vocab.txt").write_text("[UNK]\n")
    status, out, err = streamer(capsys, "models", "verify", NAME)
    assert status == 2 and "vocab.txt has changed since it was installed" in err and "BAD" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("models", "pull", "../../etc"), "not the name of a model"),
        (("models", "pull", "nobody/nothing"), "nobody/nothing"),
        (("models", "verify", "suno/bark-smal"), "neither a directory nor an installed model"),
        (("models", "convert", "nothing"), "neither a directory nor an installed model"),
        (("say", "Hi.", "-o", "a.wav", "--model", "../x"), "neither a directory nor an installed model"),
    ],
)
@pytest.mark.usefixtures("hub")
def test_wrong_names_are_said_in_one_line(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2, and no name becomes a path."""
    status, _, err = streamer(capsys, *arguments)
    assert status == 2 and message in err and err.count("\n") == 1


def test_a_name_is_looked_up_and_never_becomes_a_path(tmp_path: Path) -> None:
    """Only what lies one or two levels below the directory has a name."""
    for name in ("owner/model", "alone", ".partial/half", "a/b/c"):
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "config.json").write_text("{}")
    assert set(installed_models(tmp_path / "models")) == {"owner/model", "alone"}
    assert find_model(Path("owner/model"), tmp_path / "models") == tmp_path / "models/owner/model"
    for name in ("owner/../alone", "../models/alone", "a/b/c"):
        with pytest.raises(Exception, match="neither a directory"):
            find_model(Path(name), tmp_path / "models")


def test_published_tokens_are_those_of_an_independent_implementation(
    hub: FakeHub, hub_files: dict[str, bytes], home: Path
) -> None:
    """What is published of some weights and made by the reference's loops is found; one other token is noticed."""
    hub.add(NAME, hub_files)
    model = load_model(models.pull(look_up(NAME), home))
    model.semantic.lm_head.weight.data[10_000] = 5 * model.semantic.lm_head.weight.data[10_000].sign()
    semantic = replace(model.config.semantic, max_tokens=40)
    model = replace(model, config=replace(model.config, semantic=semantic))
    voices = VoiceLibrary(voice_directories(model.directory, None), model.config)
    voice = voices.get(catalogue.VOICES[0])
    text = (VOCABULARY.index("the"), VOCABULARY.index("moon"))
    tokens = generate_semantic(model, text, voice, 40)
    coarse, _ = generate_coarse(model, tokens, voice)
    fine = generate_fine(model, coarse, voice)
    golden = {
        "text": "the moon",
        "voice": catalogue.VOICES[0],
        "semantic": tokens[:10],
        "coarse": coarse[:16],
        "fine": fine[:, :10].tolist(),
    }
    checks = list(verify.published_tokens(golden, model, voices))
    assert [check.is_good for check in checks] == [True, True, True], checks
    golden["coarse"] = [golden["coarse"][0], golden["coarse"][1] + 1]
    assert [check.is_good for check in verify.published_tokens(golden, model, voices)] == [True, False, True]


def test_the_published_tokens_of_suno_are_well_formed() -> None:
    """Codes of the first two codebooks are the coarse tokens', and each row is as long as the others."""
    golden = json.loads(Path(verify.__file__).with_name("golden.json").read_text())
    assert len(golden["fine"]) == 8 and {len(row) for row in golden["fine"]} == {10}
    pairs = zip(golden["coarse"][0::2], golden["coarse"][1::2], strict=True)
    for frame, (first, second) in enumerate(pairs):
        assert golden["fine"][0][frame] == first - 10_000
        assert golden["fine"][1][frame] == second - 10_000 - 1024
