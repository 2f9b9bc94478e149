"""Markup in a text: pauses, rates, words said otherwise, and what only looks like it; pieces do not matter."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamer.synthesis import ModelInfo
from streamer.text.reading import TextOptions, create_splitter
from streamer.text.splitting.dialogue import DialogueSplitter, TurnItem
from streamer.text.splitting.items import IgnoredMarkup, Pause
from streamer.text.splitting.markup_tags import MAX_CONTENT_CHARS, MAX_TAG_CHARS, read_rate, read_time_s
from streamer.text.splitting.sentences import Sentence, SentenceSplitter

PHONES = ("T", "AH0", "AH1", "M", "EY0", "EY1", "OW0", "OW1", "B")
INFO = ModelInfo("m", 24_000, "anna", ("anna", "bert"), ("en",), (), 256, phones=PHONES)
FRAGMENTS = [
    *("[pause:1.5]", "[pause 500ms]", "[pause", ": 2 ]", "[ PAUSE ]", "[note] ", "[voice: bert]", "[", "]"),
    *('<break time="1.5s"/>', "<break/>", "<break strength='weak'>", "<speak>", "</speak>", "<foo a='b'>", "<"),
    *('<sub alias="World Wide Web">', "WWW", "</sub>", '<sub alias="a"/>', '<prosody rate="slow">', "</prosody>"),
    *('<say-as interpret-as="characters">', "SQL", "</say-as>", '<phoneme ph="T AH0">', "</phoneme >", "/>", ">"),
    *("&amp;", "&#39;", "&", ";", "&bogus", "<!-- a > b -->", "<!--", "<?xml version='1.0'?>", "<b>", "</b>", "<br/>"),
    *("Hello there. ", "How are you today? ", "well", " ", "\n\n", ". ", "a < b ", "<3 ", "x" * 70, "Dr. Smith, "),
    *("<sub alias='" + "y" * 199 + "'>", "z" * MAX_CONTENT_CHARS, "<p title='" + "q " * 99, "b=1 ", "`code` ", "**"),
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join)


def split(text: str, cuts: list[int] | None = None, **options: object) -> list[TurnItem]:
    inner = create_splitter(INFO, len, TextOptions(**options))  # type: ignore[arg-type]
    splitter = DialogueSplitter(inner, INFO.voices, {})
    pieces = [text[start:end] for start, end in pairwise([0, *(cuts or []), len(text)])]
    return [item for piece in pieces for item in splitter.feed(piece)] + [*splitter.end()]


def spoken(text: str, **options: object) -> list[str | float]:
    """What is said, and the lengths of the pauses that the text asks for."""
    shown: list[str | float] = []
    for item in split(text, **options):
        if isinstance(item, Sentence):
            shown.append(item.spoken_text)
        elif isinstance(item, Pause):
            shown.append(item.duration_s)
    return shown


def reported(text: str) -> list[tuple[str, str]]:
    return [(item.code, item.name) for item in split(text) if isinstance(item, IgnoredMarkup)]


@pytest.mark.parametrize("text_format", ["plain", "chat"])
@settings(max_examples=300, deadline=None)
@given(text=TEXTS, data=st.data())
def test_pieces_do_not_matter(text_format: str, text: str, data: st.DataObject) -> None:
    """The same items come out however the text is cut into pieces, one character each too."""
    whole = split(text, text_format=text_format)
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=6).map(sorted))
    assert split(text, cuts, text_format=text_format) == whole
    assert split(text, list(range(len(text))), text_format=text_format) == whole


@pytest.mark.parametrize("text_format", ["plain", "chat"])
@settings(max_examples=200, deadline=None)
@given(text=TEXTS)
@example("<foo a='b'>[voice: bert]. ")
def test_sentences_point_into_the_source(text_format: str, text: str) -> None:
    """Each is its slice of the whole text, in order, and its markup lies inside it, in order."""
    sentences = [item for item in split(text, text_format=text_format) if isinstance(item, Sentence)]
    assert all(text[s.char_start : s.char_end] == s.text for s in sentences)
    assert all(a.char_end <= b.char_start for a, b in pairwise(sentences))
    for sentence in sentences:
        places = [0, *(place for stretch in sentence.markup for place in stretch), len(sentence.text)]
        assert places == sorted(places)
        assert len(sentence.words) == len(sentence.text)


@settings(max_examples=200, deadline=None)
@given(text=TEXTS)
def test_without_markup_it_is_the_plain_splitter(text: str) -> None:
    """A text without a sign of markup is cut as by the plain splitter; with `markup` off every text is."""
    plain = SentenceSplitter(len, 256, verbalize=lambda text, _: text)
    expected = [*plain.feed(text := text.replace("<", "(").replace("[", "(")), *plain.end()]
    found = [item for item in split(text) if isinstance(item, Sentence)]
    assert [replace(item, spoken_text="") for item in found] == [replace(s, spoken_text="") for s in expected]
    assert found == split(text, markup=False)


@pytest.mark.parametrize(
    ("mark", "duration_s"),
    [
        *(("[pause:1.5]", 1.5), ("[pause:1.5s]", 1.5), ("[pause 500ms]", 0.5), ("[PAUSE: 2 s]", 2.0)),
        *(("[pause]", 0.5), ("[ pause : .25 ]", 0.25), ("[pause:1,5]", 1.5), ("[pause:0]", 0.0)),
        *(('<break time="1.5s"/>', 1.5), ("<break time='250ms' />", 0.25), ("<break time=2s/>", 2.0)),
        *(
            ("<break/>", 0.5),
            ("<BREAK>", 0.5),
            ('<break\n  time = "1s"\n/>', 1.0),
            ('<break strength="none"/>', 0.0),
        ),
        *(
            ('<break strength="x-weak"/>', 0.1),
            ('<break strength="x-strong"/>', 1.5),
            ('<break time="+1s"/>', 1.0),
        ),
    ],
)
def test_a_pause_stands_between_two_sentences(mark: str, duration_s: float) -> None:
    """Wherever it stands, it replaces the natural pause and is not spoken."""
    for text in (f"Wait a moment {mark} what?", f"Wait a moment{mark}what?"):
        assert spoken(text) == ["Wait a moment", duration_s, "what?"]
        first = split(text)[0]
        assert isinstance(first, Sentence) and first.pause_s == 0.0


def test_pauses_stand_at_either_end_and_behind_each_other() -> None:
    """A text may begin and end with a pause, have several in a row, or nothing else."""
    assert spoken("[pause:1] Hello there. [pause:2][pause:3]") == [1.0, "Hello there.", 2.0, 3.0]
    assert spoken("<break time='1s'/>") == [1.0]


@pytest.mark.parametrize("mark", ["[pause:99]", '<break time="11s"/>', "[pause 10001ms]", "[pause:999999]"])
def test_a_pause_is_at_most_ten_seconds_long(mark: str) -> None:
    """A longer one is cut to that, and reported."""
    assert spoken(f"One thing{mark}another") == ["One thing", 10.0, "another"]
    assert reported(f"One thing{mark}another") == [("unsupported_markup", "break")]


@pytest.mark.parametrize("value", ["x", "-1s", "1h", "", "1e3s", "NaN", "s"])
def test_a_break_of_no_length_is_a_usual_one(value: str) -> None:
    """It is reported and lasts half a second: a mistake ends nothing."""
    assert spoken(f'One <break time="{value}"/> two') == ["One", 0.5, "two"]
    assert reported(f'One <break time="{value}"/> two') == [("unsupported_markup", "break")]


@pytest.mark.parametrize(
    "text",
    [
        *("a < b and b > c", "I <3 you", "x<y", "[note] to self", "[pause for effect]", "[pauses]", "[pause:-1]"),
        *("List<String> items", "<your name>", "5 <6", "<<b", "< b>", "<b", "a <b and c> d", "[pause:1", "pause:1]"),
        *("<break time=>", "<sub", "AT&T &amp; others", "R&D &#39;", "<!DOC", "<1>", "</>", "<a.b/c>", "<@user>"),
    ],
)  # fmt: skip
def test_what_only_looks_like_markup_is_text(text: str) -> None:
    """It is given to the model as it is written, and nothing is reported."""
    assert "".join(map(str, spoken(text))) == text
    assert not reported(text)


def test_a_known_tag_is_dropped_and_named_once() -> None:
    """A tag of SSML or HTML that is not followed is left out, its text is spoken, and each name is reported once."""
    text = "So <b>bold</b> and <b>brave</b>, <emphasis level='strong'>really</emphasis>."
    assert " ".join(map(str, spoken(text))).split() == ["So", "bold", "and", "brave,", "really."]
    assert reported(text) == [("unknown_markup", "b"), ("unknown_markup", "emphasis")]


def test_within_speak_every_tag_is_markup() -> None:
    """`<speak>` says that the text is SSML: unknown names are left out, and XML's own entities are read."""
    text = "<speak>AT&amp;T &lt;3 <foo:bar x='1'>us</foo:bar>&#39;s.</speak> A &amp; <foo>b</foo>"
    assert spoken(text) == ["AT&T <3 us's.", "A &amp; <foo>b</foo>"]
    assert reported(text) == [("unknown_markup", "foo:bar")]


