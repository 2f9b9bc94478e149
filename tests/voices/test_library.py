"""Voices are found at start-up, checked, and from then on only keys of a dict."""

import io

import numpy as np
import pytest

from streamer.errors import CheckpointError, VoiceNotFoundError
from streamer.models.config import SMALL
from streamer.voices.library import VoiceLibrary
from tests.fakes.voice_files import npz, voice_arrays


def arrays(num_tokens=40, **changes):
    fine = np.random.default_rng(0).integers(0, 1024, (8, num_tokens * 3 // 2))
    voice = {"semantic_prompt": np.arange(num_tokens), "coarse_prompt": fine[:2], "fine_prompt": fine}
    return {**voice, **changes}


def save(path, **changes):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays(**changes))


def test_names_are_paths_without_the_suffix(tmp_path):
    """`v2/en_speaker_6.npz` is the voice `v2/en_speaker_6`, and the config's default voice is the default."""
    save(tmp_path / "announcer.npz")
    save(tmp_path / "v2" / "en_speaker_6.npz")
    library = VoiceLibrary([tmp_path], SMALL)
    assert library.names == ("announcer", "v2/en_speaker_6", "random")
    assert library.default == "v2/en_speaker_6"
    assert library.get("announcer").fine.shape == (8, 60)


def save_files(folder, name, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    for key, array in arrays(**changes).items():
        np.save(folder / f"{name}_{key}.npy", array)


def test_three_files_are_one_voice(tmp_path):
    """As Hugging Face keeps Bark's voices: the same names, the same prompts."""
    save(tmp_path / "archives" / "v2" / "en_speaker_6.npz")
    save_files(tmp_path / "files" / "v2", "en_speaker_6")
    save_files(tmp_path / "files", "announcer")
    library = VoiceLibrary([tmp_path / "files"], SMALL)
    assert library.names == ("announcer", "v2/en_speaker_6", "random")
    assert library.default == "v2/en_speaker_6"
    expected = VoiceLibrary([tmp_path / "archives"], SMALL).get("v2/en_speaker_6")
    for name in ("semantic", "coarse", "fine"):
        assert np.array_equal(getattr(library.get("v2/en_speaker_6"), name), getattr(expected, name))


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"not an array",
        b"PK\x03\x04",
        b"\x93NUMPY\x01\x00v\x00{'descr'",
        b"\x93NUMPY\x01\x00\x12\x00{'descr': (1, 2, 3\n",
        b"\x93NUMPY\x01\x00\x10\x27" + b" " * 20_000,
    ],
)
def test_a_broken_file_of_three_is_refused_by_name(tmp_path, content):
    """One that is missing, or is no array, makes the voice invalid."""
    save_files(tmp_path, "bad")
    (tmp_path / "bad_coarse_prompt.npy").unlink()
    if content is not None:
        (tmp_path / "bad_coarse_prompt.npy").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"bad_") as refused:
        VoiceLibrary([tmp_path], SMALL)
    assert "\n" not in refused.value.message


def test_the_operators_directory_adds_and_replaces(tmp_path):
    """A later directory adds voices, and wins if both have one of the same name."""
    save(tmp_path / "model" / "one.npz")
    save(tmp_path / "mine" / "one.npz", num_tokens=60)
    save(tmp_path / "mine" / "two.npz")
    library = VoiceLibrary([tmp_path / "model", tmp_path / "mine"], SMALL)
    assert sorted(library.names) == ["one", "random", "two"]
    assert len(library.get("one").semantic) == 60


def test_every_model_speaks_without_history(tmp_path):
    """The last voice has empty prompts; it is the default of a model without voices alone."""
    library = VoiceLibrary([tmp_path / "missing"], SMALL)
    assert library.names == ("random",) and library.default == "random"
    assert library.get("random").coarse.shape == (2, 0)
    save(tmp_path / "voices" / "zoe.npz")
    library = VoiceLibrary([tmp_path / "voices"], SMALL)
    assert library.names == ("zoe", "random") and library.default == "zoe"
    assert library.num_prompts == 1
    assert library.get("random").fine.shape == (8, 0)


@pytest.mark.parametrize("keep", [save, lambda path: save_files(path.parent, path.stem)])
def test_a_voice_of_that_name_is_refused(tmp_path, keep):
    """By its file, wherever it lies: it could not be told from a speaker made up."""
    keep(tmp_path / "random.npz")
    for directories, shared in (([tmp_path], None), ([], tmp_path)):
        with pytest.raises(CheckpointError, match=r"/random.*give it another name"):
            VoiceLibrary(directories, SMALL, shared=shared)


