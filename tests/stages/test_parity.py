"""What the stages make with argmax sampling is what Bark's own loops make from the same weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from streamer.sampling import SamplingParams
from streamer.stages.chain import semantic_cap
from tests.fakes.tiny_bark import GREEDY, NUM_CODEBOOKS, TINY, run, tiny_model, tiny_voice, tiny_work
from tests.stages.reference import generate_coarse, generate_fine, generate_semantic

HISTORIES = {"none": 0, "short": 5, "odd": 7, "full": 40}


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.mark.parametrize("num_history", HISTORIES.values(), ids=HISTORIES.keys())
def test_semantic_and_coarse_tokens_are_the_references(model, num_history):
    """Over several windows, with and without history: the same tokens as a run without streaming or cache."""
    voice = tiny_voice(num_history)
    work = tiny_work(voice)
    run(model, work)
    semantic = generate_semantic(model, work.text_tokens, voice, 40)
    coarse, inputs = generate_coarse(model, semantic, voice)
    assert len(inputs) > 5
    assert work.semantic.tokens == semantic
    assert work.coarse.tokens == coarse


@pytest.mark.parametrize("num_history", HISTORIES.values(), ids=HISTORIES.keys())
def test_every_windows_input_is_the_one_computed_after_the_fact(model, num_history, monkeypatch):
    """Windows start while semantic tokens are still made, and yet read what the finished sentence gives."""
    from streamer.stages.coarse import CoarseStage

    captured, finished = [], []
    window_input = CoarseStage.window_input

    def capture(self, work):
        captured.append(window_input(self, work))
        finished.append(work.semantic.is_finished)
        return captured[-1]

    monkeypatch.setattr(CoarseStage, "window_input", capture)
    voice = tiny_voice(num_history)
    work = tiny_work(voice)
    run(model, work)
    _, inputs = generate_coarse(model, work.semantic.tokens, voice)
    assert captured == inputs
    assert not finished[0]
    assert finished[-1]


def with_chunks(*sizes):
    return replace(TINY, fine=replace(TINY.fine, chunk_frames=sizes))


@pytest.mark.parametrize(
    ("num_history", "num_tokens"),
    [(0, 10), (5, 9), (40, 10), (40, 32)],
    ids=["none", "short", "full", "3 windows"],
)
def test_fine_codes_are_the_references(num_history, num_tokens):
    """A sentence that fits one chunk, or fills chunks of the reference's hop exactly, gets its very codes."""
    config = with_chunks(16)
    model = tiny_model(config)
    voice = tiny_voice(num_history)
    work = tiny_work(voice, max_tokens=num_tokens, config=config)
    run(model, work)
    expected = generate_fine(model, work.coarse.tokens, voice)
    np.testing.assert_array_equal(work.fine.codes[:, : work.fine.num_frames].numpy(), expected)


@pytest.mark.parametrize("num_tokens", [4, 10, 16, 22, 32, 40, 64])
@pytest.mark.parametrize("num_history", HISTORIES.values(), ids=HISTORIES.keys())
def test_whole_sentences_are_the_references(num_history, num_tokens):
    """Filled in whole, a sentence of any length gets the reference's codes, whatever precedes it; so do neighbours."""
    config = replace(TINY, fine=replace(TINY.fine, is_whole=True))
    model = tiny_model(config)
    params = replace(GREEDY, fine_temp=0.7)
    voices = (tiny_voice(num_history), tiny_voice(11))
    works = [tiny_work(voice, params, max_tokens=num_tokens, config=config) for voice in voices]
    outlets = run(model, *works)
    for work, voice, outlet in zip(works, voices, outlets, strict=True):
        expected = generate_fine(model, work.coarse.tokens, voice, params)
        np.testing.assert_array_equal(work.fine.codes[:, : work.fine.num_frames].numpy(), expected)
        with torch.inference_mode():
            whole = model.codec.decode(torch.from_numpy(expected)[None])[0]
        np.testing.assert_allclose(outlet.samples, whole.clamp(-1, 1).numpy(), atol=1e-5)


def test_each_fine_chunk_is_the_reference_on_a_sentence_that_ends_there(model):
    """With growing chunks, every chunk is a reference run whose history is what was sent before."""
    voice = tiny_voice(40)
    work = tiny_work(voice)
    run(model, work)
    codes = work.fine.codes[:, : work.fine.num_frames].numpy()
    assert codes.shape == (NUM_CODEBOOKS, 60)
    for first, end in [(0, 8), (8, 20), (20, 36), (36, 52), (52, 60)]:
        so_far = np.hstack([voice.fine, codes[:, :first]])
        past = replace(voice, fine=so_far)
        chunk = generate_fine(model, work.coarse.tokens[2 * first : 2 * end], past)
        np.testing.assert_array_equal(codes[:, first:end], chunk)


