"""The settings: three sources, one declaration each, and every mistake told at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamer.config import SECTIONS, Config, load_config, options
from streamer.errors import ConfigError


def _toml(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "streamer.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_nothing_given_is_the_defaults() -> None:
    """The defaults of the dataclasses are the settings."""
    assert load_config(None, {}) == Config()
    assert Config().server.port == 8765 and Config().speech.lead_ms == 2000


def test_later_sources_win(tmp_path: Path) -> None:
    """TOML < environment < flags, each option by itself; a flag that was not given is None."""
    path = _toml(
        tmp_path, '[server]\nport = 1\nhost = "toml"\n[engine]\nnum_slots = 2\n[speech]\nlead_ms = "none"\n'
    )
    environ = {"STREAMER_PORT": "2", "STREAMER_HOST": "environment", "PATH": "/bin"}
    config = load_config(path, environ, {"port": 3, "device": None, "model": "/models/bark"})
    assert (config.server.port, config.server.host, config.engine.num_slots) == (3, "environment", 2)
    assert config.speech.lead_ms is None and config.engine.model == Path("/models/bark")


def test_the_environment_may_name_the_file(tmp_path: Path) -> None:
    """`STREAMER_CONFIG` names the file if no other is given."""
    path = _toml(tmp_path, '[server]\nallowed_origins = ["https://a", "https://b"]\n')
    assert load_config(None, {"STREAMER_CONFIG": str(path)}).server.allowed_origins == (
        "https://a",
        "https://b",
    )
    assert load_config(None, {"STREAMER_ALLOWED_ORIGINS": "https://a, https://b"}).server.allowed_origins == (
        "https://a",
        "https://b",
    )


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """One line each, with the source, and a suggestion for a name that is nearly right."""
    path = _toml(tmp_path, "[server]\nprot = 1\n[sever]\nx = 1\n[limits]\nmax_audio_s = true\n")
    environ = {"STREAMER_PORT": "70000", "STREAMER_DTYPE": "float8", "STREAMER_NUM_SLOT": "3"}
    with pytest.raises(ConfigError) as error:
        load_config(path, environ, {"log_level": "loud", "num_threads": 1.5, "idle_timeout_s": "nan"})
    lines = error.value.message.splitlines()
    assert len(lines) == 9
    text = error.value.message
    for expected in (
        "mean port?",
        "mean server?",
        "mean num_slots?",
        "70000",
        "float8",
        "loud",
        "max_audio_s",
    ):
        assert expected in text


@pytest.mark.parametrize(
    "text", ["[server", "port = 1", "[server]\nport = [1]", "[server]\nhost = 5", '[server]\nhost=""']
)
def test_a_broken_file_is_a_configuration_error(tmp_path: Path, text: str) -> None:
    """It is neither guessed at nor a traceback."""
    with pytest.raises(ConfigError):
        load_config(_toml(tmp_path, text), {})


@pytest.mark.parametrize("text", ["server = 5", 'engine = "cpu"', "log = [1]", "[[limits]]", "speech = true"])
def test_a_table_that_is_none_is_told_how_to_be_one(tmp_path: Path, text: str) -> None:
    """Its name is right, so that nothing else is suggested."""
    path = tmp_path / "settings.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"write a table, \[(server|engine|log|limits|speech)\]"):
        load_config(path, {})


def test_the_home_of_nobody_is_a_configuration_error() -> None:
    """A path that cannot be made out is named like any other mistake."""
    with pytest.raises(ConfigError, match="~nobody-of-this-name/bark"):
        load_config(None, {"STREAMER_MODEL": "~nobody-of-this-name/bark"})


def test_a_missing_file_is_a_configuration_error(tmp_path: Path) -> None:
    """A file that was asked for has to be there."""
    with pytest.raises(ConfigError):
        load_config(tmp_path / "missing.toml", {})


def test_every_option_is_declared_once_with_help() -> None:
    """Names are unique over the sections, numbers have ranges, defaults lie in them and survive as text."""
    names = [option.name for option in options()]
    assert len(names) == len(set(names)) and {option.section for option in options()} == set(SECTIONS)
    for option in options():
        assert option.help and option.flag.startswith("--") and option.environment_variable.isupper()
        if option.kind in (int, float):
            assert option.minimum is not None and option.maximum is not None
        if option.default is not None and not option.is_list:
            load_config(None, {option.environment_variable: str(option.default)})
