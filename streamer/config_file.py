"""Reads the operator's TOML file; `config` checks its values as those of every other source."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from streamer.options import suggestion


def read_toml(
    path: Path | None, sections: Mapping[str, type[Any]], errors: list[str]
) -> Iterator[tuple[str, str, object]]:
    """Yield each option of the file: where it stands, its name and its value; None is a file without any.

    What is wrong with the file, its tables and its names is appended to `errors`.
    """
    if path is None:
        return
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        errors.append(f"{path}: {error}")
        return
    for section, table in tables.items():
        if section not in sections or not isinstance(table, dict):
            errors.append(f"{path}: no such table [{section}]{suggestion(section, sections)}")
            continue
        names = [field.name for field in fields(sections[section])]
        for name, value in table.items():
            if name in names:
                yield f"{path} [{section}] {name}", name, value
            else:
                errors.append(f"{path} [{section}] {name}: no such option{suggestion(name, names)}")
