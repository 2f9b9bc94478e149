"""The operator's list of pronunciations: which words it means, and that each mistake names its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamer.errors import ConfigError
from streamer.text.lexicon import MAX_ENTRIES, MAX_FILE_BYTES, MAX_PROBLEMS, Lexicon
from streamer.text.phones import annotated

PHONES = ("JH", "IH0", "IH1", "F")


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "lexicon.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Use nginx, NGINX or Nginx.", "Use engine x, engine x or engine x."),
        ("In the US us USB US's AUS US", "In the you ess us USB you ess's AUS you ess"),
        ("I can, I can't; cannot", "I KAN, I can't; cannot"),
        ("C++ is no C+ or c++11", "see plus plus is no C+ or see plus plus11"),
        (".NET and ASP.NET", "dot net and ASP.NET"),
        ("New  York\nor New-York", "big apple\nor New-York"),
        ("naïve, NAÏVE nai\u0308ve", "nye eve, nye eve nai\u0308ve"),
        ("Straße STRASSE", "shtrahse STRASSE"),
        ("我住在北京市", "我住在peking市"),
        ("θ Θ θα", "theta theta θα"),
        ("a/b SQL. sql?", "a/b sequel. sequel?"),
        ("don’t it’s it", "don’t that’s that"),
    ],
)
def test_whole_words_are_replaced(text: str, expected: str) -> None:
    """Lower case stands for every case, a capital for itself; apostrophes and letters around make another word."""
    lexicon = Lexicon(
        {
            "nginx": "engine x", "US": "you ess", "can": "KAN", "c++": "see plus plus", ".net": "dot net",
            "New York": "big apple", "naïve": "nye eve", "straße": "shtrahse", "北京": "peking", "θ": "theta",
            "sql": "sequel", "it": "that",
        }
    )  # fmt: skip
    assert lexicon.write(text, ()) == expected


def test_the_longest_words_count() -> None:
    """Of two entries at one place the longer one is said, and what is said is not looked up again."""
    lexicon = Lexicon({"new york city": "NYC", "new york": "york", "new": "old", "york": "new"})
    assert lexicon.write("new york city, new york, new car, york", ()) == "NYC, york, old car, new"


def test_a_word_may_be_given_in_phones() -> None:
    """Phones go with the word as it was written; what has phones already keeps them."""
    lexicon = Lexicon({"gif": "/JH IH1 F/"})
    assert lexicon.write("A GIF", PHONES) == f"A {annotated('GIF', ('JH', 'IH1', 'F'))}"
    given = annotated("gif", ("F",))
    assert lexicon.write(f"{given} gif", PHONES) == f"{given} {annotated('gif', ('JH', 'IH1', 'F'))}"


def test_a_file_is_read(tmp_path: Path) -> None:
    """Comments and empty lines are passed over, an equals sign may be said, and a byte order mark is none."""
    path = written(tmp_path, "\ufeff# names\n\nnginx = engine x\r\n  gif=/JH IH1 F/  \nE = m = c squared\n")
    lexicon = Lexicon.read(path)
    assert len(lexicon) == 3
    assert lexicon.write("nginx E e", PHONES) == "engine x m = c squared e"
    lexicon.check_phones(PHONES)


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a = b\nno equals sign\n", 2, "written = spoken"),
        ("# x\n\n = spoken\n", 3, "1 to 64 characters"),
        ("written =\n", 1, "1 to 200 characters"),
        ("a = b\nA b = c\na = d\n", 3, "line 1"),
        ("x" * 65 + " = y\n", 1, "1 to 64"),
        ("a = " + "y " * 101 + "z\n", 1, "1 to 200"),
        ("a = ...\n", 1, "nothing to say"),
        (b"a = b\n\xff = c\n", 2, "UTF-8"),
    ],
)
def test_a_mistake_names_its_line(tmp_path: Path, text: str | bytes, line: int, problem: str) -> None:
    """One clear error with the file, the line and what is wrong there."""
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        Lexicon.read(path)
    assert f"{path}, line {line}:" in caught.value.message
    assert problem in caught.value.message
    assert caught.value.param == "lexicon"


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """A line each, up to a bound, and those in phones that the model lacks."""
    wrong = "no equals sign\na = b\n = c\nd =\na = e\nf = ...\n"
    with pytest.raises(ConfigError) as caught:
        Lexicon.read(written(tmp_path, wrong))
    lines = caught.value.message.splitlines()
    assert sorted(int(line.partition("line ")[2].partition(":")[0]) for line in lines) == [1, 3, 4, 5, 6]
    with pytest.raises(ConfigError) as caught:
        Lexicon.read(written(tmp_path, "no equals sign\n" * (MAX_PROBLEMS + 3)))
    assert caught.value.message.splitlines()[-1] == "3 more mistakes" and len(lines) < MAX_PROBLEMS
    lexicon = Lexicon.read(written(tmp_path, "a = /Q/\ngif = /JH IH1 F/\nc = /X Y Z/\n"))
    with pytest.raises(ConfigError) as caught:
        lexicon.check_phones(PHONES)
    assert [line.partition("line ")[2][0] for line in caught.value.message.splitlines()] == ["1", "3"]


def test_a_file_that_is_not_there_or_too_large_is_one_error(tmp_path: Path) -> None:
    """A directory, too, is no file; size and number of words are bounded."""
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(ConfigError, match=str(path)):
            Lexicon.read(path)
    with pytest.raises(ConfigError, match=str(MAX_FILE_BYTES)):
        Lexicon.read(written(tmp_path, "#" * (MAX_FILE_BYTES + 1)))
    with pytest.raises(ConfigError, match=f"line {MAX_ENTRIES + 1}: more than {MAX_ENTRIES}"):
        Lexicon.read(written(tmp_path, "\n".join(f"w{n} = x" for n in range(MAX_ENTRIES + 1))))


def test_phones_are_checked_against_the_model(tmp_path: Path) -> None:
    """The line with a phone that the model does not have is named, and so is a model without phones."""
    lexicon = Lexicon.read(written(tmp_path, "a = b\ngif = /JH Q/\n"))
    with pytest.raises(ConfigError, match=r"line 2: /JH Q/ are none of this model's phones"):
        lexicon.check_phones(PHONES)
    with pytest.raises(ConfigError, match="this model has none"):
        lexicon.check_phones(())


def test_many_words_are_looked_up_quickly() -> None:
    """Ten thousand entries leave a text that has none of them as it is."""
    lexicon = Lexicon({f"{letter}word{n}": "x" for letter in "abcdefghij" for n in range(1000)})
    text = "A text without any of these words. " * 10
    assert lexicon.write(text, ()) == text
    assert lexicon.write("jword999", ()) == "x"
