"""How far are the word times from the moments at which the words are heard? Judged by an ASR's word times.

It speaks the evaluation's sentences and some with commas, lists and figures in this process. Besides the times of
`words`, which the model tells or which are found by pauses, other estimates are judged on the same sound: by pauses
alone; shares of the sentence in proportion to letters; and, by pauses, the words of its first half when only that half
has been made. With `--work`, the folder of the training, the judge is itself judged: by the teacher's speech, whose own
lengths of its sounds are exact.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from streamer.api import Audio, SpeechOptions, speak_into_memory
from streamer.config import EngineConfig
from streamer.loadtest.environment import environment, write_result
from streamer.speech.events import SentenceEnded, SentenceStarted, SpeechEvent, WordTime, WordTimes
from streamer.speech.word_times import SpokenWords
from streamer.text.splitting.sentences import Sentence
from training.features import MARKS
from training.recipe import shards
from training.sentences import EVALUATION
from training.teacher import SAMPLE_RATE_HZ

SENTENCES = (
    "Yes, I will be there by noon, unless the train is late.",
    "However, the old bridge was closed, so we had to turn around.",
    "First, open the window; then, water the plants; after that, call your sister.",
    "I bought apples, pears, bread, butter, and a little cheese.",
    "When the rain stopped, the children ran outside, laughing and shouting.",
    "My brother, who lives in Boston, is a teacher.",
    "Would you like tea or coffee?",
    "The meeting is on Monday at nine thirty.",
    "It costs twelve dollars and fifty cents.",
    "The package will arrive on March 3rd, 2024.",
    "Call me at 5:30 pm.",
    "She paid $45 for two tickets.",
    "Thank you!",
    "Good morning, how are you today?",
    "I am sorry, but the kitchen is closed.",
    "The longest river in this country runs through seven different states before it reaches the sea.",
    "He opened the letter, read it twice, and put it back into the drawer without saying a word.",
    "Let me check that for you. There are three flights tomorrow. The first one leaves at eight.",
    "If you ask me, that was the best concert of the year.",
    "Nobody knew the answer; nobody even tried.",
    "The library, the museum and the old theatre are all on the same street.",
    "Please remember to bring your passport, your ticket and some water.",
    "Dr. Smith lives on the second floor.",
    "We walked along the beach until the sun went down.",
    "There is a small problem with your order: the blue shirt is sold out.",
    "Well, to be honest, I do not think so.",
    "The temperature will drop to about 15 degrees tonight, and it may rain.",
    "Turn left at the church, go straight for half a mile, and you will see the station on your right.",
    "Can you hear me now?",
    "A good book, a warm blanket and a cup of tea are all I need on a winter evening.",
)
TEACHER_SHARDS, TEACHER_STEP = 4, 4
"""From how many of the held-out shards, and of which of their sentences (every so many), the judge is judged."""
ESTIMATES = ("words", "pauses", "proportion", "first_half")
FIGURES = {
    "mean_ms": "mean error ms",
    "median_ms": "median",
    "p90_ms": "p90",
    "begins_late_ms": "begins late by",
    "ends_late_ms": "ends late by",
    "mean_in_step_ms": "mean error ms, in step",
    "p90_in_step_ms": "p90, in step",
}
"""The figures and what they are called in the table; `summary` says what they are."""
Heard = tuple[str, int, int]


def by_letters(sentence: Sentence, start_ms: int, end_ms: int) -> tuple[WordTime, ...]:
    """Return times in proportion to each word's share of the letters, from the sentence's start to its end."""
    matches = list(re.finditer(r"\S+", sentence.text))
    ends = np.cumsum([0] + [len(match.group()) + 1 for match in matches])
    places = (start_ms + (end_ms - start_ms) * ends / ends[-1]).round().astype(int).tolist()
    times = zip(matches, places, places[1:], strict=False)
    return tuple(WordTime(match.group(), begin, end, *match.span()) for match, begin, end in times)


def by_pauses(sentence: Sentence, start_ms: int, end_ms: int, audio: Audio) -> tuple[WordTime, ...]:
    """Return the times of a model that does not tell them."""
    return _spoken(sentence, start_ms, end_ms, audio).whole(end_ms)


def of_first_half(sentence: Sentence, start_ms: int, end_ms: int, audio: Audio) -> tuple[WordTime, ...]:
    """Return the words that end in the sentence's first half, known from the sound of that half alone."""
    middle_ms = (start_ms + end_ms) // 2
    spoken = _spoken(sentence, start_ms, middle_ms, audio)
    # The other words have no name here, which matches nothing that was heard.
    return tuple(word if word.end_ms <= middle_ms else WordTime("", 0, 0, 0, 0) for word in spoken.expected())


def _spoken(sentence: Sentence, start_ms: int, end_ms: int, audio: Audio) -> SpokenWords:
    """Return the words of a sentence that has begun, with its sound until `end_ms`."""
    per_ms = audio.sample_rate_hz // 1000
    spoken = SpokenWords(sentence, start_ms, audio.sample_rate_hz)
    spoken.add(audio.samples[start_ms * per_ms : end_ms * per_ms])
    return spoken


def estimates(events: Sequence[SpeechEvent], audio: Audio) -> dict[str, list[WordTime]]:
    """Return the words of an utterance by each of the `ESTIMATES`."""
    found: dict[str, list[WordTime]] = {name: [] for name in ESTIMATES}
    started: SentenceStarted | None = None
    for event in events:
        if isinstance(event, SentenceStarted):
            started = event
        elif isinstance(event, WordTimes):
            found["words"] += event.words
        elif isinstance(event, SentenceEnded) and started is not None:
            sentence = Sentence(started.text, started.char_start, started.char_end, 0.0, started.text)
            found["pauses"] += by_pauses(sentence, started.start_ms, event.end_ms, audio)
            found["proportion"] += by_letters(sentence, started.start_ms, event.end_ms)
            found["first_half"] += of_first_half(sentence, started.start_ms, event.end_ms, audio)
    return found


