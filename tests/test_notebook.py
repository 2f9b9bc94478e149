"""Contract of `notebooks/quickstart.ipynb`: it runs from the first cell to the last."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks" / "quickstart.ipynb"
BUILTIN_MODEL = ROOT / "streamer" / "voices" / "builtin" / "config.json"

pytest.importorskip("nbclient", reason="nbclient is not installed")


@pytest.mark.slow
@pytest.mark.skipif(
    not BUILTIN_MODEL.exists(), reason="the built-in voice's weights are not in this checkout"
)
# What Jupyter's own packages warn of is not ours to mend.
@pytest.mark.filterwarnings("default")
def test_the_notebook_runs(tmp_path: Path) -> None:
    """Every cell runs; the first one ends in a player, and a sound file is left behind."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = [output.data for output in cells[0].outputs if output.output_type == "execute_result"]
    assert "<audio" in shown[0]["text/html"]
    assert (tmp_path / "hello.ogg").read_bytes().startswith(b"OggS")
    assert "first sound after" in "".join(output.get("text", "") for cell in cells for output in cell.outputs)


def test_the_notebook_is_kept_without_outputs() -> None:
    """Outputs would age, and sound would fill the repository."""
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.get("outputs") for cell in notebook.cells)