@pytest.mark.parametrize(
    "name", ["", "../secret", "/etc/passwd", "v2\\one", "one.npz", "one\0", "..%2fsecret", "x" * 10_000]
)
def test_a_name_is_only_a_key(tmp_path, name):
    """Nothing but the names of the scan is found, whatever the name looks like."""
    save(tmp_path / "voices" / "one.npz")
    save(tmp_path / "secret.npz")
    library = VoiceLibrary([tmp_path / "voices"], SMALL)
    with pytest.raises(VoiceNotFoundError):
        library.get(name)


def test_links_out_of_the_directory_are_passed_over(tmp_path):
    """A link inside is a second name; one that leads outside is no voice."""
    save(tmp_path / "secret.npz")
    save(tmp_path / "voices" / "one.npz")
    (tmp_path / "voices" / "alias.npz").symlink_to(tmp_path / "voices" / "one.npz")
    (tmp_path / "voices" / "leak.npz").symlink_to(tmp_path / "secret.npz")
    assert VoiceLibrary([tmp_path / "voices"], SMALL).names == ("alias", "one", "random")


def packed(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def array(values):
    file = io.BytesIO()
    np.save(file, values, allow_pickle=True)
    return file.getvalue()


DAMAGED = "it is damaged, or no file of Bark's kind"
REASONS = {
    "empty": (b"", DAMAGED),
    "text": (b"not a zip", DAMAGED),
    "cut": (b"PK\x03\x04 cut off", DAMAGED),
    "pickle": (b"\x80\x04N.", DAMAGED),
    "objects": (packed(semantic_prompt=np.array([{}]), coarse_prompt=[1], fine_prompt=[1]), DAMAGED),
    "array": (array(np.arange(4)), "it is a single array, and no archive of three"),
    "one-prompt": (packed(semantic_prompt=np.arange(40)), "it lacks coarse_prompt and fine_prompt"),
    "others": (packed(a=np.arange(40)), "it lacks semantic_prompt and coarse_prompt and fine_prompt"),
}
"""Files that are no voices, and what is said of them."""

BAD = {
    "a semantic token out of range": {"semantic_prompt": np.full(40, 10_000)},
    "a negative code": {"fine_prompt": np.full((8, 60), -1)},
    "a code out of range": {"coarse_prompt": np.full((2, 60), 1024)},
    "a wrong shape": {"semantic_prompt": np.zeros((2, 20), int)},
    "too few codebooks": {"fine_prompt": np.zeros((4, 60), int)},
    "nothing": {"semantic_prompt": np.zeros(0, int)},
    "fractions": {"semantic_prompt": np.zeros(40)},
    "a wrong ratio": {"semantic_prompt": np.arange(70)},
    "coarse that is not fine": {"coarse_prompt": np.zeros((2, 60), int)},
    "objects": {"semantic_prompt": np.array([{}], dtype=object)},
}


@pytest.mark.parametrize("changes", BAD.values(), ids=BAD.keys())
def test_a_file_that_is_no_voice_is_refused_by_name(tmp_path, changes):
    """Ranges, shapes, lengths and agreement of the prompts are checked, and the file is named."""
    save(tmp_path / "bad.npz", **changes)
    with pytest.raises(CheckpointError, match=r"bad\.npz"):
        VoiceLibrary([tmp_path], SMALL)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut off"])
def test_a_broken_file_is_refused_by_name(tmp_path, content):
    """What numpy cannot read is an error that names the file."""
    (tmp_path / "bad.npz").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"bad\.npz"):
        VoiceLibrary([tmp_path], SMALL)


@pytest.mark.parametrize("offset", range(0, 600, 25))
def test_a_damaged_file_is_refused_by_name(tmp_path, offset):
    """A compressed file that is damaged anywhere is refused, or the damage touched nothing that is read."""
    np.savez_compressed(tmp_path / "bad.npz", **arrays())
    content = bytearray((tmp_path / "bad.npz").read_bytes())
    content[offset : offset + 4] = b"\xff\x07\x01\xfe"
    (tmp_path / "bad.npz").write_bytes(content)
    try:
        library = VoiceLibrary([tmp_path], SMALL)
    except CheckpointError as error:
        assert "bad.npz" in error.message
    else:
        assert library.names == ("bad", "random")


def test_a_file_with_a_missing_prompt_is_refused(tmp_path):
    """All three prompts must be there."""
    np.savez(tmp_path / "bad.npz", semantic_prompt=np.arange(40))
    with pytest.raises(CheckpointError, match="coarse_prompt"):
        VoiceLibrary([tmp_path], SMALL)


