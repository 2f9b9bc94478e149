"""SSML's `say-as`: each kind in words, in several languages, and what cannot be said so."""

from __future__ import annotations

import pytest

from streamer.text.verbalize.say_as import say_as


@pytest.mark.parametrize(
    ("kind", "text", "language", "expected"),
    [
        ("characters", "SQL", "en", "s q l"),
        ("spell-out", "A4 b", "en", "ay four b"),
        ("verbatim", "Ab1", "de", "A b eins"),
        ("digits", "1984", "en", "one nine eight four"),
        ("digits", "2 40", "fr", "deux quatre zéro"),
        ("telephone", "555-0123", "en", "five five five, zero one two three"),
        ("telephone", "+49 30 1", "de", "vier neun, drei null, eins"),
        ("cardinal", "1984", "en", "one thousand nine hundred and eighty four"),
        ("number", "-3.5", "en", "minus three point five"),
        ("cardinal", "3", "xx", "3"),
        ("ordinal", "3", "en", "third"),
        ("ordinal", "21st", "en", "twenty first"),
        ("ordinal", "3.", "de", "dritte"),
        ("ordinal", "2", "fr", "deuxième"),
        ("date", "04/03/2024", "en", "April third twenty twenty four"),
        ("time", "14:30", "en", "fourteen thirty"),
        ("currency", "$5", "en", "five dollars"),
        ("fraction", "3/4", "en", "three quarters"),
        (" Unit ", "5 kg", "en", "five kilograms"),
    ],
)
def test_each_kind_is_written_out(kind: str, text: str, language: str, expected: str) -> None:
    """Whatever its letters' case; a language without tables keeps its numbers for the model."""
    assert say_as(text, {"interpret-as": kind}, language) == expected


@pytest.mark.parametrize(
    ("text", "order", "expected"),
    [
        ("04/03/2024", "dmy", "March fourth twenty twenty four"),
        ("04/03/2024", "mdy", "April third twenty twenty four"),
        ("2024.03.04", "ymd", "March fourth twenty twenty four"),
        ("4-3-24", "d m y", "March fourth twenty twenty four"),
        ("04/03/2024", "dd.mm.yyyy", "March fourth twenty twenty four"),
        ("04/03/2024", "nonsense", "April third twenty twenty four"),
    ],
)
def test_a_date_is_read_in_the_order_of_its_format(text: str, order: str, expected: str) -> None:
    """Without an order that names all three parts it is read as in the language."""
    assert say_as(text, {"interpret-as": "date", "format": order}, "en") == expected


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("hieroglyph", "x"),
        ("", "x"),
        ("cardinal", "many"),
        ("ordinal", "3.5"),
        ("ordinal", "third"),
        ("date", " "),
    ],
)
def test_what_cannot_be_said_so_is_none(kind: str, text: str) -> None:
    """The caller then speaks the text as it is written."""
    assert say_as(text, {"interpret-as": kind}, "en") is None
