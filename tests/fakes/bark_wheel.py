"""A wheel that is laid out as Suno's package `bark`, with voices of the tests' own, and breaks if it is imported."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path


def save_bark_wheel(
    directory: Path, voices: Mapping[str, bytes], *, licence: str = "License: MIT License"
) -> Path:
    """Write the wheel; `voices`: the content of each `.npz` by its path without the suffix."""
    path = directory / "bark-0.1.5-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("bark/__init__.py", "raise RuntimeError('this package was imported')\n")
        for name, content in voices.items():
            archive.writestr(f"bark/assets/prompts/{name}.npz", content)
        archive.writestr(
            "bark-0.1.5.dist-info/METADATA", f"Metadata-Version: 2.1\nName: bark\nVersion: 0.1.5\n{licence}\n"
        )
        archive.writestr(
            "bark-0.1.5.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("bark-0.1.5.dist-info/RECORD", "")
    return path
