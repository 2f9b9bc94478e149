"""The splitter: where sentences end, that pieces do not matter, and that nothing is lost or too long."""

from __future__ import annotations

import unicodedata
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.text_kinds import KINDS, text_of
from streamer.text.plain import plain
from streamer.text.splitting import boundaries
from streamer.text.splitting.boundaries import LOOKAHEAD_CHARS, MAX_SONG_CHARS
from streamer.text.splitting.sentences import BITE_CHARS, Sentence, SentenceSplitter
from streamer.text.splitting.speech_units import MAX_SPEECH_UNITS
from streamer.text.verbalize.normalize import normalize

FRAGMENTS = [
    *"AIb1.?!…,;:—–-()[]\"'”♪。！，字।؟😀_*# \n\t\r\f",
    *(
        "Hello",
        "the",
        "The",
        "and",
        "Dr.",
        "U.S.",
        "e.g.",
        "No.",
        "J. ",
        "3.14",
        "2026,",
        ". ",
        ". . . ",
        "... ",
        "?! ",
    ),
    *("[laughter]", "[clears throat] ", "♪ la la. ♪", "MAN: ", "- ", "1. ", "\n\n", " — ", ", ", "www.a.com"),
    *("OLD MAN:\n", " [laughs]\n", "! [sighs]\n\n", " – "),
    *(
        "word.Next",
        "you?I ",
        '."The',
        "bold.**So",
        "ok!😊Let",
        "a.m.",
        "foo.Bar(",
        "x.y.Z ",
        "2019.The ",
        "%.",
        "°F.",
    ),
    *("-----", "\n---\n", "\n====", "- - -", "___", "────", "안녕.하세요", "да.Нет "),
    *("e\u0301", "\u200d", "x" * 120, "字" * 40, " " * 70, "。" * 70),
]
TEXTS = st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join)


def split(
    text: str, cuts: list[int] | None = None, max_tokens: int = 256, language: str = "en"
) -> list[Sentence]:
    splitter = SentenceSplitter(len, max_tokens, language)
    places = [0, *(cuts or []), len(text)]
    pieces = [text[start:end] for start, end in pairwise(places)]
    return [sentence for piece in pieces for sentence in splitter.feed(piece)] + [*splitter.end()]


def texts(text: str, **options) -> list[str]:
    return [sentence.text for sentence in split(text, **options)]


@settings(max_examples=150, deadline=None)
@given(text=TEXTS, max_tokens=st.sampled_from([256, 30, 7]), data=st.data())
def test_pieces_do_not_matter(text: str, max_tokens: int, data: st.DataObject) -> None:
    """The same sentences come out however the text is cut into pieces, one character each too."""
    whole = split(text, max_tokens=max_tokens)
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=6).map(sorted))
    assert split(text, cuts, max_tokens) == whole
    assert split(text, list(range(len(text))), max_tokens) == whole


@settings(max_examples=150, deadline=None)
@given(text=TEXTS, max_tokens=st.sampled_from([256, 30, 7]))
def test_nothing_is_lost_or_too_long(text: str, max_tokens: int) -> None:
    """Each sentence is its slice of the source and fits; together they are the source but for white space."""
    sentences = split(text, max_tokens=max_tokens)
    assert all(text[s.char_start : s.char_end] == s.text == s.text.strip() != "" for s in sentences)
    assert all(len(sentence.text) <= max_tokens for sentence in sentences)
    assert "".join("".join(s.text.split()) for s in sentences) == "".join(text.split())


@pytest.mark.parametrize(
    "text",
    [
        "Dr. Smith met Prof. Who at 5 p.m. in Washington.",
        "The U.S. Senate met J. R. R. Tolkien e.g. on Jan. 5.",
        "Pi is 3.14 and the version is 2.10.4 of example.com or a.b@c.org today.",
        "Well... maybe it is so… or not.",
        "Well. . . maybe it is so . . . or not.",
        '"Really?" she asked and "Yes!" he said.',
        "See Fig. 3 and No. 5 of vol. 2 for more.",
        "[clears throat] Well then.",
        "♪ In the jungle. The mighty jungle. ♪",
        "This line is wrapped\nby an editor.",
        "Look at https://a.com/b?c=d!e and see.",
        "WOMAN: I will.",
        "OLD WOMAN 2:\nI will, and I always wanted to.",
        "It is a – how to say it – rather long-winded way of putting things.",
        "I was walking down the old street in the rain — well… running — when I SAW it.",
    ],
)
def test_stops_that_end_no_sentence(text: str) -> None:
    """Abbreviations, numbers, addresses, ellipses, quotes, tags and songs are not cut."""
    assert texts(text) == [text]


