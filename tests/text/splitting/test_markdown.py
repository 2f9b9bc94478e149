"""Markdown as it is read aloud, while it is being written."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.text.splitting.markdown import ChatSplitter
from streamer.text.splitting.markdown_patterns import MAX_HELD_CHARS
from streamer.text.splitting.sentences import BITE_CHARS, Sentence, SentenceSplitter

FRAGMENTS = [
    *"ab1.!,;:-*_`~|[]()<>#\\ \n",
    *(
        "Hello there. ",
        "the word ",
        "你好",
        "**",
        "```",
        "\n```\n",
        "```py\nx = 1\n```\n",
        "~~~\n",
        "# ",
        "\n- ",
        "\n1. ",
    ),
    *(
        "[text](http://a.b/c_d) ",
        "[a](",
        "https://www.a.com/b?c=1. ",
        "https://müller.de/日本/b€5. ",
        "`code_x(1)` ",
        "|a|b|\n|-|-|\n",
        "\n---\n",
    ),
    *("  ", "\t", "[x] ", "+ ", "``a ` b`` ", "` ", " **b** ", "*i* ", "!["),
    *("> quoted\n", "<br>", "[laughs] ", "♪ la ♪ ", "\n\n", "snake_case ", "x" * 90),
    *("word.Next ", "**so.**Then ", "it?`I` ", "ok!😊Let ", "====", "- - - "),
]
TEXTS = st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join)


def read(text: str, cuts: list[int] | None = None, max_tokens: int = 256) -> list[Sentence]:
    splitter = ChatSplitter(SentenceSplitter(len, max_tokens))
    pieces = [text[start:end] for start, end in pairwise([0, *(cuts or []), len(text)])]
    return [sentence for piece in pieces for sentence in splitter.feed(piece)] + [*splitter.end()]


def spoken_texts(text: str) -> list[str]:
    return [sentence.spoken_text for sentence in read(text)]


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://ex.com/ü/path", "ex.com"),
        ("https://ex.com/a.b?price=€5&c=d", "ex.com"),
        ("http://ex.com/日本/path", "ex.com"),
        ("https://ex.com/a–b…c", "ex.com"),
        ("https://www.ex.com/a😊b/c", "ex.com"),
        ("https://müller.example/weg", "müller.example"),
        ("https://пример.example:80/x", "пример.example"),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 8])
def test_an_address_in_any_letters_is_read_as_its_host(address: str, host: str, size: int) -> None:
    """Letters beyond ASCII end no address that is still being written."""
    text = f"Please look at {address} for all of the details."
    sentences = read(text, cuts=list(range(size, len(text), size)))
    spoken = " ".join(sentence.spoken_text for sentence in sentences)
    assert spoken == f"Please look at {host} for all of the details."


@settings(max_examples=250, deadline=None)
@given(text=TEXTS, max_tokens=st.sampled_from([256, 30]), data=st.data())
def test_pieces_do_not_matter(text: str, max_tokens: int, data: st.DataObject) -> None:
    """The same sentences come out however the text is cut, one character each too; each is its slice of the source."""
    whole = read(text, max_tokens=max_tokens)
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=6).map(sorted))
    assert read(text, cuts, max_tokens) == whole
    assert read(text, list(range(len(text))), max_tokens) == whole
    assert all(text[s.char_start : s.char_end] == s.text for s in whole)
    assert all(before.char_end <= after.char_start for before, after in pairwise(whole))
    assert all(len(s.spoken_text) <= max_tokens for s in whole)


@settings(max_examples=250, deadline=None)
@given(
    text=st.lists(st.sampled_from([*"ab *_\n#.!-", "word ", "Word. ", "- item\n", "你"]), max_size=40).map(
        "".join
    )
)
def test_no_word_is_lost(text: str) -> None:
    """Without code, links, tags and tables every letter is spoken, in order."""
    letters = "".join(filter(str.isalnum, text))
    assert "".join(filter(str.isalnum, "".join(spoken_texts(text)))) == letters


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("This is **very** *good*, ***really*** __so__ ~~not~~.", "This is very good, really so not."),
        ("A snake_case name and 2 * 3 is six.", "A snake_case name and 2 * 3 is six."),
        ("See [the *docs*](https://a.b/c_d?e=1 'Title') now.", "See the docs now."),
        ("Look: ![a cat](cat.png) [1] and <b>bold</b>.", "Look: a cat and bold."),
        ("Visit https://www.example.org/a/b?c=1.", "Visit example.org."),
        ("Go to <https://example.org/x> today.", "Go to example.org today."),
        ("Call `read_file(path)` or ``a ` b`` please.", "Call read file path or a b please."),
        ("Well \\*really\\* then.", "Well *really* then."),
        ("**你好**，世界。", "你好，世界。"),
        ("[laughs] Oh — *well* ♪ la_la ♪ it WAS…", "[laughs] Oh — well ♪ la_la ♪ it WAS…"),
    ],
)
def test_signs_are_not_read(written: str, spoken: str) -> None:
    """Emphasis is dropped, a link is its text or its host, code its words; what Bark knows stays."""
    assert spoken_texts(written) == [spoken]


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("It is all **bold now.**Next comes more.", ["It is all bold now.", "Next comes more."]),
        ("Is it really *done yet?*Then let us go.", ["Is it really done yet?", "Then let us go."]),
        ("Please read [the whole page](http://a.b).Then go.", ["Please read the whole page.", "Then go."]),
        ("You should run `make test`.The rest is easy.", ["You should run make test.", "The rest is easy."]),
        ("That was all of it!😊**Let** us go on.", ["That was all of it!😊", "Let us go on."]),
        ("Call foo.Bar() on **3.14** in Node.js.", ["Call foo.Bar() on 3.14 in Node.js."]),
    ],
)
def test_sentences_end_without_a_space_behind_them(written: str, spoken: list[str]) -> None:
    """What the signs of Markdown stand around is cut as plain text is."""
    assert spoken_texts(written) == spoken


def test_blocks_are_sentences_of_their_own() -> None:
    """Headings, items and rows; code blocks and rules are passed over; quotes lose their sign."""
    text = (
        "# Making *tea*\nFor it you need:\n- water\n* [x] a `tea_pot`\n  1. and milk\n\n```sh\nmake tea. Now.\n```\n"
        "| Name | Price |\n|:-----|------:|\n| Earl *Grey* | $5 |\n---\n> Drink it\n> quite soon.\n"
    )
    assert spoken_texts(text) == [
        *("Making tea", "For it you need:", "water", "a tea pot", "1. and milk"),
        *("Name, Price", "Earl Grey, $5", "Drink it quite soon."),
    ]
    assert [s.text for s in read(text)][:5] == [
        "# Making *tea*",
        "For it you need:",
        "- water",
        "* [x] a `tea_pot`",
        "1. and milk",
    ]


def test_what_stands_before_code_does_not_wait_for_its_end() -> None:
    """A sentence is returned when a code block begins, and of a block of any length little is kept."""
    splitter = ChatSplitter(SentenceSplitter(len, 256))
    sentences = splitter.feed("This is how:\n```py\n")
    assert [sentence.text for sentence in sentences] == ["This is how:"]
    for _ in range(200):
        assert [*splitter.feed("print('a. b. c')\n" * 100 + "x" * 500)] == []
        assert len(splitter.pending) + splitter.num_kept_chars <= 2 * BITE_CHARS
    [sentence] = [*splitter.feed("\n```\nThat was it."), *splitter.end()]
    assert (sentence.text, sentence.char_start) == ("That was it.", 19 + 200 * (1700 + 500) + 5)


@pytest.mark.parametrize(
    "unit", ["*", "`", "[", "<a", "|", "#", "> ", "- ", "\\", "a_", "](", "~", "\n", "x", " *", "你*"]
)
def test_little_is_kept_of_an_endless_text(unit: str) -> None:
    """However odd its signs are."""
    splitter = ChatSplitter(SentenceSplitter(len, 100))
    for _ in range(8):
        list(splitter.feed(unit * 1000))
        assert len(splitter.pending) + splitter.num_kept_chars <= 2 * (MAX_HELD_CHARS + BITE_CHARS)


def test_a_pause_of_the_writer_has_whole_words_spoken() -> None:
    """Words are given out, what may still become a link is not; a long pause ends the last word."""
    splitter = ChatSplitter(SentenceSplitter(len, 256))
    list(splitter.feed("Let me **check** [the do"))
    assert [s.spoken_text for s in splitter.flush_words()] == ["Let me check"]
    assert [*splitter.flush_words(is_last_whole=True)] == []
    assert [s.spoken_text for s in [*splitter.feed("cs](http://a.b) no*w*"), *splitter.flush_words()]] == [
        "the docs"
    ]
    assert [s.spoken_text for s in splitter.flush_words(is_last_whole=True)] == ["now"]


def test_positions_count_what_was_skipped() -> None:
    """Positions behind a `skip` are larger by as much."""
    splitter = ChatSplitter(SentenceSplitter(len, 256))
    list(splitter.feed("**One.**"))
    assert [(s.text, s.char_start, s.char_end) for s in splitter.flush()] == [("**One.**", 0, 8)]
    splitter.skip(5)
    list(splitter.feed(" *Two.*"))
    assert [(s.text, s.char_start, s.char_end) for s in splitter.end()] == [("*Two.*", 14, 20)]
