"""Telephone numbers, addresses, versions and part numbers in words."""

from __future__ import annotations

import pytest

from streamer.text.verbalize.normalize import normalize
from streamer.text.verbalize.numbers import write_numbers


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("555-1234", "five five five, one two three four"),
        ("+1 (555) 123-4567", "plus one, five five five, one two three, four five six seven"),
        ("555.123.4567", "five five five, one two three, four five six seven"),
        ("+49 30 123456", "plus four nine, three zero, one two three four five six"),
        ("call 911", "call nine one one"),
        ("123-45-6789", "one two three, four five, six seven eight nine"),
        ("a 4-4-2", "a four four two"),
        ("192.168.0.1", "one nine two dot one six eight dot zero dot one"),
        ("192.168.0.1/24", "one nine two dot one six eight dot zero dot one slash twenty four"),
        ("localhost:8080", "localhost colon eight zero eight zero"),
        ("v2.1.3, 17.2.1", "v two point one point three, seventeen point two point one"),
        ("CA 90210", "CA nine zero two one zero"),
        ("A320, COVID-19, F-16, B12", "A three twenty, COVID nineteen, F sixteen, B twelve"),
        ("Boeing 747, Highway 101", "Boeing seven forty seven, Highway one oh one"),
        ("H2O, MP3, EUR20", "H two O, m p three, twenty euros"),
        ("Room 5B, Seat 12A, Gate 22K", "Room five b, Seat twelve ay, Gate twenty two k"),
        ("221B Baker St., 12K Elm Road", "two twenty one b Baker street, twelve k Elm Road"),
        ("7B parameters, 10K Runners", "seven billion parameters, ten thousand Runners"),
        ("0x1F, 0xa0", "zero x one f, zero x ay zero"),
        ("#1, No. 5, Nos. 3, pp. 12-15", "number one, number five, numbers three, pages twelve to fifteen"),
    ],
)
def test_codes_in_english(written: str, said: str) -> None:
    """Codes are read by their digits, in groups or in pairs; no hyphen becomes a minus or a range."""
    assert normalize(written) == said


@pytest.mark.parametrize(
    ("language", "written", "said"),
    [
        ("de", "Tel. 030 123456", "Tel. null drei null, eins zwei drei vier fünf sechs"),
        ("de", "10.0.0.1, 1.2.3", "eins null Punkt null Punkt null Punkt eins, eins Punkt zwei Punkt drei"),
        ("fr", "01 23 45 67 89", "zéro un, deux trois, quatre cinq, six sept, huit neuf"),
        ("ru", "1.2.3", "один точка два точка три"),
        ("ja", "090-1234-5678", "〇九〇、一二三四、五六七八"),
    ],
)  # fmt: skip
def test_codes_in_other_languages(language: str, written: str, said: str) -> None:
    """Telephone numbers, IP addresses and versions are known there too."""
    assert write_numbers(written, language) == said
