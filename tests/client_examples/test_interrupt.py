"""Contracts of `client_examples/interrupt.py`."""

from __future__ import annotations

from tests.client_examples.example_runs import run, url
from tests.server.speaking import running

TEXT = "One of many sentences is this. " * 20


async def test_what_was_heard_is_told() -> None:
    """After the interruption the program prints the heard beginning of the text, and the synthesizer is free."""
    async with running() as server:
        status, output, errors = await run("interrupt.py", "--text", TEXT, "--after", 1, *url(server))
    assert (status, errors) == (0, "")
    heard = output.partition("heard: ")[2].strip()
    assert heard and TEXT.startswith(heard)
    # One second at 20 ms a character is about 50 characters.
    assert 15 <= len(heard) <= 80


async def test_a_short_text_ends_before() -> None:
    """If the text ends before the interruption, the program says so."""
    async with running() as server:
        status, output, _ = await run("interrupt.py", "--text", "Short.", "--after", 20, *url(server))
    assert status == 0
    assert "completed before the interruption" in output
