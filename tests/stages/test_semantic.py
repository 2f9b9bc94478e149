"""A sentence ends by the model's own end, by a likely end, or at the cap."""

import pytest
import torch

from streamer.sampling import SamplingParams
from streamer.stages.chain import semantic_cap
from tests.fakes.tiny_bark import TINY, run, tiny_model, tiny_voice, tiny_work

END = TINY.semantic.vocab_size
QUIET = SamplingParams(seed=4, text_temp=1.0, min_eos_p=0.2)


def speak(monkeypatch, end_logits, params=QUIET, *, max_tokens=40):
    """Run a sentence whose end has the given logit at each step while all other tokens have 0."""
    model = tiny_model()
    work = tiny_work(tiny_voice(40), params, max_tokens=max_tokens)

    def logits(*_, **__):
        step = min(len(work.semantic.tokens), len(end_logits) - 1)
        row = torch.zeros(1, TINY.semantic.transformer.output_vocab_size)
        row[0, END] = end_logits[step]
        row[0, END + 1 :] = 50.0  # ids beyond the end must never be looked at
        return row

    monkeypatch.setattr(model.semantic, "prefill", logits)
    monkeypatch.setattr(model.semantic, "decode", logits)
    (outlet,) = run(model, work)
    return work, outlet


def test_a_sampled_end_ends_the_sentence(monkeypatch):
    """The end token finishes the sentence and is not part of it."""
    work, outlet = speak(monkeypatch, [-30.0] * 7 + [30.0])
    assert len(work.semantic.tokens) == 7
    assert END not in work.semantic.tokens
    assert (outlet.chunks[-1].is_last, outlet.chunks[-1].truncated) == (True, False)


def test_a_likely_end_ends_the_sentence_and_drops_the_sampled_token(monkeypatch):
    """p(end) >= min_eos_p is enough, even if another token was sampled beside it."""
    almost = torch.log(torch.tensor(50 * 0.25)).item()  # p(end) = 0.2 among 50 others is a logit of log 12.5
    for seed in range(4):
        work, _ = speak(monkeypatch, [-30.0] * 3 + [almost + 1e-3], SamplingParams(seed=seed, text_temp=1.0))
        assert len(work.semantic.tokens) == 3


def test_a_less_likely_end_does_not(monkeypatch):
    """An end that is below min_eos_p and was not sampled does not end the sentence."""
    params = SamplingParams(seed=0, text_temp=0, min_eos_p=0.2)
    work, _ = speak(monkeypatch, [-1e-3], params, max_tokens=12)
    assert len(work.semantic.tokens) == 12


def test_an_end_at_once_is_a_sentence_without_audio(monkeypatch):
    """Without any semantic token there is one empty last chunk, which is not truncated."""
    work, outlet = speak(monkeypatch, [30.0])
    assert work.semantic.tokens == []
    assert [(len(chunk.samples), chunk.is_last, chunk.truncated) for chunk in outlet.chunks] == [
        (0, True, False)
    ]


@pytest.mark.parametrize(("num_tokens", "num_frames"), [(1, 1), (2, 3), (4, 6), (5, 7), (6, 9)])
def test_very_short_sentences_are_whole(monkeypatch, num_tokens, num_frames):
    """Sentences around the codec's first seven frames lose none of them."""
    _, outlet = speak(monkeypatch, [-30.0] * num_tokens + [30.0])
    assert len(outlet.samples) == num_frames * TINY.codec.hop_samples


def test_a_model_that_never_stops_is_stopped(monkeypatch):
    """The sentence ends at the cap, and its last chunk alone says so."""
    _, outlet = speak(monkeypatch, [-30.0], max_tokens=20)
    assert [chunk.truncated for chunk in outlet.chunks] == [False] * (len(outlet.chunks) - 1) + [True]
    assert len(outlet.samples) == 30 * TINY.codec.hop_samples


def test_the_models_own_limit_is_a_cap_too(monkeypatch):
    """The config's `max_tokens` holds, whatever the cap of the text is."""
    work, outlet = speak(monkeypatch, [-30.0], max_tokens=10_000)
    assert len(work.semantic.tokens) == TINY.semantic.max_tokens
    assert outlet.chunks[-1].truncated


def test_the_cap_grows_with_the_text():
    """A longer text may take longer, up to the model's limit."""
    caps = [semantic_cap("a" * length, tiny_model().config) for length in (0, 1, 10_000)]
    assert caps[-1] == TINY.semantic.max_tokens
    assert caps == sorted(caps)
