"""A model whose tokens name phones says every phone of the text, in order, whatever its weights prefer."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from streamer.errors import CheckpointError
from streamer.models.config import ModelConfig, PathConfig
from streamer.sampling import SamplingParams
from streamer.stages.sentence import SentenceWork
from streamer.stages.text_path import PathMaker
from tests.fakes.tiny_bark import TINY_WITH_PATH, run, tiny_model, tiny_voice

assert TINY_WITH_PATH.path is not None
PATH: PathConfig = TINY_WITH_PATH.path
SYMBOLS = TINY_WITH_PATH.tokenizer.symbols
NUM_PER_PHONE = PATH.tokens_per_phone
END = "end"
SAMPLED = SamplingParams(seed=1, text_temp=1.0, min_eos_p=0.2)
GREEDY = replace(SAMPLED, text_temp=0.0)
FILTERED = replace(SAMPLED, top_k=3, top_p=0.9)


def speak(
    text: str,
    params: SamplingParams = SAMPLED,
    *,
    config: ModelConfig = TINY_WITH_PATH,
    seed: int = 0,
    wishes: str | None = None,
    max_tokens: int = 70,
) -> SentenceWork:
    """Run a sentence of a model with random weights, or of one that always wishes for one phone, or for the end."""
    model = tiny_model(config, seed=seed)
    if wishes is not None:
        logits = torch.zeros(1, config.semantic.transformer.output_vocab_size)
        first = config.semantic.vocab_size if wishes == END else NUM_PER_PHONE * PATH.phones.index(wishes)
        logits[0, first : first + (1 if wishes == END else NUM_PER_PHONE)] = 50.0
        model.semantic.prefill = model.semantic.decode = lambda *_, **__: logits.clone()
    ids = [SYMBOLS.index(character) for character in text]
    work = SentenceWork(config, ids, tiny_voice(20), params, max_semantic_tokens=max_tokens)
    (outlet,) = run(model, work)
    assert not outlet.errors
    return work


def heard(work: SentenceWork) -> str:
    """The phones of the tokens, a letter each; `p` is a pause."""
    return "".join(PATH.phones[token // NUM_PER_PHONE][0] for token in work.semantic.tokens)


@pytest.mark.parametrize(
    "params", [SAMPLED, GREEDY, FILTERED, replace(SAMPLED, text_temp=5.0, min_eos_p=None)]
)
@pytest.mark.parametrize(
    ("text", "sound"),
    [
        ("a", "a{1,4}"),
        ("ad", "a{1,4}l{1,4}"),
        ("a d.", "a{1,4}p{0,6}l{1,4}p{1,6}"),
        ("bfc", "e{1,4}i{1,4}m{1,4}n{0,4}[ks]{1,8}"),
        ("dada", "(l{1,4}a{1,4}){2}"),
        ("a,  , d", "a{1,4}p{0,6}l{1,4}"),
        ("'a''d'", "a{1,4}l{1,4}"),
        (".", "p{1,6}"),
    ],
)
def test_random_weights_say_the_text(text: str, sound: str, params: SamplingParams) -> None:
    """Every phone comes, in order and for no longer than its limit, and then the end."""
    for seed in range(3):
        work = speak(text, replace(params, seed=seed), seed=seed)
        assert re.fullmatch(sound, heard(work))
        assert not work.is_truncated


@pytest.mark.parametrize("params", [SAMPLED, GREEDY, FILTERED])
@pytest.mark.parametrize(
    ("text", "sound"), [("ad", "a+l"), ("bd", "e+i+l"), ("a h", "a+p*o"), ("ad.", "a+l+p")]
)
def test_an_early_end_waits(text: str, sound: str, params: SamplingParams) -> None:
    """A model that wishes to end at once says every phone first, and ends as soon as the last was begun."""
    assert re.fullmatch(sound, heard(speak(text, params, wishes=END)))


@pytest.mark.parametrize("params", [SAMPLED, GREEDY, FILTERED])
@pytest.mark.parametrize(
    ("wish", "sound"),
    [("a", "a{4}p*l+p+"), ("l", "a+p*l{4}p+"), ("pause", "a+p{6}l+p{6}"), ("o", "a+p*l+p+")],
)
def test_a_stuck_row_moves_on(wish: str, sound: str, params: SamplingParams) -> None:
    """A phone or a pause that the model would keep for ever is left after its limit."""
    work = speak("a d.", params, wishes=wish)
    assert re.fullmatch(sound, heard(work))
    assert not work.is_truncated


@pytest.mark.parametrize("params", [SAMPLED, GREEDY, FILTERED])
@pytest.mark.parametrize(
    ("text", "sound"), [("a d.", "a+p{6}l+p{2}"), ("a d, ", "a+p{6}l+p{2}"), (".", "p{2}")]
)
def test_the_last_pause_has_a_limit_of_its_own(text: str, sound: str, params: SamplingParams) -> None:
    """What ends a sentence is hardly heard, so that it may be kept shorter than the pauses inside."""
    config = replace(TINY_WITH_PATH, path=replace(PATH, max_last_silence_tokens=2))
    assert re.fullmatch(sound, heard(speak(text, params, config=config, wishes="pause")))


@pytest.mark.parametrize("reach", [1, 2, 3])
@pytest.mark.parametrize("params", [SAMPLED, GREEDY, FILTERED])
def test_no_more_is_skipped_than_the_reach(reach: int, params: SamplingParams) -> None:
    """Of two phones that follow one another in the sound, the second is at most `reach` further in the text."""
    config = replace(TINY_WITH_PATH, path=replace(PATH, reach=reach))
    for text, wish in (("adehadeh", "o"), ("adehadeh", END), ("bdhabdha", "a"), ("dddddaaaaa", "a")):
        work = speak(text, params, config=config, wishes=wish)
        assert work.path is not None
        places = work.path.places(work.semantic.tokens)
        if text[0] != text[1]:
            assert all(0 <= after - before <= reach for before, after in pairwise([-1, *places, len(text)]))


def test_a_phone_that_comes_twice_in_a_row_may_sound_once() -> None:
    """Two equal phones are said as one or apart, and what follows both may come behind the first."""
    for seed in range(5):
        assert re.fullmatch("o{1,8}p{0,6}o{0,8}l{1,4}", heard(speak("hh hd", replace(SAMPLED, seed=seed))))


@pytest.mark.parametrize("text", ["eh h.", "h h", "hh h h", "ah h hd", "h, h"])
def test_a_word_of_one_phone_is_never_heard_as_a_part_of_the_word_before(text: str) -> None:
    """A word that only repeats the phone before it is said apart, by a pause or by holding the phone."""
    ends = [match.end() for match in re.finditer(r"\w+", text)]
    works = [speak(text, replace(SAMPLED, seed=seed)) for seed in range(5)]
    works += [speak(text, GREEDY, wishes=wish) for wish in ("o", "l", "a", END)]
    for work in works:
        assert all(begin < end for begin, end in work.word_times(ends))


def test_letters_of_an_unknown_word_take_their_time() -> None:
    """Letters whose sound nobody knows are any phones but pauses, and the text continues behind them."""
    for seed in range(5):
        assert re.fullmatch(
            "a{1,4}p{0,6}[^p]{5,8}p{0,6}l{1,4}p{1,6}", heard(speak("a ggg d.", replace(SAMPLED, seed=seed)))
        )


def test_places_tell_when_each_symbol_is_said() -> None:
    """Each token is said of the symbol whose phone it names."""
    work = speak("ad b.")
    assert work.path is not None
    places = work.path.places(work.semantic.tokens)
    symbols = "".join("ad b."[place] for place in places)
    assert re.fullmatch(r"a+d+ *b+\.+", symbols)


@pytest.mark.parametrize("params", [SAMPLED, GREEDY, FILTERED])
@pytest.mark.parametrize(
    ("text", "word_ends"),
    [
        ("ad b.", [2, 4]),
        ("ad, b a", [2, 5, 7]),
        ("dada ce hd", [4, 7, 10]),
        ("fad ggg abe.", [3, 7, 11]),
        ("d a d a d a.", [1, 3, 5, 7, 9, 11]),
        ("ha a h h, had", [2, 4, 6, 8, 12]),
        ("a a", [1, 3]),
    ],
)
def test_every_word_has_its_time(text: str, word_ends: list[int], params: SamplingParams) -> None:
    """No word of a whole sentence is left out, be it a single phone: each has tokens of its own, in order."""
    for seed in range(4):
        work = speak(text, replace(params, seed=seed), seed=seed)
        times = work.word_times(word_ends)
        assert len(times) == len(word_ends)
        assert all(begin < end for begin, end in times)
        assert [*sum(times, ())] == sorted(sum(times, ()))
        assert times[-1][1] <= len(work.semantic.tokens) / TINY_WITH_PATH.semantic.rate_hz


def test_pauses_belong_to_no_word() -> None:
    """A word lasts from the first token that says one of its phones to the last."""
    path = PathMaker(TINY_WITH_PATH, PATH).path([SYMBOLS.index(symbol) for symbol in "a, d."])
    said = [PATH.phones.index(phone) * NUM_PER_PHONE for phone in ("a", "a", "pause", "pause", "l", "pause")]
    assert path.word_spans(said, [1, 4], is_whole=True) == [(0, 2), (4, 5)]
    assert path.word_spans(said, [1, 4], is_whole=False) == [(0, 2), (4, 5)]
    assert path.word_spans(said[:5], [1, 4], is_whole=False) == [(0, 2)]
    assert path.word_spans(said[:5], [1, 4], is_whole=True) == [(0, 2), (4, 5)]
    assert path.word_spans(said[:2], [1, 4], is_whole=False) == []
    assert path.word_spans([], [1, 4], is_whole=False) == []
    assert path.word_spans(said, [1, 1, 4, 4], is_whole=True) == [(0, 2), (2, 2), (4, 5), (5, 5)]


def test_a_phone_of_its_own_limit_gives_way_sooner() -> None:
    """Limits of single phones count before those of all; of variants the longest counts."""
    path = replace(PATH, max_tokens_of={"a": 2, "pause": 3, "k": 6})
    config = replace(TINY_WITH_PATH, path=path)
    assert re.fullmatch("a{2}p*l+p{1,3}", heard(speak("a d.", GREEDY, config=config, wishes="a")))
    assert re.fullmatch("a+p{3}l+p{3}", heard(speak("a d.", SAMPLED, config=config, wishes="pause")))
    assert re.fullmatch("a+l{4}p+", heard(speak("ad.", FILTERED, config=config, wishes="l")))
    assert re.fullmatch("k{6}p+", heard(speak("c.", FILTERED, config=config, wishes="k")))


def test_a_sentence_that_is_cut_knows_what_it_said() -> None:
    """At the cap the symbol being said and those behind it are unsaid."""
    work = speak("adad", wishes="a", max_tokens=6)
    assert work.is_truncated
    assert heard(work)[:4] == "aaaa"
    assert len(work.word_times([1, 2, 3, 4])) in (1, 2)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"tokens_per_phone": 4}, "10 phones of 4 tokens"),
        ({"sounds": {"z": "a"}}, "'z'"),
        ({"sounds": {"a": "x"}}, "'x'"),
        ({"beginning": "a|y?"}, "'y'"),
        ({"silences": ("hush",)}, "'hush'"),
        ({"sounds": {"a": "|?"}}, "names no phone"),
        ({"sounds": {"a": "a " * 3000}}, "sounds in a sentence"),
        ({"reach": 0}, "reach"),
        ({"max_silence_tokens": 40_000}, "max_silence_tokens is 40000"),
        ({"max_last_silence_tokens": 0}, "max_last_silence_tokens is 0"),
        ({"max_phone_tokens": 0}, "max_phone_tokens"),
        ({"tokens_per_phone": 0}, "tokens_per_phone"),
        ({"max_tokens_of": {"x": 3}}, "'x' is none of its phones"),
        ({"max_tokens_of": {"a": 0}}, r"max_tokens_of\['a'\] is 0"),
    ],
)
def test_a_path_that_does_not_fit_is_refused(changes: dict[str, object], problem: str) -> None:
    """What the config declares must fit the model's tokens and symbols; the error names what does not."""
    config = replace(TINY_WITH_PATH, path=replace(PATH, **changes))
    assert config.path is not None
    with pytest.raises(CheckpointError, match=problem):
        PathMaker(config, config.path)