def errors_ms(words: Sequence[WordTime], heard: Sequence[Heard]) -> list[tuple[int, int]]:
    """Return how many ms too late the begin and end of each word are, for the words that were understood."""
    told_names, heard_names = [_name(word.text) for word in words], [_name(name) for name, _, _ in heard]
    errors = []
    for block in SequenceMatcher(None, told_names, heard_names, autojunk=False).get_matching_blocks():
        for offset in range(block.size):
            word, (name, start_ms, end_ms) = words[block.a + offset], heard[block.b + offset]
            if _name(name):
                errors.append((word.start_ms - start_ms, word.end_ms - end_ms))
    return errors


def _name(word: str) -> str:
    return re.sub(r"[^a-z0-9]", "", word.lower())


def teacher_words(text: str, phonemes: Sequence[tuple[str, int, int]]) -> list[WordTime]:
    """Return the words of a line by the lengths of its sounds, [(sign, first sample, samples)].

    None at all if there are not as many groups of sounds as words: the teacher then reads one word as several.
    """
    groups: list[list[int]] = [[]]
    for sign, start, length in phonemes:
        if sign == " ":
            groups.append([])
        elif sign not in MARKS:
            groups[-1] += [start, start + length]
    spans, words = [(min(group), max(group)) for group in groups if group], text.split()
    if len(spans) != len(words):
        return []
    per_ms = SAMPLE_RATE_HZ // 1000
    return [
        WordTime(word, begin // per_ms, end // per_ms, 0, 0)
        for word, (begin, end) in zip(words, spans, strict=True)
    ]


def judge_the_judge(work: Path) -> dict[str, Any]:
    """Return the errors of the teacher's own times against the judge's, on speech that no training saw."""
    from training.judge import heard_words

    errors: list[tuple[int, int]] = []
    for name in shards(work, held_out=True)[:TEACHER_SHARDS]:
        sound = np.load(work / "speech" / f"{name}.npz")["sound"].astype(np.float32) / 32768
        rows = json.loads((work / "speech" / f"{name}.json").read_text(encoding="utf-8"))
        for row in rows[::TEACHER_STEP]:
            line = sound[row["start"] : row["start"] + row["length"]]
            errors += errors_ms(
                teacher_words(row["text"], row["phonemes"]), heard_words(line, SAMPLE_RATE_HZ)
            )
    return {"estimate": "teacher", **summary(errors)}


def summary(errors: Sequence[tuple[int, int]]) -> dict[str, float | int | None]:
    """Return the absolute errors of begins and ends together, and the median of each; late is positive.

    The judge's own times are late: behind a pause, where the sound shows when a word begins, by 80 ms. Errors *in step*
    are what is left when the median of the begins is taken from the begins, and that of the ends from the ends.
    """
    if not errors:
        return dict.fromkeys(FIGURES) | {"words": 0}
    table = np.array(errors)
    late = np.median(table, axis=0)
    return {
        "words": len(errors),
        "mean_ms": float(np.mean(np.abs(table))),
        "median_ms": float(np.median(np.abs(table))),
        "p90_ms": float(np.percentile(np.abs(table), 90)),
        "begins_late_ms": float(late[0]),
        "ends_late_ms": float(late[1]),
        "mean_in_step_ms": float(np.mean(np.abs(table - late))),
        "p90_in_step_ms": float(np.percentile(np.abs(table - late), 90)),
    }


def measure(texts: Sequence[str], first_seed: int) -> dict[str, Any]:
    """Speak every text once, each with its own seed."""
    from training.judge import heard_words  # imported here, because its packages are needed for nothing else

    errors: dict[str, list[tuple[int, int]]] = {name: [] for name in ESTIMATES}
    num_words = 0
    for seed, text in enumerate(texts, first_seed):
        events: list[SpeechEvent] = []
        audio = speak_into_memory(
            EngineConfig(max_load=None, chunk_schedule="latency"),
            text,
            SpeechOptions(seed=seed),
            events.append,
        )
        heard = heard_words(audio.samples, audio.sample_rate_hz)
        for name, words in estimates(events, audio).items():
            errors[name] += errors_ms(words, heard)
        num_words += len(text.split())
    rows = [{"estimate": name, **summary(errors[name])} for name in ESTIMATES]
    return {
        "benchmark": "word_times",
        **environment(),
        "sentences": len(texts),
        "words_in_texts": num_words,
        "first_seed": first_seed,
        "rows": rows,
    }


def show(result: dict[str, Any]) -> None:
    table = Table(
        title=f"{result['sentences']} texts of {result['words_in_texts']} words, against the ASR's word times"
    )
    for name in ("estimate", "words understood", *FIGURES.values()):
        table.add_column(name)
    for row in result["rows"]:
        figures = (row[name] for name in FIGURES)
        table.add_row(
            row["estimate"],
            str(row["words"]),
            *("–" if figure is None else f"{figure:.0f}" for figure in figures),
        )
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument(
        "--work", type=Path, help="the training's folder: judge the judge by the teacher's speech"
    )
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    texts = [*EVALUATION.read_text(encoding="utf-8").splitlines(), *SENTENCES]
    result = measure(texts, arguments.first_seed)
    if arguments.work:
        result["rows"].append(judge_the_judge(arguments.work))
    show(result)
    if arguments.output:
        write_result(arguments.output, result)


if __name__ == "__main__":
    main()