@pytest.mark.parametrize(
    ("language", "sentences"),
    [
        (
            "en",
            [
                *("Let me check that for you.", "The weather in Paris is sunny today."),
                *("You should take a hat with you.", "Have a nice walk!"),
            ],
        ),
        ("en", ["And then came the fourth one!", "Is it over then?", "Yes."]),
        ("en", ["Do you like some tea?", "I like it very much.", "We drink it daily."]),
        ("en", ['"Go home right now."', "Then he left."]),
        ("en", ["It was very late.", '"Go home" he said.']),
        ("en", ["“Go home right now.”", "“No,” she said."]),
        ("en", ["Great, well done!😊", "Let us begin now."]),
        ("en", ["Great, well done!👍🏽🎉", "Let us begin now."]),
        ("en", ["This is **bold text.**", "Next comes more of it."]),
        ("en", ["That is really nice.", "[laughs] Tell me more."]),
        ("en", ["What an evening that was.", "♪ La la la ♪"]),
        ("en", ["He left (at last, I think).", "Then it was quiet."]),
        ("en", ["I am done here...", "Then we left the room."]),
        ("en", ["It happened in 2019.", "Then we left home."]),
        ("en", ["It costs you $5.", "The next one was cheaper."]),
        ("en", ["It rose by over 5%.", "The rest fell down."]),
        ("en", ["It was about 98.6°F.", "The doctor left."]),
        ("en", ["We met them at NASA.", "They were nice people."]),
        ("en", ["Visit example.com.", "Then go to bed now."]),
        ("en", ["Write to anna@example.com.", "Thanks for all of it."]),
        ("en", ["Look at https://www.example.co.uk.", "It has all of it."]),
        ("en", ["I watch it on YouTube.", "It is free of charge."]),
        ("ru", ["Это очень хорошая мысль.", "Теперь пойдём дальше."]),
        ("el", ["Αυτό είναι καλό πράγμα.", "Τώρα πάμε παρακάτω."]),
        ("ko", ["안녕하세요 여러분.", "반갑습니다 여러분!", "좋습니다."]),
        ("es", ["¿Cómo estás hoy amigo?", "Muy bien gracias.", "¿Y tú?"]),
        ("hi", ["यह एक अच्छा वाक्य है!", "यह दूसरा है।"]),
        ("de", ["Das ist sehr gut gelaufen.", "Jetzt gehen wir heim."]),
        ("pl", ["To jest bardzo dobre.", "Żaba skacze do wody."]),
    ],
)
def test_sentences_end_without_a_space_behind_them(language: str, sentences: list[str]) -> None:
    """A stop behind a word and directly before a capital, a quote, an emoji or a tag ends its sentence."""
    assert texts("".join(sentences), language=language) == sentences


