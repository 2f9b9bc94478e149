"""Texts of many kinds, for `text_cost` and the tests that bound the work: one unit repeated, or drawn with a seed."""

from __future__ import annotations

import random
from collections.abc import Callable

COMMON_WORDS = (
    "the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which "
    "one you were all her she there would their we him been has when who will no more if out so what up said about"
).split()
UNITS = {
    # Writing of many languages and scripts.
    "English": "It was late in the year, and the first snow lay on the hills. Nobody had used the road for days. ",
    "German": "Es war spät im Jahr, und der erste Schnee lag auf den Hügeln. Größer als sonst war die Kälte. ",
    "French": "C'était tard dans l'année, et la neige couvrait déjà les collines. « Où êtes-vous ? » dit-il. ",
    "Russian": "Был конец года, и первый снег лежал на холмах. Никто не ездил по этой дороге. ",
    "Greek": "Ήταν αργά το χρόνο και το πρώτο χιόνι σκέπαζε τους λόφους. ",
    "Chinese": "那年年底，第一场雪覆盖了山丘。好几天没有人走过那条路。",
    "Japanese": "その年の暮れ、丘には初雪が積もっていました。「どこですか？」",
    "Korean": "그해 늦은 무렵, 언덕에는 첫눈이 쌓여 있었다. ",
    "Hindi": "साल के अंत में पहाड़ियों पर पहली बर्फ पड़ी थी। ",
    "Thai": "ปลายปีนั้นหิมะแรกปกคลุมเนินเขา ",
    "Arabic": "كان ذلك في أواخر العام، وكان الثلج الأول يغطي التلال. ",
    "Hebrew": "זה היה בסוף השנה, והשלג הראשון כיסה את הגבעות. ",
    # Numbers, and what stands for them.
    "digit": "7 ", "digits in a row": "1", "number sign": "#1 ", "numero": "№1", "cents": "$1,", "euros": "€5 ",
    "ISO date": "2024-01-01 ", "month": "May 3, 2024 ", "clock": "12:34:56 ", "afternoon": "3:00 p.m. ",
    "first": "1st ", "list": "1. ", "digit and stop": "1.", "half": "½", "mixed fraction": "2 1/2 ",
    "power": "1e9 ", "square": "x^2 ",
    "sum": "1+1=2 ", "ratio": "1:2 ", "percent": "100% ", "minus": "-1", "range": "1–2 ", "circled": "①",
    "fullwidth digits": "１２３ ", "Arabic digits": "١٢٣ ", "phone": "+1 (555) 123-4567 ", "address": "192.168.0.1 ",
    "version": "v1.2.3 ", "Roman": "IV ", "ruler": "Henry VIII ", "decade": "the 1980s ", "height": "5'11\" ",
    "millions": "$5M ", "letter and digit": "A1", "part number": "COVID-19 ", "Roman sign": "Ⅳ ",
    # Markup, tags and brackets.
    "pause": "[pause:1.5]", "open pause": "[pause:", "laughter": "[laughter] ", "voice": "[voice: x]", "bracket": "[",
    "nested": "[([([([(])])])])", "entity": "&#39;", "ampersand": "&", "break": "<break time='1s'/>",
    "sub": "<sub alias='a b'>c</sub>", "open sub": "<sub alias='x'>", "CDATA": "<![CDATA[", "comment": "<!--",
    "date element": "<say-as interpret-as='date'>1/2/2024</say-as>", "rate": "<prosody rate='50%'>a</prosody>",
    "less than": "<", "open tag": "<a ", "speak": "<speak>&amp;", "stars": "*", "emphasis": "**a** ", "underscore": "_",
    "fence": "~~~\n", "item": "- item\n", "heading": "# head\n", "row": "| a ", "link": "[a](b) ", "image": "![a](b)",
    # Signs, and words that are no usual ones.
    "URL": "https://example.com/a/b?c=d#e ", "host": "www.a.b ", "mail": "a@b.com ", "path": "/usr/lib/x.so ",
    "emoji": "😀", "family": "👨‍👩‍👧", "flag": "🇺🇸", "joiner": "\u200d", "zero width": "a\u200bb ",
    "accent": "e\u0301", "tower": "a" + 12 * "\u0301", "one word": "a", "commas": "word, ", "semicolons": "word; ",
    "comma": ",", "stop": ".", "ellipsis": "... ", "stops apart": ". . ", "question": "?! ", "dash": "—", "hyphen": "-",
    "quote": '"', "quoted": '"Yes," she said. ', "note": "♪", "lyrics": "♪ In the jungle ♪\n",
    "speaker": "MAN: Hello.\n", "label": "A: ", "abbreviations": "Dr. Mr. e.g. i.e. etc. vs. ",
    "initials": "U.S. ", "initial": "J. ",
    "acronyms": "NASA FBI USB HTTP XML ", "glued": "It is done.The next one.", "slash": "and/or ",
    "code": "def f(x: int) -> list[str]:\n    return [str(i) for i in range(x) if i % 2 == 0]\n",
    "generics": "List<String> ", "camel case": "camelCaseName ", "smileys": ":-) ;-) :D <3 ", "signs by turns": "=-",
    "rule": "-----\n", "tilde": "~", "equals": "=", "section": "§", "new lines": "a\n\n", "tab": "\t", "space": " ",
    "spaces": "a\u00a0b\u2003c\u3000d\u2028e\u2029f\x0bg\x0ch ", "fullwidth": "Ａｂｃ！", "ligatures": "ﬁﬂﬃ ",
    "mathematical": "𝒂𝒃𝒄 ", "superscripts": "1² x³ ", "ideograph": "字", "wide stop": "。",
}  # fmt: skip
"""One unit of each kind that repeats itself."""
Draw = Callable[[random.Random], str]


