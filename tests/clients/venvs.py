"""Virtual environments of other vendors' clients, one for each `requirements-NAME.txt` beside this module.

    python -m tests.clients.venvs            makes all of them (some gigabytes)
    python -m tests.clients.venvs pipecat    makes one

They lie in `.venv-clients`, or where `CLIENT_VENVS` says. The packages are large and contradict each other, so
that none of them belongs into our own environment. The environment `node` has the packages of `package.json`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FOLDER = Path(os.environ.get("CLIENT_VENVS") or HERE.parents[1] / ".venv-clients").absolute()
INSTALLED = "streamer-requirements.txt"
"""A copy of the requirements in an environment, by which it is known whether they have changed since."""
NODE = "node"
"""The environment that npm makes."""


def names() -> tuple[str, ...]:
    """The environments that the tests use."""
    files = HERE.glob("requirements-*.txt")
    node = (NODE,) if shutil.which("npm") else ()
    return (*sorted(file.stem.removeprefix("requirements-") for file in files), *node)


def make(name: str) -> None:
    """Make an environment, or bring it up to date."""
    folder, requirements = FOLDER / name, _requirements_of(name)
    if name == NODE:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(requirements, folder)
        npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"]
        subprocess.run(npm, cwd=folder, check=True)
    else:
        if not (folder / "bin" / "python").exists():
            venv.create(folder, with_pip=True)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "-r", requirements]
        subprocess.run(pip, check=True)
    (folder / INSTALLED).write_bytes(requirements.read_bytes())


def python_of(name: str) -> Path:
    """Return the interpreter of an environment; without an environment that is up to date, skip the test."""
    return folder_of(name) / "bin" / "python"


def folder_of(name: str) -> Path:
    """Return an environment's folder; if it is not there, or not up to date, skip the test."""
    folder, requirements = FOLDER / name, _requirements_of(name)
    remedy = f"`python -m tests.clients.venvs {name}` makes it"
    installed = folder / INSTALLED
    if not installed.exists():
        pytest.skip(f"there is no environment {folder}; {remedy}")
    if installed.read_bytes() != requirements.read_bytes():
        pytest.skip(f"{folder} was made for other versions than {requirements.name} has; {remedy}")
    return folder


def _requirements_of(name: str) -> Path:
    return HERE / ("package.json" if name == NODE else f"requirements-{name}.txt")


if __name__ == "__main__":
    for each in sys.argv[1:] or names():
        print(f"{FOLDER / each} …", flush=True)
        make(each)