@pytest.mark.parametrize(
    "text",
    [
        "Pi is 3.14 in file.txt at 192.168.0.1 on 3.14.2 of Node.js.",
        "The U.S.Senate has Ph.D. holders e.g.Smith or a Ph.D.Student.",
        "He reads U.S.A.Today at 5 a.m.Then he leaves.",
        "Call foo.Bar() or System.Out.Println now or later.",
        "Write to john.Smith@example.com or docs.Google.com please.",
        "See report.PDF and data.CSV or ASP.Net and VB.Net here.",
        "Look at https://a.com/b.The?C=d!E and read_me.The file.",
        "Use java.util.List or myObj.Foo or std.Vector::New today.",
        "Dr.Smith met Mr.Brown and Mrs.White and Prof.Green here.",
        "J.Smith and J.R.R.Tolkien met G.W.Bush there.",
        "1.First this thing and 2.Then that thing.",
        "Is it so?yes it is!and more.then on.",
    ],
)
def test_stops_inside_of_words_end_no_sentence(text: str) -> None:
    """Numbers, files, hosts, addresses, abbreviations, initials and identifiers are not cut."""
    assert texts(text) == [text]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Let me check that for you.The ", "Let me check that for you."),
        ("Do you like some tea?I", "Do you like some tea?"),
        ("Great, well done!😊L", "Great, well done!😊"),
        ("안녕하세요 여러분.반", "안녕하세요 여러분."),
        ('"Go home right now!"T', '"Go home right now!"'),
        ("It is all done.Then,", "It is all done."),
    ],
)
def test_a_glued_end_is_given_out_once_it_is_certain(text: str, sentence: str) -> None:
    """The next letter suffices behind a question; behind a full stop the next word has to show that it is whole."""
    splitter = SentenceSplitter(len, 256)
    for character in text[:-1]:
        assert [*splitter.feed(character)] == []
    assert [found.text for found in splitter.feed(text[-1])] == [sentence]


@pytest.mark.parametrize(
    "sentences",
    [
        ["It was 98.6°F.", "Fine, said the doctor."],
        ["It was 20 °C.", "Bring a warm coat."],
        ["We walked 5 m.", "Run the last bit."],
        ["It weighs about 5 kg.", "Mary carried it."],
        ["There is vitamin C.", "Fruit has much of it."],
        ["So we took plan B.", "Then it all went well."],
        ["Hello there.", "How are you?", "I am very well!"],
        ["He lives in the U.S.", "She does not live there."],
        ['He said "Stop it."', "Then he left (at last).", "That was it."],
        ["Are you sure?!", "Oh, I was wrong...", "What is it?"],
        ["Are you sure ? !", "Oh, I was wrong. . .", "What is it ?", "Mary knows ."],
        ["We use it all the time.", ".NET is what it is called."],
        ["Bring milk, bread, etc.", "Then come home again."],
        ["It was plan B.", "The next one was C."],
        ["That was nice.", "[laughter] Tell me more.", "Goodbye then. [sighs]"],
        ["MAN: Hello you there.", "WOMAN: HELLO TO YOU TOO."],
        ["Great, well done! 😀 🎉"],
        ["NARRATOR: It was a dark night.", "OLD MAN: Who goes there?", "[gasps] Speak UP now!"],
        ["♪ Frère Jacques, dormez-vous ♪", "♪ Sonnez les matines ♪", "[laughs] That was the song."],
        [
            "[music] ♪ La la. La! In the\njungle ♪ is what we sang.",
            "She said... [sighs] ...that it was over.",
        ],
    ],
)
def test_sentences_end(sentences: list[str]) -> None:
    """A sentence ends with its quotes and brackets, before the next one; tags belong to what follows."""
    assert texts(" ".join(sentences)) == sentences


@pytest.mark.parametrize(
    ("language", "sentences"),
    [
        ("zh", ["这是一个非常好的句子。", "那是另一个很好的句子吗？", "“好的，我知道了。”"]),
        ("ja", ["これはとてもいい文です。", "そうでしょうか！"]),
        ("hi", ["यह एक वाक्य है। ", "दूसरा वाक्य यहाँ है॥ ", "तीसरा वाक्य"]),
        ("ar", ["هل أنت بخير اليوم؟ ", "نعم أنا بخير."]),
        (
            "de",
            ["Er feiert am Sonntag seinen 50. Geburtstag. ", "Er ist also fast 50. ", "Dann geht er fort."],
        ),
        ("de", ["Das kostet z.B. 3 Euro am 3. Oktober. ", "Dann kam Hr. Maier. ", "Es war spät."]),
        ("es", ["El Sr. López vive en EE.UU. desde 1990. ", "Ahora vuelve."]),
        ("fr", ["M. Dupont arrive à 5 h. ", "Il est content."]),
        ("ru", ["Это т.е. пример для проверки. ", "Он работает хорошо."]),
    ],
)
def test_other_languages(language: str, sentences: list[str]) -> None:
    """Other scripts have their own stops, without a space if they need none, and their own abbreviations."""
    assert texts("".join(sentences), language=language) == [sentence.strip() for sentence in sentences]


