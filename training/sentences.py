"""The texts that the teacher reads: an assistant's replies, WordNet's examples and definitions, and short utterances.

They follow from the seed alone. Their lengths are an assistant's: 1 to 45 words, half of them over 12.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from streamer.text.verbalize.normalize import normalize
from training.phrases import CLAUSES, SENTENCES
from training.replies import CARRIERS, SHORT, TEMPLATES, rare_words, reply

T = TypeVar("T")
PLAIN = re.compile(r"[A-Za-z][A-Za-z ,'\-]*[.?!]?")
QUOTED = re.compile(r'"([^"]+)"')
LEMMA = re.compile(r"[a-z]{3,14}(?:_[a-z]{2,12})?")
EXAMPLE_WORDS, DEFINITION_WORDS, MAX_WORDS = range(3, 15), range(5, 31), 45
MAX_SENTENCES = 5
"""The most sentences of a reply, each of which is a line."""
PARTS_OF_SPEECH = ("adj", "adv", "noun", "verb")
EVALUATION, EVALUATION_REPLIES = (
    Path(__file__).with_name(f"eval_{kind}.txt") for kind in ("sentences", "replies")
)
JOINTS = (
    ", and ", ", but ", ", because ", ", so ", ", while ", ", although ", " and ", " when ", "; ", ", or ",
    ", and then ", " before ", ", which is why ", ". ", "! ", " until ", ", yet ", ": ", "... ", " - ",
)  # fmt: skip
DEFINITIONS = (
    "{Lemma} is {gloss}.",
    "A {lemma} is {gloss}.",
    "The word {lemma} means {gloss}.",
    "What is a {lemma}? It's {gloss}.",
    "By {lemma} I mean {gloss}, {reason}.",
    "{Name} calls it {lemma}: {gloss}.",
)
VERB_DEFINITIONS = (
    "To {lemma} is to {gloss}.",
    "When you {lemma}, you {gloss}.",
    "Can you {lemma}? That is, {gloss}?",
)


class Gaps(dict[str, str]):
    """Fills some gaps of a template and leaves the others."""

    def __missing__(self, name: str) -> str:
        return "{" + name + "}"


@dataclass(frozen=True, slots=True)
class Line:
    """One utterance to be spoken; lines of the same paragraph follow each other."""

    text: str
    paragraph: int


def letters(text: str) -> str:
    """Return the letters of a sentence, by which two sentences are compared."""
    return re.sub(r"[^a-z ]", "", text.lower())


def not_for_training() -> set[str]:
    """Return the letters of all sentences that the voice is judged by."""
    texts = EVALUATION.read_text().splitlines() + EVALUATION_REPLIES.read_text().splitlines()
    return {letters(text) for text in texts}


def _wordnet_lines(folder: Path, part_of_speech: str) -> list[str]:
    return (folder / f"data.{part_of_speech}").read_text(encoding="utf-8").splitlines()


def wordnet_sentences(folder: Path) -> list[str]:
    """Return the quoted examples of WordNet's data files that are plain English of a few words, capitalized."""
    found: dict[str, None] = {}
    for part_of_speech in PARTS_OF_SPEECH:
        for line in _wordnet_lines(folder, part_of_speech):
            for quoted in QUOTED.findall(line):
                text = " ".join(quoted.split())
                if PLAIN.fullmatch(text) and len(text.split()) in EXAMPLE_WORDS:
                    text = text[0].upper() + text[1:]
                    found[text if text[-1] in ".?!" else text + "."] = None
    return list(found)


def wordnet_definitions(folder: Path) -> list[tuple[str, str, str]]:
    """Return (part of speech, word, definition) of WordNet's nouns and verbs, if both are plain English."""
    found = []
    for part_of_speech in ("noun", "verb"):
        for line in _wordnet_lines(folder, part_of_speech):
            data, _, gloss = line.partition(" | ")
            lemma = data.split(" ")[4] if gloss else ""
            meaning = " ".join(re.sub(r"\([^)]*\)", " ", gloss.split(";")[0]).split())
            if (
                LEMMA.fullmatch(lemma)
                and PLAIN.fullmatch(meaning)
                and len(meaning.split()) in DEFINITION_WORDS
            ):
                found.append((part_of_speech, lemma.replace("_", " "), meaning))
    return found


