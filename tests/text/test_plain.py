"""Text as any model can read it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.text.plain import plain


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Part one " + "-" * 40 + " part two.", "Part one, part two."),
        ("Title\n" + "-" * 72 + "\nThe text begins.", "Title, \nThe text begins."),
        ("Title\n=====\nText", "Title, \nText"),
        ("one " + "–" * 30 + " two", "one, two"),
        ("one — — — two", "one, two"),
        ("one " + "=" * 30 + " two " + "+" * 30, "one, two"),
        ("a >>> b <<< c", "a, b, c"),
        ("It is 100%%% sure", "It is 100% sure"),
        ("Save 50%%%%%!", "Save 50%!"),
        ("Title\n=-=-=-=-=-=\nThe text", "Title, \nThe text"),
        ("-=-=-=-=- Menu -=-=-=-=-", "Menu"),
        ("one ~*~*~*~ two", "one, two"),
        ("one = - = - = - two", "one, two"),
        ("one *-*-*-* two", "one, two"),
        ("one <>-<>-<>- two", "one <>-<>-<>- two"),
        ("===> go <===", "go"),
        ("here <--- and ---> there", "here, and, there"),
        ("wait---what", "wait, what"),
        ("- - - so it was", "so it was"),
        ("One, --- two. *** Three", "One, two. Three"),
        ('He said "no." ____ So', 'He said "no." So'),
        ("### Title ~~~", "Title"),
        ("fun 😂😂😂 yes", "fun, yes"),
        ("| Name | Price |\n|:-----|------:|\n| Tea | $5 |", "Name, Price, Tea, $5"),
        ("+---+---+\n| a | b |\n+---+---+", "a, b"),
        ("┌──┬──┐\n│ a │ b │\n└──┴──┘", "a, b"),
        ("███████░░░ done", "done"),
        ("== A Section ==", "A Section"),
        ("x ==== y,,,, z;;;", "x, y, z"),
    ],
)
def test_a_rule_of_signs_is_a_pause(written: str, read: str) -> None:
    """Three or more of the same sign, spaces between or not, and what tables are drawn with; no sign is left."""
    assert plain(written) == read


@pytest.mark.parametrize(
    "text",
    [
        "C++ and i++ or --x, a == b && c || d.",
        "-5 - -3 is 5 -- no?",
        "- - -5",
        "Well — so -- it goes… on.",
        "She said (well) \"it's [laughs] 'so'\".",
        "♪♪♪ la la ♪♪♪",
        "It costs $5, €5, 5%, 1,000,000 or 10000000.",
        "कि की के कु कै्री ।",
        "https://www.example.org/a_b?c=1&d=2",
        "你好——再见……好。",
        "Bookkeeping, www, XIII, hmmm.",
        "No!! Yes?! What?? Well...",
        "👩\u200d🚀❤\ufe0f❤\ufe0f❤\ufe0f",
    ],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    """Operators, negative numbers, quotes, tags, songs, amounts, marks of letters and pairs of signs."""
    assert plain(text) == text


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("No" + "!" * 64 + " yes.", "No! yes."),
        ("Why" + "?!" * 40 + " Tell me.", "Why?! Tell me."),
        ("What!?!?!", "What!?"),
        ("So" + "." * 100 + " I went home.", "So... I went home."),
        ("Well . . . . . no", "Well ... no"),
        ("Wait" + "…" * 20, "Wait…"),
        ("No ! ! ! yes", "No ! yes"),
        ("好。。。。！！！！", "好。！"),
        ("नहीं।।।।", "नहीं।"),
        ("Chapter one ........ 5", "Chapter one ... 5"),
        ("This is ***very*** good***.", "This is very good."),
    ],
)
def test_runs_of_stops_are_shortened(written: str, read: str) -> None:
    """Each stop once, dots three times, so that the word before is heard."""
    assert plain(written) == read


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("N" + "o" * 120 + "!", "Nooo!"),
        ("Hello " + "o" * 120 + " there, my friend.", "Hello ooo there, my friend."),
        ("Aaaaaaah", "Aaaah"),
        ("哈哈哈哈哈哈哈", "哈哈哈"),
        ("н" + "е" * 30 + "т", "нееет"),
        ("ha" * 80 + "!", "ha" * 50 + " " + "ha" * 30 + "!"),
        ("x1" * 101, "x1" * 50 + " " + "x1" * 50 + " x1"),
        ("1" * 200, "1" * 100 + " " + "1" * 100),
    ],
)
def test_long_words_are_shortened_or_parted(written: str, read: str) -> None:
    """At most three equal letters in a row, and a hundred letters in a word."""
    assert plain(written) == read


def test_what_unicode_does_not_know_is_left_out() -> None:
    """Unassigned code points go, as in the original, and letters are composed with their marks."""
    assert plain("e\u0301\u0378 ok") == "\u00e9 ok"


@given(st.text(st.sampled_from("ab -=_*|+:,.!?…。─│😊♪[]()\n\t5$%\u093f"), max_size=80))
def test_no_letter_is_lost(text: str) -> None:
    """Whatever signs are around them, letters and digits stay, but for those of long runs."""
    shortened = re.sub(r"([ab])\1{3,}", r"\1\1\1", text)
    assert list(filter(str.isalnum, plain(text))) == list(filter(str.isalnum, shortened))
