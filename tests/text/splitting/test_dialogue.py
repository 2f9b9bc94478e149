"""Turns of a dialogue: who speaks, that directives are not spoken, and that pieces do not matter."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import InvalidParameterError, VoiceNotFoundError
from streamer.text.splitting.boundaries import SENTENCE_PAUSE_S
from streamer.text.splitting.dialogue import (
    MAX_NAME_CHARS,
    TURN_PAUSE_S,
    DialogueSplitter,
    UnknownVoice,
    check_speakers,
)
from streamer.text.splitting.sentences import Sentence, SentenceSplitter

VOICES = ("anna", "bert", "v2/en_speaker_6", "two words")
SPEAKERS = {"Alice": "anna", "Al": "bert", "MAN": "bert", "Mr. X": "v2/en_speaker_6", "Alice B": "bert"}
FRAGMENTS = [
    *(
        "[voice: anna]",
        "[voice:bert] ",
        "[VOICE : two words ]",
        "[voice: nobody]",
        "[voice: ",
        "[voice",
        "[",
        "]",
    ),
    *(
        "Alice: ",
        "Al:",
        "MAN: ",
        "MAN",
        "Mr. X: ",
        "Alice B:",
        "Alice",
        "Alice :",
        "Alice：",
        "WOMAN: ",
        "M",
        ":",
    ),
    *(
        "Hello there. ",
        "How are you today? ",
        "well",
        " ",
        "\n",
        "\n\n",
        ". ",
        "… ",
        '." ',
        "♪ la la ♪",
        "word.Next ",
        "it?Alice: ",
        "- - -\n",
        "[laughs] ",
    ),
    *(" " * 70, "x" * 70, "[voice: " + "y" * MAX_NAME_CHARS, "y" * 60, "\r\n", "\u3000"),
]
TEXTS = st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join)
Found = Sentence | UnknownVoice


def split(text: str, cuts: list[int] | None = None, speakers: dict[str, str] | None = None) -> list[Found]:
    splitter = DialogueSplitter(
        SentenceSplitter(len, 256), VOICES, SPEAKERS if speakers is None else speakers
    )
    places = [0, *(cuts or []), len(text)]
    pieces = [text[start:end] for start, end in pairwise(places)]
    return [item for piece in pieces for item in splitter.feed(piece)] + [*splitter.end()]


def turns(text: str, speakers: dict[str, str] | None = None) -> list[tuple[str | None, str]]:
    return [(item.voice, item.text) for item in split(text, None, speakers) if isinstance(item, Sentence)]


@settings(max_examples=300, deadline=None)
@given(text=TEXTS, data=st.data())
def test_pieces_do_not_matter(text: str, data: st.DataObject) -> None:
    """The same turns come out however the text is cut into pieces, one character each too."""
    whole = split(text)
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=6).map(sorted))
    assert split(text, cuts) == whole
    assert split(text, list(range(len(text)))) == whole


@settings(max_examples=150, deadline=None)
@given(text=TEXTS)
def test_sentences_point_into_the_source(text: str) -> None:
    """Each is its slice of the whole text, in order, directives and labels counted."""
    sentences = [item for item in split(text) if isinstance(item, Sentence)]
    assert all(text[s.char_start : s.char_end] == s.text == s.text.strip() != "" for s in sentences)
    assert all(a.char_end <= b.char_start for a, b in pairwise(sentences))


@settings(max_examples=100, deadline=None)
@given(text=TEXTS)
def test_without_directives_it_is_the_plain_splitter(text: str) -> None:
    """A text without turns, and without mapped labels, is cut as by the plain splitter."""
    text = text.replace("[", "(")
    plain = SentenceSplitter(len, 256)
    assert split(text, None, {}) == [*plain.feed(text), *plain.end()]


def test_a_directive_changes_the_voice_from_there_on() -> None:
    """Anywhere in the text, in any case, and it is not spoken."""
    text = (
        "Once upon a time [voice: anna] there was a king.\nHe was old. [Voice:v2/en_speaker_6]I am the king!"
    )
    assert turns(text) == [
        (None, "Once upon a time"),
        ("anna", "there was a king."),
        ("anna", "He was old."),
        ("v2/en_speaker_6", "I am the king!"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Alice: Hello there.\n  Al: Hello you.", [("anna", "Hello there."), ("bert", "Hello you.")]),
        (
            "Alice：Hello there.\nMr. X : Good day.",
            [("anna", "Hello there."), ("v2/en_speaker_6", "Good day.")],
        ),
        ("Hello to you. MAN: And you!", [(None, "Hello to you."), ("bert", "And you!")]),
        ("Oh dear! [laughs] MAN: And you!", [(None, "Oh dear! [laughs]"), ("bert", "And you!")]),
        ("Hello to you. Alice: is a name.", [(None, "Hello to you."), (None, "Alice: is a name.")]),
        ("Say what MAN: is.", [(None, "Say what MAN: is.")]),
        ("WOMAN: Hello. MALICE: Bye.", [(None, "WOMAN: Hello."), (None, "MALICE: Bye.")]),
        ("[voice: anna] Alice B: Hello.", [("bert", "Hello.")]),
        ("Alice: Yes.\nAl: No.\nAlice: Oh.", [("anna", "Yes."), ("bert", "No."), ("anna", "Oh.")]),
    ],
)
def test_labels_change_the_voice_where_a_turn_may_begin(
    text: str, expected: list[tuple[str | None, str]]
) -> None:
    """At the beginning of text, turn or line; in capitals behind a sentence or a tag too; others are text."""
    assert turns(text) == expected


def test_an_unmapped_label_is_left_to_the_model() -> None:
    """Bark knows MAN: and WOMAN: by itself."""
    assert turns("MAN: Hello there my dear. WOMAN: Hello.", {}) == [
        (None, "MAN: Hello there my dear."),
        (None, "WOMAN: Hello."),
    ]


def test_turns_are_parted_by_half_a_second() -> None:
    """The last sentence of a turn has the longer pause, others keep theirs."""
    sentences = split("Alice: One sentence. Another one.\nAl: And a third one. Bye now to all.")
    pauses = [item.pause_s for item in sentences if isinstance(item, Sentence)]
    assert pauses[:3] == [SENTENCE_PAUSE_S, TURN_PAUSE_S, SENTENCE_PAUSE_S]


def test_an_unknown_voice_is_reported_once_and_the_one_before_continues() -> None:
    """An unknown voice is reported at its place in the text; at most 32 names are."""
    found = split("[voice: anna] Hello. [voice: nobody] Here I am. [voice: nobody] And again.")
    assert found[1] == UnknownVoice("nobody")
    assert [item.voice for item in found if isinstance(item, Sentence)] == ["anna"] * 3
    assert found.count(UnknownVoice("nobody")) == 1
    many = split("".join(f"[voice: nobody {number}] Hi." for number in range(100)))
    assert sum(isinstance(item, UnknownVoice) for item in many) == 32


def test_a_pausing_writer_waits_no_longer_for_a_label() -> None:
    """What may still become a label or a directive is held, and is given out as text after a long pause."""
    splitter = DialogueSplitter(SentenceSplitter(len, 256), VOICES, SPEAKERS)
    assert [*splitter.feed("Hello there.\nAlice")] == [] and splitter.pending.endswith("Alice")
    first = splitter.flush_words()
    assert [item.text for item in first if isinstance(item, Sentence)] == ["Hello there."]
    rest = splitter.flush_words(is_last_whole=True)
    assert [item.text for item in rest if isinstance(item, Sentence)] == ["Alice"]
    assert [*splitter.feed("[voice: an"), *splitter.flush_words(is_last_whole=True)] == []
    assert [
        item.voice for item in [*splitter.feed("na] Hi."), *splitter.end()] if isinstance(item, Sentence)
    ] == ["anna"]


@pytest.mark.parametrize(
    ("speakers", "error"),
    [
        ({"A": "nobody"}, VoiceNotFoundError),
        ({"": "anna"}, InvalidParameterError),
        ({"A:": "anna"}, InvalidParameterError),
        ({" A": "anna"}, InvalidParameterError),
        ({"A\n": "anna"}, InvalidParameterError),
        ({"A" * 41: "anna"}, InvalidParameterError),
        ({f"A{number}": "anna" for number in range(33)}, InvalidParameterError),
    ],
)
def test_what_is_no_map_of_speakers_is_refused(speakers: dict[str, str], error: type[Exception]) -> None:
    """Bounded labels on one line, known voices, at most 32."""
    check_speakers({"A": "anna", "Mr. X": "bert"}, VOICES)
    with pytest.raises(error):
        check_speakers(speakers, VOICES)