def _words(draw: random.Random) -> str:
    return " ".join(draw.choices(COMMON_WORDS, k=500))


def _each(piece: Draw, num_pieces: int = 1000) -> Draw:
    """Return a text of pieces that are drawn one by one."""
    return lambda draw: "".join(piece(draw) for _ in range(num_pieces))


def _number(max_digits: int) -> Draw:
    return lambda draw: f"{draw.randrange(10 ** (max_digits - 1), 10**max_digits)} "


def _character(draw: random.Random) -> str:
    code = draw.randrange(0x20, 0x30000)
    return chr(code) if not 0xD800 <= code < 0xE000 else "a"


DRAWN: dict[str, Draw] = {
    "words": _words,
    "CAPITALS": lambda draw: _words(draw).upper(),
    "Titled Words": lambda draw: _words(draw).title(),
    "unknown words": _each(lambda draw: "".join(draw.choices("etaoinshrdlucm", k=draw.randint(3, 9))) + " "),
    "numbers of 3 digits": _each(_number(3)),
    "numbers of 4 digits": _each(_number(4)),
    "numbers of 12 digits": _each(_number(12)),
    "numbered": _each(lambda draw: f"#{draw.randrange(10 ** draw.randint(1, 5))} "),
    "prices": _each(
        lambda draw: f"${draw.randrange(1000)},{draw.randrange(1000):03}.{draw.randrange(100):02} "
    ),
    "dates": _each(lambda draw: f"{draw.randint(1, 12)}/{draw.randint(1, 28)}/{draw.randint(1900, 2099)} "),
    "ordinals": _each(lambda draw: f"{draw.randrange(5000)}5th "),
    "decimals": _each(lambda draw: f"{draw.uniform(0, 1000):.4f} "),
    "measures": _each(lambda draw: f"{draw.randrange(2000)}{draw.choice(('km', 'kg', '%', '°C', 'm²'))} "),
    "fractions": _each(lambda draw: f"{draw.randint(1, 99)}/{draw.randint(2, 99)} "),
    "codes": _each(lambda draw: f"{draw.choice('ABCXYZ')}{draw.randrange(1000)}-{draw.randrange(1000)} "),
    "digits and signs": _each(lambda draw: draw.choice("0123456789.,:/-+*x^%$ €#()"), 2000),
    "table": _each(lambda draw: f"| {draw.choice(COMMON_WORDS)} | {draw.randrange(1000)} |\n"),
    "any ASCII": _each(lambda draw: chr(draw.randrange(32, 127)), 2000),
    "any character": _each(_character, 2000),
}
"""Texts that do not repeat themselves."""
KINDS = (*UNITS, *DRAWN)


def text_of(kind: str, num_chars: int = 2000, seed: int = 0) -> str:
    """A text of one kind; the same for the same seed."""
    if kind in UNITS:
        return (UNITS[kind] * num_chars)[:num_chars]
    return DRAWN[kind](random.Random(seed))[:num_chars]
