"""Reads what the teacher said, and cuts it into the parts that the semantic model is asked for at run time.

The server gives the model a sentence at a time, a long sentence in pieces, and the first clause of a sentence alone
if its text is still arriving. So no part here goes beyond a sentence or the model's context, and some are clauses.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.pronunciation import INNER_MARKS, PIECE
from training.recipe import CODEBOOK_SIZE, CONFIG, MAX_SEMANTIC, NUM_CODEBOOKS, TEXT_CONTEXT, shards, split

Ints = npt.NDArray[np.int16]
SENTENCE_END = re.compile(r"""[.?!…]["')]*\s""")
"""What stands between two sentences."""
LONE_CLAUSES = 0.25
"""The share of sentences with clauses that are also cut into them."""
LONGEST_PART = MAX_SEMANTIC - 1
"""The greatest number of semantic tokens of a part: the model also has to draw the end."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """One utterance, or a part of one, and its speaker.

    It has the text, and the teacher's signs phone by phone for each piece of it; semantic tokens [50 Hz], and the sign
    that is heard in each; codes [codebooks, 75 Hz]; and the semantic tokens of what was said just before it, if it is
    a part that another one precedes.
    """

    text: str
    pieces: list[list[str]]
    semantic: Ints
    places: Ints
    codes: Ints
    speaker: str
    before: Ints | None = None

    @property
    def coarse(self) -> npt.NDArray[np.int64]:
        """Return the first two codebooks, interleaved, as the coarse model's tokens [150 Hz]."""
        offsets = np.array([[0], [CODEBOOK_SIZE]]) + CONFIG.coarse.codebook_offset
        flat: npt.NDArray[np.int64] = (self.codes[:2].astype(np.int64) + offsets).T.reshape(-1)
        return flat


def read_shard(work: Path, name: str) -> list[Spoken]:
    """Return the utterances of one shard; their codes are zeros if the quantizer has not seen it yet."""
    rows = json.loads((work / "speech" / f"{name}.json").read_text(encoding="utf-8"))
    features = np.load(work / "features" / f"{name}.npz")
    frames = features["frames"]
    path = work / "codes" / f"{name}.npy"
    codes = np.load(path) if path.exists() else np.zeros((NUM_CODEBOOKS, frames.sum()), np.int16)
    num_tokens = features["tokens"]
    parts = zip(
        rows,
        split(features["semantic"], num_tokens),
        split(features["places"], num_tokens),
        split(codes, frames),
        strict=True,
    )
    return [Spoken(row["text"], row["pieces"], *arrays, row["voice"]) for row, *arrays in parts]


def read_spoken(work: Path, *, held_out: bool = False) -> list[Spoken]:
    """Return all utterances to train on, or those held out."""
    return [item for name in shards(work, held_out=held_out) for item in read_shard(work, name)]


def read_prosody(work: Path) -> list[Spoken]:
    """Return what `prosody.py` has made, which has semantic tokens only; it has no codes."""
    found = []
    for path in sorted((work / "prosody").glob("*.json")):
        rows = json.loads(path.read_text(encoding="utf-8"))
        arrays = np.load(path.with_suffix(".npz"))
        num_tokens = arrays["tokens"]
        semantic, places = split(arrays["semantic"], num_tokens), split(arrays["places"], num_tokens)
        codes = np.zeros((NUM_CODEBOOKS, 0), np.int16)
        found += [
            Spoken(row["text"], row["pieces"], tokens, signs, codes, row["voice"])
            for row, tokens, signs in zip(rows, semantic, places, strict=True)
        ]
    return found


class Cutter:
    """Cuts utterances into sentences, what is too long for the model into pieces, and some sentences into clauses.

    `count_symbols` tells how many symbols the model reads a part of the text as.
    """

    def __init__(self, count_symbols: Callable[[str], int]) -> None:
        self._count_symbols = count_symbols

    def parts(self, item: Spoken, chance: random.Random) -> Iterator[Spoken]:
        """Yield the parts of an utterance, each a whole run of words."""
        words = PIECE.findall(item.text.lower())
        if len(words) != len(item.pieces):
            raise ValueError(
                f"{item.text!r} has {len(words)} pieces, but the teacher was given {len(item.pieces)}"
            )
        ends = [place + 1 for place, word in enumerate(words) if SENTENCE_END.search(word)]
        clauses = [place + 1 for place, word in enumerate(words) if word[0] in INNER_MARKS]
        first = 0
        for end in (*ends, len(words)):
            if end > first:
                yield from self._pieces(item, words, first, end)
                inside = [place for place in clauses if first + 2 < place < end - 2]
                if inside and chance.random() < LONE_CLAUSES:
                    borders = (first, chance.choice(inside), end)
                    for begin, stop in pairwise(borders):
                        yield from self._pieces(item, words, begin, stop)
            first = end

    def _pieces(self, item: Spoken, words: Sequence[str], first: int, end: int) -> Iterator[Spoken]:
        """Yield a run of words: whole if it fits the model, else in halves, cut near the middle and best at a mark."""
        made = part(item, words, first, end)
        if len(made.semantic) <= LONGEST_PART and self._count_symbols(made.text) <= TEXT_CONTEXT:
            if len(made.semantic):
                yield made
            return
        spaces = [place + 1 for place in range(first + 1, end - 1) if not words[place][0].isalpha()]
        marks = [place for place in spaces if words[place - 1][0] in INNER_MARKS]
        middle = (first + end) / 2
        third = (end - first) / 6
        near = [place for place in marks if abs(place - middle) <= third] or spaces
        if near:
            cut = min(near, key=lambda place: abs(place - middle))
            yield from self._pieces(item, words, first, cut)
            yield from self._pieces(item, words, cut, end)


def part(item: Spoken, words: Sequence[str], first: int, end: int) -> Spoken:
    """Return the part of an utterance from piece `first` of its `words` to before piece `end`.

    A space at its end is not said. A pause belongs to the mark before it.
    """
    last = end
    while last > first + 1 and words[last - 1].isspace():
        last -= 1
    piece_of_sign = np.repeat(np.arange(len(item.pieces)), [sum(map(len, signs)) for signs in item.pieces])
    piece_of_token = piece_of_sign[item.places] if len(piece_of_sign) else np.zeros(len(item.places), int)
    # A phone may be kept just behind the pause that follows it.
    begin, stop = np.searchsorted(np.maximum.accumulate(piece_of_token), (first, end))
    begin, stop = (0 if first == 0 else int(begin)), (len(item.semantic) if end == len(words) else int(stop))
    signs_before = int((piece_of_sign < first).sum())
    num_signs = int(((piece_of_sign >= first) & (piece_of_sign < last)).sum())
    text = "".join(words[first:last])
    # A frame is two thirds of a token: codes are cut where the tokens are, to the nearest frame.
    return replace(
        item,
        text=text.rstrip(),
        pieces=[list(signs) for signs in item.pieces[first:last]],
        semantic=item.semantic[begin:stop],
        places=np.clip(item.places[begin:stop] - signs_before, 0, max(0, num_signs - 1)).astype(np.int16),
        codes=item.codes[:, round(begin * 1.5) : round(stop * 1.5)],
        before=item.semantic[:begin] if begin else None,
    )
