"""Every command of the training can be started: its imports exist."""

import importlib
import pkgutil

import pytest

import training


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(training.__path__)])
def test_a_module_imports(name: str) -> None:
    """Each module is imported, because most of them need hours and run in no other test."""
    try:
        importlib.import_module(f"training.{name}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("training", "benchmarks", "streamer"):
            raise
        pytest.skip(f"{error.name} is not installed")
