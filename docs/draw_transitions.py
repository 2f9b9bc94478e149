"""Draws the native protocol's transition table into docs/protocol.md: `python -m docs.draw_transitions`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from streamer.server.native.transitions import TRANSITIONS, Event, State

PAGE = Path(__file__).parent / "protocol.md"
BEGIN, END = "<!-- drawn by docs/draw_transitions.py -->\n", "<!-- end of the drawing -->\n"
HEADINGS = {
    Event.START: "`start`, `speak`",
    Event.ACCEPTED: "it is accepted",
    Event.REJECTED: "it is refused",
    Event.DONE: "`done` is sent",
}
NAMES = {
    State.UNKNOWN: "unknown",
    State.REFUSED: "refused",
    State.OPEN: "open",
    State.ENDED: "ended",
    State.OVER: "over",
    State.REFUSED_AGAIN: "refused again",
}
RESULTS = (Event.ACCEPTED, Event.REJECTED, Event.DONE)
"""Events that the server brings about; their columns say what state follows."""


def table() -> str:
    """The table in Markdown: a row for each state, a column for each event; the state that follows is in bold."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in _rows()) + "\n"


def drawn_page(page: str) -> str:
    """The page with the table of today between its marks."""
    head, _, rest = page.partition(BEGIN)
    return head + BEGIN + table() + END + rest.partition(END)[2]


def _rows() -> Iterator[list[str]]:
    yield ["the id is", *(HEADINGS.get(event, f"`{event.value}`") for event in Event)]
    yield ["---"] * (1 + len(Event))
    for state in TRANSITIONS:
        yield [f"**{NAMES[state]}**", *(_cell(state, event) for event in Event)]


def _cell(state: State, event: Event) -> str:
    transition = TRANSITIONS[state].get(event)
    if transition is None:
        return "" if event in RESULTS else "`error`"
    words = [] if event in RESULTS else [transition.reaction.value]
    if event in RESULTS or transition.state is not state:
        words.append(f"**{NAMES[transition.state]}**")
    return ", ".join(words)


if __name__ == "__main__":
    PAGE.write_text(drawn_page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