def test_of_the_shared_directory_other_models_voices_are_passed_over(tmp_path, caplog):
    """With a line in the log; what fits is added, and wins over the model's own of that name."""
    caplog.set_level("INFO")
    save(tmp_path / "model" / "one.npz")
    save(tmp_path / "shared" / "one.npz", num_tokens=60)
    save(tmp_path / "shared" / "v2" / "two.npz", semantic_prompt=np.full(40, 10_000))
    library = VoiceLibrary([tmp_path / "model"], SMALL, shared=tmp_path / "shared")
    assert library.names == ("one", "random") and library.passed_over == ("v2/two",)
    assert len(library.get("one").semantic) == 60
    (record,) = caplog.records
    assert record.first == "v2/two" and "0..9999" in record.problem


def test_a_broken_file_in_the_shared_directory_is_refused_by_name(tmp_path):
    """It is not skipped as a voice of another model would be."""
    save(tmp_path / "one.npz")
    (tmp_path / "bad.npz").write_bytes((tmp_path / "one.npz").read_bytes()[:500])
    with pytest.raises(CheckpointError, match=r"bad\.npz"):
        VoiceLibrary([], SMALL, shared=tmp_path)


def test_all_that_is_wrong_is_told_at_once(tmp_path):
    """A line for each file; who keeps the errors has the other voices."""
    save(tmp_path / "one.npz")
    for name, problem in REASONS.items():
        (tmp_path / f"{name}.npz").write_bytes(problem[0])
    save(tmp_path / "range.npz", semantic_prompt=np.full(40, 10_000))
    with pytest.raises(CheckpointError) as refused:
        VoiceLibrary([tmp_path], SMALL)
    lines = refused.value.message.splitlines()
    assert len(lines) == len(REASONS) + 1
    for name, (_, reason) in REASONS.items():
        assert any(f"{name}.npz cannot be read: {reason}; put" in line for line in lines), name
    assert any("range.npz does not fit" in line and "remove it" in line for line in lines)
    library = VoiceLibrary([tmp_path], SMALL, keeps_errors=True)
    assert library.names == ("one", "random") and len(library.errors) == len(lines)


def test_a_file_larger_than_any_voice_is_not_read(tmp_path):
    """Though it is small before it is unpacked."""
    np.savez_compressed(tmp_path / "bad.npz", **arrays(semantic_prompt=np.zeros(1 << 22, np.int64)))
    assert (tmp_path / "bad.npz").stat().st_size < 100_000
    with pytest.raises(CheckpointError, match="too many for a voice"):
        VoiceLibrary([tmp_path], SMALL)


def test_directories_are_read_again(tmp_path):
    """New voices are there, removed ones are not, and a changed one is the new one."""
    save(tmp_path / "one.npz")
    library = VoiceLibrary([tmp_path], SMALL)
    before = library.get("one")
    save(tmp_path / "two.npz")
    assert library.names == ("one", "random")
    library.reload()
    assert library.names == ("one", "two", "random")
    (tmp_path / "two.npz").unlink()
    save(tmp_path / "one.npz", num_tokens=60)
    library.reload()
    assert library.names == ("one", "random") and library.default == "one"
    assert len(library.get("one").semantic) != len(before.semantic)


