"""The benchmark of texts cuts as the server does, and knows each kind of text."""

from __future__ import annotations

import pytest

from benchmarks import text_cost
from benchmarks.text_kinds import KINDS, UNITS, text_of


@pytest.mark.parametrize("written", text_cost.WRITERS)
def test_a_cost_is_that_of_the_longest_slice_and_of_all(
    written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the text is written, there are many slices, and none takes longer than all."""
    monkeypatch.setattr(text_cost, "NUM_RUNS", 1)
    cutter = text_cost.Cutter(text_cost.READINGS["plain"])
    cost = text_cost.measure(cutter, "English", text_cost.WRITERS[written])
    assert 0 < cost.longest_slice_ms < cost.total_ms
    pieces = text_cost.WRITERS[written](text_of("English"))
    assert "".join(pieces) == text_of("English")
    assert len(list(cutter.slices_of(pieces))) > 2000 // text_cost.SLICE_CHARS


def test_each_kind_is_a_text_of_its_length() -> None:
    """A unit is repeated, and what is drawn is the same for the same seed and another for another."""
    for kind in KINDS:
        assert len(text_of(kind)) == 2000 and text_of(kind, seed=1) == text_of(kind, seed=1)
        assert (text_of(kind, seed=1) == text_of(kind, seed=2)) == (kind in UNITS), kind
