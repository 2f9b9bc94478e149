"""The protocol's page says what the server does."""

from __future__ import annotations

from docs.draw_transitions import PAGE, drawn_page


def test_the_table_of_states_is_the_one_the_server_runs_on() -> None:
    """After a change, `python -m docs.draw_transitions` draws it."""
    page = PAGE.read_text(encoding="utf-8")
    assert drawn_page(page) == page