def test_sound_is_the_whole_decode_of_the_codes(model):
    """What leaves chunk by chunk is the codec's decode of all the codes at once."""
    work = tiny_work(tiny_voice(40))
    (outlet,) = run(model, work)
    with torch.inference_mode():
        whole = model.codec.decode(work.fine.codes[None, :, : work.fine.num_frames])[0]
    assert len(outlet.chunks) > 3
    np.testing.assert_allclose(outlet.samples, whole.clamp(-1, 1).numpy(), atol=1e-5)


@pytest.mark.parametrize("num_history", HISTORIES.values(), ids=HISTORIES.keys())
@pytest.mark.parametrize(("history", "window"), [(12, 6), (24, 14), (13, 9), (20, 1)])
def test_coarse_windows_of_other_lengths_are_the_references(model, num_history, history, window):
    """`max_coarse_history` and `sliding_window_len` of each request give the reference's tokens, odd ones too."""
    voice = tiny_voice(num_history)
    params = replace(GREEDY, max_coarse_history=history, sliding_window_len=window)
    work, neighbour = tiny_work(voice, params), tiny_work(tiny_voice(9), text=(2, 7, 1))
    run(model, work, neighbour)
    for each in (work, neighbour):
        coarse, _ = generate_coarse(model, each.semantic.tokens, each.voice, each.params)
        assert each.coarse.tokens == coarse


@pytest.mark.parametrize("num_history", HISTORIES.values(), ids=HISTORIES.keys())
@pytest.mark.parametrize(
    "knobs",
    [
        {"text_temp": 0.7, "waveform_temp": 0.9, "fine_temp": 0.5},
        {"text_temp": 1.1, "waveform_temp": 0.6, "fine_temp": None, "top_k": 4},
        {"text_temp": 0.9, "waveform_temp": 0.9, "fine_temp": 1.3, "top_p": 0.7},
        {"text_temp": 1.4, "waveform_temp": 1.4, "fine_temp": 0.2, "top_k": 7, "top_p": 0.9},
        {"text_temp": 1.0, "min_eos_p": 0.03},
        {"text_temp": 1.0, "min_eos_p": None, "max_gen_duration_s": 0.5},
        {"waveform_temp": 1.0, "max_coarse_history": 15, "sliding_window_len": 8, "top_k": 9},
    ],
    ids=lambda knobs: ",".join(f"{name}={value}" for name, value in knobs.items()),
)
def test_every_knob_draws_what_the_reference_draws(num_history, knobs):
    """With keyed noise in the place of multinomial's: the same tokens of all three stages, whatever the history."""
    config = with_chunks(16)
    model = tiny_model(config)
    voice, params = tiny_voice(num_history), SamplingParams(seed=7, **knobs)
    cap = semantic_cap("a" * 40, config, params.max_gen_duration_s)
    work = tiny_work(voice, params, max_tokens=cap, config=config)
    run(model, work)
    semantic = generate_semantic(model, work.text_tokens, voice, config.semantic.max_tokens, params)
    assert work.semantic.tokens == semantic
    coarse, _ = generate_coarse(model, semantic, voice, params)
    assert work.coarse.tokens == coarse
    num_frames = min(16, work.fine.num_frames)
    expected = generate_fine(model, coarse[: 2 * num_frames], voice, params)
    np.testing.assert_array_equal(work.fine.codes[:, :num_frames].numpy(), expected)


def test_a_spoken_sentence_is_a_voice(model):
    """Its tokens equal Bark's `output_full`, and a sentence that continues from them equals the reference's."""
    first = tiny_work(tiny_voice(5))
    run(model, first)
    voice = first.as_voice()
    assert voice is not None
    assert voice.problem(model.config) is None
    assert voice.semantic.tolist() == first.semantic.tokens
    np.testing.assert_array_equal(voice.fine, first.fine.codes[:, : first.fine.num_frames].numpy())
    second = tiny_work(voice)
    run(model, second)
    semantic = generate_semantic(model, second.text_tokens, voice, 40)
    assert second.semantic.tokens == semantic
    assert second.coarse.tokens == generate_coarse(model, semantic, voice)[0]
