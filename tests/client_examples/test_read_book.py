"""Contracts of `client_examples/read_book.py`."""

from __future__ import annotations

from pathlib import Path

from tests.client_examples.example_runs import assert_spoken, read_sound, run, url
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import configured, running

SENTENCE = "One of very many sentences is this. "


async def test_a_book_is_sent_as_fast_as_it_is_spoken(tmp_path: Path) -> None:
    """A text many times longer than what may wait is spoken whole, even if its letters have to be composed."""
    book = tmp_path / "book.txt"
    text = SENTENCE * 60 + "\n\n" + "cafe\u0301 \x07" * 200 + "\n\n" + SENTENCE * 20
    book.write_text(text, encoding="utf-8")
    limits = configured(max_text_chars=300, max_buffered_chars=800)
    async with running(limits, FakeSynthesizer()) as server:
        status, output, errors = await run("read_book.py", book, tmp_path / "book.ogg", *url(server))
    assert (status, errors) == (0, "")
    assert output.count(SENTENCE.strip()) == 80 and "100 %" in output
    assert ", completed, seed" in output.splitlines()[-1]
    assert len(read_sound(tmp_path / "book.ogg")) / 24_000 > 0.02 * 0.9 * len(SENTENCE) * 80


async def test_the_end_of_the_longest_sound_ends_the_reading(tmp_path: Path) -> None:
    """If the server cuts the utterance, the example says so and stops writing."""
    book = tmp_path / "book.txt"
    book.write_text(SENTENCE * 100)
    limits = configured(max_text_chars=300, max_buffered_chars=800, max_audio_s=2.0)
    async with running(limits) as server:
        status, output, errors = await run("read_book.py", book, tmp_path / "book.ogg", *url(server))
    assert (status, errors) == (0, "")
    assert ", truncated, seed" in output.splitlines()[-1]


async def test_voice_and_continuity_are_asked_for(tmp_path: Path) -> None:
    """`--voice` and `--continuity` reach the model; a wrong value gives one line and no traceback."""
    book = tmp_path / "book.txt"
    book.write_text("Here is a whole book.")
    flags = ("--voice", "other", "--continuity", "preset+chain")
    async with running() as server:
        status, _, _ = await run("read_book.py", book, tmp_path / "a.ogg", *flags, *url(server))
        asked = server.synthesizer.requests[-1]
        assert (status, asked.voice, asked.keeps_voice) == (0, "other", True)
        status, _, errors = await run("read_book.py", book, tmp_path / "b.ogg", "--voice", "no", *url(server))
    assert status == 1 and "voice" in errors and len(errors.splitlines()) == 1
    assert_spoken(read_sound(tmp_path / "a.ogg"), "Here is a whole book.")