def test_lines() -> None:
    """Paragraphs, list items and speakers end at their line's end, with a longer pause for paragraphs."""
    text = (
        "Shopping:\n- some milk\n- bread\n1. First this.\n2. Then that.\n\nA paragraph that is\nwrapped here."
    )
    sentences = split(text)
    assert [sentence.text for sentence in sentences] == [
        *("Shopping:", "- some milk", "- bread", "1. First this.", "2. Then that."),
        "A paragraph that is\nwrapped here.",
    ]
    assert sentences[4].pause_s > sentences[3].pause_s > 0


def test_tags_at_the_end_of_a_line_belong_to_it() -> None:
    """They are heard with the sentence they stand behind, not with the next line's."""
    sentences = ["What a joke! [laughter] [clears throat]", "Well then, goodbye. [sighs]", "It rained."]
    assert texts("{}\n{}\n\n{}".format(*sentences)) == sentences


def test_speakers_of_other_alphabets() -> None:
    """A label in capitals begins a turn in Cyrillic as well."""
    turns = ["МУЖЧИНА: Привет, как дела?", "ЖЕНЩИНА:\nВсё хорошо."]
    assert texts("\n".join(turns), language="ru") == turns


def test_short_sentences_are_joined() -> None:
    """`Yes.` goes with what follows in its paragraph."""
    assert texts("Yes. No. I do not know.") == ["Yes. No. I do not know."]


def test_long_sentences_are_cut_at_the_best_place() -> None:
    """At clauses first, then before conjunctions, then between words; a cut has less of a pause."""
    first = "it all began a long time ago in a town by the sea that nobody knew;"
    sentences = split(f"Well then {first} {'many more words came, ' * 12}and that was all.", max_tokens=100)
    assert sentences[0].text == f"Well then {first}"
    assert 0 < sentences[0].pause_s < sentences[-1].pause_s
    cut = texts("some words " * 7 + "because more words " * 3, max_tokens=100)
    assert cut[1].startswith("because")
    assert all(piece.endswith("word") for piece in texts("word " * 100, max_tokens=63))


def test_composed_characters_are_not_torn() -> None:
    """A text without a space is cut between whole characters."""
    pieces = texts("e\u0301" * 300 + "👩\u200d🚀" * 100, max_tokens=50)
    assert not any(piece[0] in "\u0301\u200d🚀" for piece in pieces)


def test_the_first_piece_is_cut_early() -> None:
    """An utterance's first clause is spoken at once; later sentences are left whole."""
    sentence = "Once the first of many clauses has come, the speaker may begin to speak."
    assert texts(f"{sentence} {sentence}") == [
        "Once the first of many clauses has come,",
        "the speaker may begin to speak.",
        sentence,
    ]


def test_an_end_is_given_out_once_it_is_certain() -> None:
    """The next word's first letter suffices behind a plain word; behind an abbreviation its end is needed."""
    splitter = SentenceSplitter(len, 256)
    assert [*splitter.feed("It is done here."), *splitter.feed(" ")] == []
    assert [sentence.text for sentence in splitter.feed("W")] == ["It is done here."]
    assert [*splitter.feed("e met in the U.S. Th")] == []
    assert [sentence.text for sentence in splitter.feed("e ")] == ["We met in the U.S."]


def test_flush_speaks_everything() -> None:
    """A flush gives out the unfinished sentence, and later positions count on from there."""
    splitter = SentenceSplitter(len, 256)
    assert [*splitter.feed("Let me che")] == []
    assert [sentence.text for sentence in splitter.flush()] == ["Let me che"]
    list(splitter.feed("ck it."))
    assert [*splitter.end()] == [Sentence("ck it.", 10, 16, 0.25, "ck it.")]