def test_a_document_of_ssml_is_read() -> None:
    """Declarations and comments are passed over; paragraphs and sentences end where they are marked."""
    text = (
        '<?xml version="1.0"?>\n<!-- written by a tool --><speak version="1.1"\n'
        '  xmlns="http://www.w3.org/2001/10/synthesis" xml:lang="en-US">\n'
        "<p><s>One is here</s><s>Two is there</s></p><p>Three</p></speak>"
    )
    assert spoken(text) == ["One is here", "Two is there", "Three"]
    assert reported(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('<sub alias="World Wide Web">WWW</sub> rocks.', "World Wide Web rocks."),
        ("The <sub alias='and &quot;so&quot;'>etc</sub>.", 'The and "so".'),
        ('<sub alias="nothing"/> here', "nothing here"),
        ("H<sub>2</sub>O", "H2O"),
        ('<say-as interpret-as="characters">SQL</say-as>', "s q l"),
        ('<say-as interpret-as="ordinal">3</say-as> place', "third place"),
        ('<say-as interpret-as="hieroglyph">x</say-as>', "x"),
    ],
)
def test_words_are_said_as_their_element_asks(text: str, expected: str) -> None:
    """What cannot be followed is spoken as it is written."""
    assert spoken(text) == [expected]


def test_places_of_words_are_those_of_what_was_written() -> None:
    """The sentence shows what was written, and knows which of it is no word."""
    text = 'Yes, <sub alias="World Wide Web">WWW</sub> it is.'
    (sentence,) = split(text)
    assert isinstance(sentence, Sentence)
    assert sentence.text == text
    assert sentence.words.split() == ["Yes,", "WWW", "it", "is."]
    assert sentence.words.index("WWW") == text.index("WWW")


