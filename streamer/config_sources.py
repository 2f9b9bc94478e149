"""Where settings come from besides flags: a TOML file and the environment, as names and values for `config`."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from streamer.options import ENVIRONMENT_PREFIX, suggestion

Setting = tuple[str, str, object]
"""Where a value stands, for messages, the option's name, and the value."""


def read_toml(
    path: Path | None, sections: Mapping[str, Collection[str]], errors: list[str]
) -> Iterator[Setting]:
    """Yield the settings of a file with the tables `sections` and their options; what is wrong is added to `errors`."""
    if path is None:
        return
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        errors.append(f"{path}: {error}")
        return
    for section, table in tables.items():
        if section not in sections:
            errors.append(f"{path}: no such table [{section}]{suggestion(section, sections)}")
            continue
        if not isinstance(table, dict):
            errors.append(
                f"{path}: {section} = {table!r}: write a table, [{section}], with its options below"
            )
            continue
        for name, value in table.items():
            if name in sections[section]:
                yield f"{path} [{section}] {name}", name, value
            else:
                errors.append(
                    f"{path} [{section}] {name}: no such option{suggestion(name, sections[section])}"
                )


def read_environment(environ: Mapping[str, str], *, ignored: str) -> Iterator[Setting]:
    """Yield the settings of the variables `STREAMER_…`, but for the `ignored` one."""
    for variable, text in environ.items():
        if variable.startswith(ENVIRONMENT_PREFIX) and variable != ignored:
            yield variable, variable.removeprefix(ENVIRONMENT_PREFIX).lower(), text
