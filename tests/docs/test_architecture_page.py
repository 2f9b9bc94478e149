"""Contracts of `docs/architecture.md`: it describes the tree that is there, in the order in which it is read."""

from __future__ import annotations

from docs.draw_tree import PAGE, drawn_page, listed, modules

TEXT = PAGE.read_text(encoding="utf-8")


def test_the_tree_is_the_one_on_the_disk() -> None:
    """Every module stands under its folder, and once; a protocol's folder may be left out."""
    there, shown = modules(), listed(TEXT)
    for folder, stems in shown.items():
        assert sorted(stems) == there[folder], folder
    left_out = [folder for folder in there if folder not in shown]
    assert [folder for folder in left_out if "endpoints" not in there[folder]] == []
    assert "native" in " ".join(shown)


def test_the_tree_says_what_the_modules_say() -> None:
    """After a change, `python -m docs.draw_tree` draws it."""
    assert drawn_page(TEXT) == TEXT