def test_phones_reach_the_model_unread() -> None:
    """A word with its phones is one word; without known phones it is read as it is written, and reported."""
    (item,) = split('A <phoneme alphabet="ipa" ph="təˈmeɪtoʊ">tomato</phoneme>!')
    assert isinstance(item, Sentence)
    assert item.spoken_text == "A \ufff9tomato\ufffaT·AH0·M·EY1·T·OW0\ufffb!"
    assert spoken('<phoneme ph="XX">tomato</phoneme>') == ["tomato"]
    assert reported('<phoneme ph="XX">tomato</phoneme>') == [("unsupported_markup", "phoneme")]


@pytest.mark.parametrize(
    "text",
    [
        'An <sub alias="x">open one. And more.',
        'An <sub alias="x">one <b>with</b> tags</sub> inside.',
        'An <say-as interpret-as="characters">endless ' + "word " * 80 + "</say-as>.",
        '<phoneme ph="T">a',
        "<sub alias='x'>a</say-as> b",
    ],
)
def test_an_element_that_is_not_closed_in_time_is_text(text: str) -> None:
    """Its tag is left out and reported, and no word is lost."""
    words = [word for word in "".join(c if c.isalnum() else " " for c in text).split() if len(word) > 3]
    said = " ".join(map(str, spoken(text)))
    attributes = {"alias", "interpret", "characters", "phoneme"}
    assert all(word in said for word in words if word not in attributes)
    assert ("unsupported_markup", text[text.index("<") + 1 :].partition(" ")[0]) in reported(text)


