"""No version of a dependency is allowed that has a hole which a server stands open with."""

from __future__ import annotations

import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
REQUIREMENTS = {(asked := Requirement(text)).name: asked for text in PROJECT["dependencies"]}
MENDED = {
    "websockets": "17.4",  # fragments without end are counted
    "torch": "2.10",  # CVE-2026-24747: code in a file that is read with weights_only
    "h11": "0.16",  # CVE-2025-43859: two readings of a chunked body
    "nltk": "3.9",  # CVE-2024-39705: code in Punkt's pickles
    "babel": "2.9.1",  # CVE-2021-42771: code in locale files by a path of the client's
}
"""The first version without the hole. A feed of new ones is not read here, because tests need no network."""


def lowest(requirement: Requirement) -> Version:
    """The lowest version that is allowed; each requirement has one lower bound."""
    (bound,) = (part for part in requirement.specifier if part.operator in (">=", "=="))
    return Version(bound.version)


@pytest.mark.parametrize("name", MENDED)
def test_no_version_with_a_known_hole_is_allowed(name: str) -> None:
    """The lowest version that may be installed is one in which it is mended."""
    assert lowest(REQUIREMENTS[name]) >= Version(MENDED[name])


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_what_is_tested_is_allowed(name: str) -> None:
    """Every dependency has a lowest version, and what is installed here is no older."""
    assert Version(version(name)) >= lowest(REQUIREMENTS[name])


def test_a_gpu_machine_is_given_what_the_server_imports() -> None:
    """Its wheels hold every dependency but what comes with torch, and PyAV, which only files of sound need."""
    listed = (Path(__file__).parents[1] / "benchmarks" / "gpu_wheels.txt").read_text().splitlines()
    wheels = {Requirement(line).name for line in listed if not line.startswith("#")}
    assert set(REQUIREMENTS) - wheels == {"torch", "numpy", "numba", "av"}
