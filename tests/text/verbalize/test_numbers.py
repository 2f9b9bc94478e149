"""Numbers, amounts and times of twelve languages in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.text.verbalize.numbers import WORDS, write_numbers_in


@pytest.mark.parametrize(
    ("language", "written", "said"),
    [
        ("de", "um 7:45 Uhr oder 8:00", "um sieben Uhr fünfundvierzig oder acht Uhr"),
        ("de", "1.250,50 €, 1 €", "eintausendzweihundertfünfzig Euro fünfzig, ein Euro"),
        ("de", "am 3. Oktober 1990, der 2. Tag", "am dritten Oktober neunzehnhundertneunzig, der zweite Tag"),
        ("de", "-5 °C, 3,14, A7x", "minus fünf Grad, drei Komma eins vier, A sieben x"),
        ("es", "a las 1:30 y 21:00", "a las una treinta y veintiuna horas"),
        ("es", "1.250,50 € y la 2ª", "mil doscientos cincuenta euros con cincuenta y la segunda"),
        ("fr", "à 7 h 45 et 1h", "à sept heures quarante-cinq et un h"),
        (
            "fr",
            "1 250,50 €, le 1er, 12 %",
            "mille deux cent cinquante euros cinquante, le premier, douze pour cent",
        ),
        ("hi", "7:45 बजे ₹1,25,000", "सात पैंतालीस बजे एक लाख पच्चीस हज़ार रुपये"),
        ("hi", "४५", "पैंतालीस"),
        ("it", "alle 7:45, 12,50 €", "alle sette e quarantacinque, dodici euro e cinquanta"),
        ("ja", "12:30に¥12,500です", "十二時三十分に一万二千五百円です"),
        ("ko", "7시 45분, 3.14", "일곱시 사십오분, 삼점일사"),
        ("pl", "1 zł, 2 zł, 5 zł, 22 zł", "jeden złoty, dwa złote, pięć złotych, dwadzieścia dwa złote"),
        (
            "pt",
            "às 7:45, R$ 1.250,50",
            "às sete e quarenta e cinco, mil duzentos e cinquenta reais e cinquenta",
        ),
        ("ru", "1 ₽, 2 ₽, 5 ₽, 21 ₽", "один рубль, два рубля, пять рублей, двадцать один рубль"),
        ("ru", "−15 °C в 21:00", "минус пятнадцать градусов в двадцать один час"),
        ("tr", "3. perondan %50", "üçüncü perondan yüzde elli"),
        ("zh", "2026年，50%，12:30", "二〇二六年，百分之五十，十二点三十分"),
    ],
)
def test_what_stands_in_numbers_is_said_in_words(language: str, written: str, said: str) -> None:
    """Times, amounts with their hundredths, ordinals, percentages, degrees, decimals and groups of digits."""
    assert write_numbers_in(written, language) == said


@pytest.mark.parametrize("language", WORDS)
@given(text=st.text(st.sampled_from("0123456789.,: -−%€$¥°Cºhaº年시 ٣४"), max_size=40))
def test_no_digit_is_left(language: str, text: str) -> None:
    """Whatever stands around it, and however long a number is."""
    assert not any(character.isdecimal() for character in write_numbers_in(text + "9" * 30, language))