@pytest.mark.parametrize(
    ("text", "spoken", "rest"),
    [
        ("Let me che", "Let me", "che"),
        ("Let me check ", "Let me check", ""),
        ("Let me check…", "Let me check…", ""),
        ("It is 3.", "It is", "3."),
        ("It costs $3", "It costs", "$3"),
        ("It costs $3 ", "It costs", "$3 "),
        ("It costs €", "It costs", "€"),
        ("Come at 3:30 p", "Come at", "3:30 p"),
        ("I owe you 10 000 ", "I owe you", "10 000 "),
        ("That was in 2019. ", "That was in 2019.", ""),
        ("That was 5%. ", "That was 5%.", ""),
        ("这是一个非常好的句子。", "这是一个非常好的句子。", ""),
        ("I am done here.", "I am done here.", ""),
        ("I say [clears thr", "I say", "[clears thr"),
        ("And now ♪ la la ", "And now", "♪ la la "),
        ("word", "", "word"),
        ("- ", "", "- "),
    ],
)
def test_a_flush_by_the_clock_tears_nothing(text: str, spoken: str, rest: str) -> None:
    """Only whole words are given out, never a part of a tag or a song."""
    splitter = SentenceSplitter(len, 256)
    list(splitter.feed(text))
    assert " ".join(sentence.text for sentence in splitter.flush_words()) == spoken
    assert splitter.pending == rest


@pytest.mark.parametrize(
    "unit",
    ["a", ",", "1", "字", "\u200d", "e\u0301", "[", "♪", "。", ".", ". ", "! ", "e.g. ", "\n", " "],
)
def test_endless_text_is_cut_in_linear_time(unit: str) -> None:
    """What is pending stays bounded, and characters counted for tokens grow only as the text does."""
    counted = 0

    def count_tokens(text: str) -> int:
        nonlocal counted
        counted += len(text)
        return len(text)

    splitter = SentenceSplitter(count_tokens, 100)
    bound = MAX_SPEECH_UNITS + MAX_SONG_CHARS + LOOKAHEAD_CHARS + BITE_CHARS
    costs = []
    for _ in range(2):
        before = counted
        list(splitter.feed((unit * 20_000)[:20_000]))
        costs.append(counted - before)
        assert len(splitter.pending) <= bound
    assert costs[1] <= 1.2 * costs[0] + bound
    assert costs[0] <= 30 * 20_000


@pytest.mark.parametrize(
    ("text", "spoken", "rest"),
    [
        ("Let me check", "Let me check", ""),
        ("I say [clears thr", "I say", "[clears thr"),
        ("It costs $3", "It costs", "$3"),
        ("It costs $1,", "It costs", "$1,"),
        ("Come at 3:", "Come at", "3:"),
        ("On 12/25/", "On", "12/25/"),
        ("Pi is 3.", "Pi is", "3."),
        ("I owe you 10 ", "I owe you", "10 "),
        ("It weighs 5 kg", "It weighs 5 kg", ""),
    ],
)
def test_a_long_pause_ends_the_last_word_but_no_tag_or_number(text: str, spoken: str, rest: str) -> None:
    """A word that nothing follows is given out when it counts as whole; a number might still be continued."""
    splitter = SentenceSplitter(len, 256)
    list(splitter.feed(text))
    given = [*splitter.flush_words(is_last_whole=True)]
    assert " ".join(sentence.text for sentence in given) == spoken
    assert splitter.pending == rest
    rest_given = splitter.flush_words(is_last_whole=True, is_number_whole=True)
    assert [sentence.text for sentence in rest_given] == (
        [rest.strip()] if rest[-1:] not in ("", "r") else []
    )


@pytest.mark.parametrize(
    "rule",
    [
        "-" * 72,
        "---",
        "=====",
        "- - - -",
        "***",
        "~~~~",
        "______",
        "━" * 30,
        "— — —",
        "·····",
        "#" * 300,
        "=" * 3,
    ],
)
def test_a_rule_on_its_own_line_parts_paragraphs(rule: str) -> None:
    """What stands above it is a sentence of its own, and the rule goes with what follows."""
    sentences = split(f"A title\n{rule}\nThe text begins.")
    assert sentences[0].text == "A title" and sentences[0].pause_s > 0
    assert sentences[-1].text.endswith("The text begins.")
    assert len(sentences) == (2 if len(rule) < MAX_SPEECH_UNITS else 3)


