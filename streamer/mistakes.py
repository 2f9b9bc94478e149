"""Finds all that `serve` would refuse at its start, without loading the model; for `streamer check-config`.

`assembly` and `server/app` make the same checks one after the other, and stop at the first that fails.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

from streamer.assembly import choose_device, choose_dtype, model_directory, ports_of, read_config, read_voices
from streamer.config import Config, SpeechConfig
from streamer.errors import ConfigError, StreamerError
from streamer.server.access import check_allowed_origins
from streamer.server.adapters import add_ports
from streamer.server.client_address import TrustedProxies
from streamer.server.keys import ApiKeys
from streamer.server.listening import check_address, check_ports
from streamer.server.openai_names import check_mapping, read_mapping
from streamer.server.operator_routes import check_admin_host
from streamer.server.routing import Routes
from streamer.server.tickets import Tickets
from streamer.server.tls import Certificate
from streamer.server.voice_choice import check_default_voice
from streamer.telemetry.trace_settings import check_traces
from streamer.text.lexicon import Lexicon
from streamer.worker_config import read_ray_address, read_token, read_worker_addresses

_Found = TypeVar("_Found")


class Mistakes:
    """What is wrong, a line for each; a check that fails keeps no other from being made."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def check(self, check: Callable[[], _Found]) -> _Found | None:
        """Return what a check returns, or None if it finds a mistake."""
        try:
            return check()
        except (StreamerError, OSError) as error:
            # One cause may be found by several checks, such as a model that is not there.
            self.lines += [line for line in str(error).splitlines() if line not in self.lines]
            return None


def find_mistakes(config: Config) -> list[str]:
    """Return a line for each mistake in the settings, and in the files that they name.

    Ports are not opened, because a server may run with these settings.
    """
    mistakes = Mistakes()
    _check_server(config, mistakes)
    lexicon = None
    if (path := config.speech.lexicon) is not None:
        lexicon = mistakes.check(lambda: Lexicon.read(path))
    mapping = mistakes.check(lambda: read_mapping(config.speech.openai_voices)) or {}
    match config.engine.backend:
        case "workers":
            mistakes.check(lambda: read_worker_addresses(config.workers))
        case "ray":
            mistakes.check(lambda: read_ray_address(config.workers))
        case _:
            _check_model(config, lexicon, mapping, mistakes)
            return mistakes.lines
    mistakes.check(lambda: read_token(config.workers))
    return mistakes.lines


def _check_server(config: Config, mistakes: Mistakes) -> None:
    server = config.server
    mistakes.check(lambda: check_allowed_origins(server.allowed_origins))
    mistakes.check(lambda: TrustedProxies(server.trusted_proxies))
    mistakes.check(lambda: check_ports(ports_of(server)))
    mistakes.check(lambda: check_traces(config.traces))
    keys = mistakes.check(lambda: ApiKeys.read(server.api_keys_file))
    if keys is not None:
        mistakes.check(lambda: check_admin_host(server, keys))
    mistakes.check(lambda: Tickets.read(server.ticket_secret_file))
    mistakes.check(lambda: Certificate.of(server))
    mistakes.check(lambda: check_address(server.host))
    if server.admin_port is not None:
        mistakes.check(lambda: check_address(server.admin_host, "admin_"))
    routes = Routes()
    mistakes.check(lambda: add_ports(routes, server))
    for route in routes.tcp:
        mistakes.check(lambda route=route: check_address(route.host, route.option_prefix))  # type: ignore[misc]


def _check_model(
    config: Config, lexicon: Lexicon | None, mapping: Mapping[str, str], mistakes: Mistakes
) -> None:
    engine = config.engine
    if (device := mistakes.check(lambda: choose_device(engine.device))) is not None:
        mistakes.check(lambda: choose_dtype(engine.dtype, device))
    if (directory := mistakes.check(lambda: model_directory(engine))) is None:
        return
    if (model := mistakes.check(lambda: read_config(engine))) is None:
        return
    from streamer.audio.packets import INPUT_HZ
    from streamer.text.tokens.tokenizer import load_model_tokenizer

    if (rate_hz := model.codec.sample_rate_hz) != INPUT_HZ:
        mistakes.lines.append(f"the model speaks at {rate_hz} Hz; it must be {INPUT_HZ}")
    tokenizer = mistakes.check(lambda: load_model_tokenizer(model, directory))
    if tokenizer is not None and lexicon is not None:
        mistakes.check(lambda: lexicon.check_phones(tokenizer.phones))
    library = mistakes.check(lambda: read_voices(engine, model, keeps_errors=True))
    if library is not None:
        mistakes.lines += [error.message for error in library.errors]
        _check_voices(config.speech, mapping, library.names, mistakes)


def _check_voices(
    speech: SpeechConfig, mapping: Mapping[str, str], names: Collection[str], mistakes: Mistakes
) -> None:
    mistakes.check(lambda: check_default_voice(speech, names))
    for name, voice in mapping.items():
        mistakes.check(lambda name=name, voice=voice: check_mapping({name: voice}, names))  # type: ignore[misc]


def refuse_mistakes(config: Config) -> None:
    """Raise `ConfigError` with a line for each mistake, if there is any."""
    if lines := find_mistakes(config):
        raise ConfigError("\n".join(lines))