def test_a_rate_counts_for_what_stands_in_it() -> None:
    """Rates multiply; what is not followed of `prosody` is reported."""
    text = (
        'Say <prosody rate="slow">it <prosody rate="200%" pitch="high">well</prosody> now</prosody> please.'
    )
    found = [(item.spoken_text, item.rate) for item in split(text) if isinstance(item, Sentence)]
    assert found == [("Say", 1.0), ("it", 0.75), ("well", 1.5), ("now", 0.75), ("please.", 1.0)]
    assert reported(text) == [("unsupported_markup", "prosody")]


def test_a_rate_that_changes_nothing_cuts_nothing() -> None:
    """`medium` leaves the sentence whole, and so does a closing tag too many."""
    assert spoken('So <prosody rate="medium">it</prosody> is.</prosody>') == ["So it is."]


def test_endless_depth_is_bounded() -> None:
    """Elements in elements stay few, the rate in bounds is the assembler's business, and no text is lost."""
    text = '<prosody rate="fast">' * 50 + "deep" + "</prosody>" * 60 + " up"
    assert spoken(text) == ["deep", "up"]


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("slow", 0.75),
        ("X-FAST", 1.75),
        ("80%", 0.8),
        ("+20%", 1.2),
        ("-25 %", 0.75),
        ("1.5", 1.5),
        (".5", 0.5),
    ],
)
def test_rates_are_read(text: str, rate: float) -> None:
    """Names, percentages of the usual rate, changes of it, and factors."""
    assert read_rate(text) == pytest.approx(rate)


@pytest.mark.parametrize("text", ["", "quick", "NaN", "1e3", "%", "-1", "inf", "1.5x", "٣"])
def test_what_is_no_rate_is_none(text: str) -> None:
    """Whatever else stands there is no number."""
    assert read_rate(text) is None


@pytest.mark.parametrize(
    ("text", "time_s"),
    [("1.5s", 1.5), ("500ms", 0.5), (" 2 s ", 2.0), ("3", 3.0), ("1e3s", None), ("-1s", None), ("x", None)],
)
def test_times_are_read(text: str, time_s: float | None) -> None:
    """Seconds, milliseconds, and seconds if nothing is said."""
    assert read_time_s(text) == time_s


def test_code_in_markdown_is_no_markup() -> None:
    """In a chat a tag between backticks is code, and one outside is followed."""
    text = "Use `<break time='1s'/>` for **that**. [pause:2] Or <break time='3s'/> here.\n```\n<break/>\n```\nDone."
    assert [item for item in spoken(text, text_format="chat") if isinstance(item, float)] == [2.0, 3.0]


def test_a_voice_and_a_pause_stand_beside_each_other() -> None:
    """The pause that the text asks for counts more than that of a turn, on either side of the voice."""
    items = split("One. [pause:2] [voice: bert] Two. [voice: anna] [pause:3] Three.")
    assert [(i.spoken_text, i.voice, i.pause_s) if isinstance(i, Sentence) else i for i in items] == [
        ("One.", None, 0.0), Pause(2.0), ("Two.", "bert", 0.5), Pause(3.0), ("Three.", "anna", 0.25)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "unit",
    [
        "<",
        "[",
        "<b",
        "<b ",
        "[pause",
        "<sub alias='x'>",
        "<prosody>",
        "&",
        "<!--",
        "<p a=",
        "<speak>&#",
        "<?xml",
    ],
)
def test_endless_markup_is_bounded(unit: str) -> None:
    """However much is opened and never closed, what is held stays small and the text comes out."""
    splitter = create_splitter(INFO, len, TextOptions())
    for _ in range(300):
        list(splitter.feed(unit * 20))
        assert len(splitter.pending) < 3 * MAX_TAG_CHARS + 1000
    list(splitter.end())


def test_a_writer_who_pauses_inside_a_tag_is_waited_for() -> None:
    """What may become a tag is not spoken before a flush; the words before it are."""
    splitter = create_splitter(INFO, len, TextOptions())
    assert [*splitter.feed("Hello there <break ti")] == []
    (item,) = splitter.flush_words(is_last_whole=True, is_number_whole=True)
    assert isinstance(item, Sentence) and item.spoken_text == "Hello there"
    assert [*splitter.feed('me="1s"/> you')] == [Pause(1.0)]