@pytest.mark.parametrize(
    "content", [b"", b"nothing", b"PK\x03\x04", "half", "a token out of range", "random"]
)
@pytest.mark.parametrize("read_again", ["reload", "refresh"])
def test_a_broken_file_changes_nothing_for_its_voice(tmp_path, content, read_again, caplog):
    """One that was there before stays, one that was not is left out, and all others are read."""
    save(tmp_path / "one.npz")
    library = VoiceLibrary([tmp_path], SMALL)
    before = library.get("one")
    whole = (tmp_path / "one.npz").read_bytes()
    bad = npz(voice_arrays(semantic_prompt=np.full(40, 10_000)))
    content = {"half": whole[: len(whole) // 2], "a token out of range": bad, "random": bad}.get(
        content, content
    )
    names = ("one", "new", "random") if content == "random" else ("one", "new")
    for name in names:
        (tmp_path / f"{name}.npz").write_bytes(content)
    save(tmp_path / "right.npz")
    getattr(library, read_again)()
    assert library.names == ("one", "right", "random") and library.get("one") is before
    assert caplog.messages == ["a voice cannot be read; nothing changes for it"] * len(names)
    save(tmp_path / "new.npz")
    save(tmp_path / "one.npz", num_tokens=60)
    getattr(library, read_again)()
    assert library.names == ("new", "one", "right", "random") and len(library.get("one").semantic) == 60


def test_only_what_has_changed_is_read(tmp_path, caplog):
    """A voice that nobody touched is the same object, and a broken file is told once, and again on `reload`."""
    save(tmp_path / "one.npz")
    save_files(tmp_path / "v2", "two")
    library = VoiceLibrary([tmp_path], SMALL)
    one, two = library.get("one"), library.get("v2/two")
    assert library.refresh() is False
    (tmp_path / "bad.npz").write_bytes(b"bad")
    assert [library.refresh() for _ in range(3)] == [True, False, False]
    save(tmp_path / "three.npz")
    assert library.refresh() is True
    assert library.get("one") is one and library.get("v2/two") is two
    assert len(caplog.messages) == 1
    library.reload()
    assert len(caplog.messages) == 2 and library.get("one") is one


@pytest.mark.parametrize("key", ["semantic_prompt", "coarse_prompt", "fine_prompt"])
def test_each_of_three_files_is_watched(tmp_path, key):
    """A voice of three files is read again when one of them is replaced, and gone when one is."""
    save_files(tmp_path, "one")
    library = VoiceLibrary([tmp_path], SMALL)
    file = tmp_path / f"one_{key}.npy"
    changed = {"semantic_prompt": np.arange(40) + 1, "coarse_prompt": np.ones((2, 60), int)}
    save_files(tmp_path, "one", **{key: changed.get(key, np.ones((8, 60), int))})
    before = library.get("one")
    assert library.refresh() is True
    # The codes no longer agree, unless the semantic tokens alone have changed.
    assert (library.get("one") is before) == (key != "semantic_prompt")
    file.unlink()
    assert library.refresh() is True


@pytest.mark.parametrize("place", ["model", "own", "shared"])
def test_every_directory_is_watched(tmp_path, place):
    """Also one that is not there yet, and names below another."""
    directories = [tmp_path / "model", tmp_path / "own"]
    library = VoiceLibrary(directories, SMALL, shared=tmp_path / "shared")
    save(tmp_path / place / "v2" / "en_speaker_6.npz")
    assert library.refresh() is True and library.names == ("v2/en_speaker_6", "random")
    (tmp_path / place / "v2" / "en_speaker_6.npz").unlink()
    assert library.refresh() is True and library.names == ("random",)
    (tmp_path / place / "v2").rmdir()
    assert library.refresh() is False


def test_an_utterance_keeps_the_voices_of_its_beginning(tmp_path, monkeypatch):
    """Those that are removed or replaced too, also if it asks for them later; there is a bound to how many do."""
    monkeypatch.setattr("streamer.voices.library.MAX_REMEMBERED", 2)
    for name in ("one", "two", "three"):
        save(tmp_path / f"{name}.npz")
    library = VoiceLibrary([tmp_path], SMALL)
    one, two = library.get("one", "a"), library.get("two")
    (tmp_path / "one.npz").unlink()
    save(tmp_path / "two.npz", num_tokens=60)
    save(tmp_path / "four.npz")
    assert library.refresh() is True
    assert library.get("one", "a") is one and library.get("two", "a") is two and library.get("three", "a")
    assert library.get("two", "b") is library.get("two") is not two
    for name, utterance in (("one", ""), ("one", "b"), ("four", "a")):
        with pytest.raises(VoiceNotFoundError):
            library.get(name, utterance)
    library.get("two", "c")  # `a` asked after `b`
    assert library.get("one", "a") is one
    library.get("two", "d")
    library.get("two", "e")
    with pytest.raises(VoiceNotFoundError):
        library.get("one", "a")


def test_a_mounted_directory_is_followed_through_its_links(tmp_path):
    """Kubernetes replaces the link `..data` when a mounted map changes; hidden directories have no voices."""
    for version, num_tokens in (("..1", 40), ("..2", 60)):
        save(tmp_path / version / "anna.npz", num_tokens=num_tokens)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "anna.npz").symlink_to("..data/anna.npz")
    library = VoiceLibrary([tmp_path], SMALL)
    assert library.names == ("anna", "random") and len(library.get("anna").semantic) == 40
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").replace(tmp_path / "..data")
    assert library.refresh() is True
    assert library.names == ("anna", "random") and len(library.get("anna").semantic) == 60


@pytest.mark.parametrize("suffix", [".incomplete", ".npz.incomplete", ".npz.part", ".tmp", ".npz~"])
def test_a_file_that_is_being_written_beside_is_no_voice(tmp_path, suffix):
    """Nothing is read before it has been renamed."""
    library = VoiceLibrary([tmp_path], SMALL)
    (tmp_path / f"one{suffix}").write_bytes(npz(voice_arrays()))
    assert library.refresh() is False
    (tmp_path / f"one{suffix}").replace(tmp_path / "one.npz")
    assert library.refresh() is True and library.names == ("one", "random")