class Texts:
    """Draws paragraphs of every kind."""

    def __init__(self, wordnet_folder: Path, seed: int) -> None:
        self._chance = random.Random(seed)
        self._words = rare_words(wordnet_folder)
        self._examples = self._shuffled(wordnet_sentences(wordnet_folder))
        self._definitions = self._shuffled(wordnet_definitions(wordnet_folder))
        self._kinds: dict[Callable[[], list[str]], int] = {
            self.reply: 30, self.example: 18, self.joined: 18, self.definition: 12, self.carrier: 5, self.short: 10,
        }  # fmt: skip

    def _shuffled(self, items: list[T]) -> Iterator[T]:
        self._chance.shuffle(items)
        return iter(items)

    def paragraph(self) -> list[str]:
        """Return one or more sentences, each as it is spoken."""
        (kind,) = self._chance.choices(list(self._kinds), list(self._kinds.values()))
        made = [normalize(text) for text in kind()]
        return [text[0].upper() + text[1:] for text in made]

    def _filled(self, templates: tuple[str, ...]) -> str:
        return reply(self._chance, self._chance.choice(templates), self._words)

    def reply(self) -> list[str]:
        """Return an assistant's reply, or prose: up to `MAX_SENTENCES` sentences in a row."""
        count = self._chance.randint(1, MAX_SENTENCES)
        return [self._filled(SENTENCES if self._chance.random() < 0.7 else TEMPLATES) for _ in range(count)]

    def example(self) -> list[str]:
        """Return one of WordNet's examples."""
        return [next(self._examples)]

    def joined(self) -> list[str]:
        """Return two to four of WordNet's examples as one sentence, for its length and its marks."""
        text = next(self._examples)
        for _ in range(self._chance.randint(1, 3)):
            joint, more = self._chance.choice(JOINTS), next(self._examples)
            keeps_capital = joint.strip() in (".", "!") or more.split()[0].rstrip("'ms") in ("I", "I'")
            text = text.rstrip(".?!") + joint + (more if keeps_capital else more[0].lower() + more[1:])
        return [text]

    def definition(self) -> list[str]:
        """Return the definition of a word."""
        part_of_speech, lemma, gloss = next(self._definitions)
        template = self._chance.choice(VERB_DEFINITIONS if part_of_speech == "verb" else DEFINITIONS)
        made = reply(
            self._chance, template.format_map(Gaps(gloss=gloss, lemma=lemma, Lemma=lemma.capitalize()))
        )
        return [made]

    def carrier(self) -> list[str]:
        """Return a rare word in a simple sentence."""
        return [self._filled(CARRIERS)]

    def short(self) -> list[str]:
        """Return a word or two, or part of a sentence."""
        if self._chance.random() < 0.5:
            return [self._filled(SHORT)]
        return [self._filled(CLAUSES) + self._chance.choice(".,.,?!")]


def lines(wordnet_folder: Path, count: int, *, seed: int = 2) -> list[Line]:
    """Return the first `count` lines in their reading order; none is one of those that the voice is judged by.

    Only short lines may repeat: "Hello." is the first thing that many people try.
    """
    texts = Texts(wordnet_folder, seed)
    known = not_for_training()
    found: list[Line] = []
    paragraph = 0
    while len(found) < count:
        for text in texts.paragraph():
            is_new = letters(text) not in known
            if is_new and text.isascii() and len(text.split()) <= MAX_WORDS:
                found.append(Line(text, paragraph))
                if len(text.split()) > 3:
                    known.add(letters(text))
        paragraph += 1
    return found[:count]
