"""What is installed to build, test and release is named by its content: packages by hashes, actions by commits."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCKS = ("server", "test", "tools", "torch-cpu", "torch-cuda", "triton", "ray")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
EXCLUDED = {
    line for line in (ROOT / "requirements/excluded.txt").read_text().split("\n") if line[:1] not in "# "
}


def locked(name: str) -> dict[str, tuple[str, int]]:
    """Version and number of hashes of each package in a lock."""
    text = (ROOT / f"requirements/{name}.txt").read_text().replace("\\\n", " ")
    found: dict[str, tuple[str, int]] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            requirement, *hashes = line.split("--hash=sha256:")
            package = Requirement(requirement)
            (specifier,) = package.specifier
            assert specifier.operator == "==" and package.name not in found
            assert all(re.fullmatch("[0-9a-f]{64}", value.strip()) for value in hashes)
            found[canonicalize_name(package.name)] = specifier.version, len(hashes)
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_of_a_lock_has_one_version_and_hashes(name: str) -> None:
    """pip refuses what has another content."""
    assert locked(name) and all(num_hashes for _, num_hashes in locked(name).values())


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("server", PROJECT["dependencies"]),
        ("test", [*PROJECT["dependencies"], *EXTRAS["test"], *EXTRAS["reference"]]),
        ("ray", EXTRAS["ray"]),
    ],
)
def test_a_lock_has_what_the_project_asks_for(name: str, asked: list[str]) -> None:
    """In a version that is allowed; `make lock` writes it again after a change."""
    versions = locked(name)
    for requirement in map(Requirement, asked):
        if requirement.name not in ("torch", PROJECT["name"]):
            version, _ = versions[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version), requirement


def test_locks_agree() -> None:
    """What is tested is what the server runs with, whichever torch it has."""
    tested = locked("test")
    for name in ("server", "torch-cuda", "ray"):
        assert {key: value for key, value in locked(name).items() if tested.get(key, value) != value} == {}
    torch_version = locked("torch-cuda")["torch"][0]
    assert locked("torch-cpu")["torch"][0] == f"{torch_version}+cpu"
    assert locked("triton")["triton"] == locked("torch-cuda")["triton"]
    assert not EXCLUDED & {*locked("server"), *tested}


def commands() -> Iterator[str]:
    """Every command that installs packages when the project is built, tested or put into a container."""
    for name in ("Dockerfile", "Makefile", ".ci/run"):
        text = (ROOT / name).read_text().replace("\\\n", " ").replace("$(LOCKED)", "install --require-hashes")
        for line in text.splitlines():
            yield from re.findall(r"(?<!\w)pip[^|&;]*? install [^|&;]*", line)


def test_nothing_is_installed_without_hashes() -> None:
    """Only the project itself, from its sources, with nothing fetched for its build."""
    found = list(commands())
    assert len(found) > 10
    for command in found:
        assert "--require-hashes" in command or "--no-build-isolation" in command, command


def test_actions_are_pinned_by_commit() -> None:
    """A tag may be moved to other code; the comment says which version it is. What is in this repository needs none."""
    uses = [
        line.strip()
        for path in (ROOT / ".github/workflows").glob("*.yml")
        for line in path.read_text().splitlines()
        if "uses:" in line and "uses: ./" not in line
    ]
    assert len(uses) >= 6
    for line in uses:
        assert re.search(r"uses: [\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


def test_a_release_waits_for_what_every_change_must_pass() -> None:
    """No job of it publishes or builds before CI has passed, and CI can be called."""
    release, ci = (
        yaml.safe_load((ROOT / ".github/workflows" / name).read_text(encoding="utf-8"))
        for name in ("release.yml", "ci.yml")
    )
    (called,) = [
        name for name, job in release["jobs"].items() if job.get("uses") == "./.github/workflows/ci.yml"
    ]
    assert "workflow_call" in ci[True]  # `on` is a boolean of YAML 1.1

    def needed(name: str) -> set[str]:
        direct = release["jobs"][name].get("needs", [])
        names = [direct] if isinstance(direct, str) else direct
        return {*names, *(further for other in names for further in needed(other))}

    assert all(called in needed(name) for name in release["jobs"] if name != called)
