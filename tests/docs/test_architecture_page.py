"""Contract of `docs/architecture.md`: it describes the tree that is there."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
TREE = PAGE.partition("## The tree")[2].partition("\n## ")[0]
PACKAGE = ROOT / "streamer"
MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if not path.stem.startswith("__")]


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_every_module_is_in_the_tree(module: Path) -> None:
    """A module is named in the tree, under its folder."""
    folder = module.parent.relative_to(PACKAGE).as_posix()
    if folder != ".":
        assert f" {folder.partition('/')[0]}/" in TREE
    assert module.stem in TREE


def test_every_folder_of_the_tree_is_there() -> None:
    """No folder is described that does not exist."""
    lines = [line.strip().split()[0] for line in TREE.splitlines() if line.startswith("      ")]
    folders = [name for name in lines if name.endswith("/")]
    assert len(folders) > 5
    assert [name for name in folders if not any(PACKAGE.rglob(name))] == []
