"""Every command of the training can be started: what it imports is there."""

import importlib
import pkgutil

import pytest

import training


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(training.__path__)])
def test_a_module_imports(name: str) -> None:
    """Also those that need hours to run, and so run in no other test."""
    try:
        importlib.import_module(f"training.{name}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("training", "benchmarks", "streamer"):
            raise
        pytest.skip(f"{error.name} is not installed")