def one_of_each_category() -> list[str]:
    """Return a character of each of Unicode's categories that text may have."""
    found: dict[str, str] = {}
    for code in range(0x20, 0x30000):
        found.setdefault(unicodedata.category(chr(code)), chr(code))
    return [character for category, character in found.items() if category not in ("Cs", "Cc")]


COSTLY_TEXTS = [
    "$9,999,999.99 ",
    "3°C ",
    "+49 30 123456 ",
    "1/2 ",
    "1.",
    "1,",
    "12:30:45 ",
    "e.g. ",
    "words without any stop ",
    "a\u0301\u0323\u0302",
    "٣",
    "😀\u200d",
]


@pytest.mark.parametrize(
    "characters",
    [[chr(code) for code in range(0x20, 0x7F)], one_of_each_category(), COSTLY_TEXTS],
    ids=["ascii", "categories", "texts"],
)
def test_the_work_grows_with_the_text_and_not_with_its_square(characters: list[str]) -> None:
    """Of whatever a text consists, each of its characters is written out and counted a few times only.

    A model of 76 tokens, such as the built-in voice, takes eight digits in a sentence, and 300 letters.
    """
    for piece in characters:
        num_verbalized = num_counted = 0

        def verbalize(text: str, language: str) -> str:
            nonlocal num_verbalized
            num_verbalized += len(text)
            return normalize(text, language)

        def count(text: str) -> int:
            nonlocal num_counted
            num_counted += len(text)
            return sum(1 + len(word) // 4 for word in text.split())

        text = (piece * 2000)[:2000]
        splitter = SentenceSplitter(count, 76, verbalize=verbalize)
        sentences = [*splitter.feed(text), *splitter.end()]
        assert sum(len(sentence.text.split()) for sentence in sentences) >= len(text.split())
        assert num_verbalized <= 10 * len(text), (piece, num_verbalized)
        assert num_counted <= 100 * len(text), (piece, num_counted)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_text_is_searched_and_written_out_a_few_times(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However a text of this kind is fed, the work for each of its characters is bounded.

    Letter by letter no more of it is written out than at once, and hardly more is searched for places to cut.
    """
    num_searched = num_verbalized = num_counted = 0
    search = boundaries._boundaries_at

    def counting(*arguments: Any) -> tuple[list[boundaries.Boundary], int]:
        nonlocal num_searched
        num_searched += 1
        return search(*arguments)

    def verbalize(text: str, language: str) -> str:
        nonlocal num_verbalized
        num_verbalized += len(text)
        return normalize(plain(text), language)

    def count(text: str) -> int:
        nonlocal num_counted
        num_counted += len(text)
        return sum(1 + len(word) // 4 for word in text.split())

    monkeypatch.setattr(boundaries, "_boundaries_at", counting)
    text = text_of(kind, 1000)
    for num_chars in (len(text), 1):
        num_searched = num_verbalized = num_counted = 0
        splitter = SentenceSplitter(count, 60, verbalize=verbalize)
        for start in range(0, len(text), num_chars):
            list(splitter.feed(text[start : start + num_chars]))
        list(splitter.end())
        assert num_searched <= 4 * len(text), num_searched
        assert num_verbalized <= 10 * len(text), num_verbalized
        assert num_counted <= 100 * len(text), num_counted


@pytest.mark.parametrize(
    "unit", ["#1 ", "$1,", "1. ", "3:00 p.m. ", "2024-01-01 ", "&#39; ", "[pause:1.5] ", "word "]
)
def test_a_text_that_repeats_itself_is_written_out_once(unit: str) -> None:
    """Sentences that begin alike cost no more than the first few of them."""
    verbalized: list[str] = []

    def verbalize(text: str, language: str) -> str:
        verbalized.append(text)
        return normalize(text, language)

    splitter = SentenceSplitter(lambda text: 3 * len(text.split()), 60, verbalize=verbalize)
    list(splitter.feed(unit * 50))
    num_at_first = len(verbalized)
    list(splitter.feed(unit * 500))
    assert len(verbalized) <= 2 * num_at_first + 16, (num_at_first, len(verbalized))
