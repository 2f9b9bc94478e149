"""The operator's settings: frozen values read from a TOML file, the environment, and the command line.

Every option is declared once, as a field below, with its help text and range; the command line, the
environment names and `check-config` are derived from these fields. A later source wins:
TOML < environment (`STREAMER_PORT`) < flags (`--port`).
"""

# ruff: noqa: RUF009  (option() is dataclasses.field() with the help text and the range)
from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from streamer.config_sources import read_environment, read_toml
from streamer.errors import ConfigError
from streamer.options import Option, convert, declared, option, suggestion
from streamer.process_environment import variables
from streamer.trace_config import TracesConfig
from streamer.worker_config import WorkersConfig

CONFIG_FILE_VARIABLE = "STREAMER_CONFIG"
CHUNK_SCHEDULES = ("auto", "latency", "balanced", "throughput", "whole")
"""The choices of `chunk_schedule`; all but `auto` are those of `stages.fine_windows.scheduled`."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Which model speaks, and on what."""

    backend: str = option(
        "local",
        "where sentences are made: in this process, by workers, or by workers in Ray Serve",
        choices=("local", "workers", "ray"),
    )
    model: Path | None = option(
        None, "an installed model's name, or a model directory; none: the built-in voice"
    )
    device: str = option("auto", "torch device: auto, cpu, cuda, cuda:1 …")
    dtype: str = option(
        "auto", "number format of the weights", choices=("auto", "float32", "bfloat16", "float16", "int8")
    )
    num_slots: int | None = option(
        None,
        "sentences generated at the same time; none: 16 on a CPU, as many as fit on a GPU, at most 128",
        minimum=1,
        maximum=1024,
    )
    max_waiting: int = option(
        256, "sentences that may wait for a slot before new ones are refused", minimum=0, maximum=100_000
    )
    generate_ahead_s: float = option(
        8.0,
        "seconds of audio generated ahead of what was sent; beyond it a sentence waits",
        minimum=0,
        maximum=3600,
    )
    hang_limit_s: float = option(
        15.0,
        "longest step before the engine is considered hung and the process ends",
        minimum=1,
        maximum=3600,
    )
    max_load: float | None = option(
        1.2,
        "how busy listeners may keep the model before new ones wait: 1 is all of its time, by what speech was measured "
        "to cost on this machine; none: new ones never wait",
        minimum=0.1,
        maximum=10,
    )
    cuda_graphs: str = option(
        "on", "on a GPU, record the steps at the start and replay them", choices=("on", "off")
    )
    chunk_schedule: str = option(
        "auto",
        "fine chunks, from the earliest sound to the least work; whole: at a sentence's end, in the original's "
        "windows; auto: by the measured speed",
        choices=CHUNK_SCHEDULES,
    )
    num_threads: int | None = option(
        None,
        "CPU threads of the engine; none: one fewer than cores, and two, if there are as many, for the built-in voice",
        minimum=1,
        maximum=1024,
    )
    models_directory: Path | None = option(
        None, "directory of installed models; none: ~/.local/share/streamer/models (see Models)"
    )
    voices_directory: Path | None = option(
        None, "further voices (.npz history prompts) besides the model's; none: those that were installed"
    )


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Where the server listens, and which clients it lets in."""

    host: str = option(
        "127.0.0.1", "address to listen on; 0.0.0.0 for all of IPv4, :: for all of IPv4 and IPv6"
    )
    port: int = option(8765, "TCP port; 0 picks a free one", minimum=0, maximum=65535)
    api_keys_file: Path | None = option(
        None,
        "file with API keys, named ones in TOML (*.toml), or plain ones, one a line; none: every client that can "
        "connect may speak",
    )
    admin_port: int | None = option(
        None,
        "TCP port for the operator: metrics, status, reload, drain; none: metrics and status are on `port`",
        minimum=0,
        maximum=65535,
    )
    admin_host: str = option("127.0.0.1", "address of that port; any but this machine's own needs named keys")
    tls_cert: Path | None = option(
        None, "PEM file with the server's certificate and those that lead to its root; none: no TLS"
    )
    tls_key: Path | None = option(None, "PEM file with the certificate's private key, without a passphrase")
    allowed_origins: tuple[str, ...] = option(
        (), "web origins besides the server's own page whose scripts may connect, or *"
    )
    trusted_proxies: tuple[str, ...] = option(
        (),
        "networks of proxies (CIDR) whose word counts about a client's address; none: each connection's own",
    )
    ticket_secret_file: Path | None = option(
        None, "file whose bytes sign tickets, shared by several processes; none: each process draws its own"
    )
    wyoming_port: int | None = option(
        None, "TCP port for Home Assistant's protocol; none: it is not spoken", minimum=0, maximum=65535
    )
    wyoming_host: str = option(
        "127.0.0.1", "address of that port; whoever reaches it may speak, because Wyoming knows no keys"
    )
    list_access: str = option("public", "who may read lists of models, voices", choices=("public", "key"))


@dataclass(frozen=True, slots=True)
class SpeechConfig:
    """The settings of an utterance whose client asks for nothing else."""

    voice: str | None = option(None, "default voice; none: the model's own")
    lead_ms: int | None = option(
        2000,
        "how far ahead of the listener audio is sent; none: as fast as it is made",
        minimum=0,
        maximum=3_600_000,
    )
    max_buffer_ms: int | None = option(
        500,
        "silence of the writer after which unfinished text is spoken; none: never",
        minimum=20,
        maximum=60_000,
    )
    start: str = option(
        "early",
        "early: the first packet leaves at once; safe: when playback can continue unbroken",
        choices=("early", "safe"),
    )
    bitrate: int = option(32_000, "bits per second of Opus", minimum=6_000, maximum=256_000)
    lexicon: Path | None = option(None, "file of words and how they are said, `written = spoken`, one a line")
    openai_voices: tuple[str, ...] = option(
        (), "voices that OpenAI's names stand for, alloy=NAME; the others are spread over the model's voices"
    )


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """What one client may use; every limit a client can meet is announced in `session`."""

    max_connections: int = option(2000, "connections in all, idle ones too", minimum=1, maximum=100_000)
    max_wrong_keys_per_min: int | None = option(
        30, "wrong keys of one address in a minute; none: any number", minimum=1, maximum=100_000
    )
    max_connections_per_address: int = option(64, "connections of one address", minimum=1, maximum=100_000)
    max_utterances_per_session: int = option(8, "open utterances of one session", minimum=1, maximum=1000)
    max_utterances_per_key: int = option(
        32, "open utterances of one key or address", minimum=1, maximum=10_000
    )
    max_starts_per_s: int = option(10, "utterances a key may start per second", minimum=1, maximum=10_000)
    max_start_wait_s: float = option(
        2.0, "longest wait for a start, or for room, before refusal", minimum=0, maximum=60
    )
    max_message_bytes: int = option(
        65_536, "bytes of one message or request body", minimum=1024, maximum=1_048_576
    )
    max_bytes_per_s: int = option(32_768, "bytes of messages per second", minimum=1024, maximum=16_777_216)
    max_text_chars: int = option(2000, "code points of one text", minimum=1, maximum=100_000)
    max_buffered_chars: int = option(8000, "code points waiting to be spoken", minimum=1, maximum=1_000_000)
    max_audio_s: float = option(3600.0, "longest sound of one utterance", minimum=1, maximum=86_400)
    auth_timeout_s: float = option(
        5.0, "time for the handshake or a request, and for `auth`", minimum=0.1, maximum=60
    )
    idle_timeout_s: float = option(
        600.0, "silence that ends a session, or a text not ended", minimum=1, maximum=86_400
    )
    session_timeout_s: float = option(3600.0, "longest session", minimum=1, maximum=604_800)
    write_timeout_s: float = option(
        10.0, "time after which a client that takes nothing is dropped", minimum=0.1, maximum=300
    )
    drain_timeout_s: float = option(30.0, "time to finish speaking when stopped", minimum=0, maximum=3600)
    ping_interval_s: float = option(15.0, "seconds between keepalive pings", minimum=1, maximum=600)


@dataclass(frozen=True, slots=True)
class LogConfig:
    """What the process says about itself."""

    log_level: str = option(
        "info", "least severe record written", choices=("debug", "info", "warning", "error")
    )
    log_format: str = option("text", "text for people, json for machines", choices=("text", "json"))


@dataclass(frozen=True, slots=True)
class Config:
    """All settings; each section is a table of the TOML file."""

    engine: EngineConfig = field(default_factory=EngineConfig)
    server: ServerConfig = field(default_factory=ServerConfig)
    speech: SpeechConfig = field(default_factory=SpeechConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    workers: WorkersConfig = field(default_factory=WorkersConfig)
    log: LogConfig = field(default_factory=LogConfig)
    traces: TracesConfig = field(default_factory=TracesConfig)


SECTIONS: dict[str, type[Any]] = {
    "engine": EngineConfig,
    "server": ServerConfig,
    "speech": SpeechConfig,
    "limits": LimitsConfig,
    "workers": WorkersConfig,
    "log": LogConfig,
    "traces": TracesConfig,
}


def options() -> tuple[Option, ...]:
    """Return every option, in the order of declaration."""
    return _OPTIONS


def load_config(
    toml_path: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Config:
    """Read the settings.

    `toml_path`: a file, which must exist; None: the one that `STREAMER_CONFIG` names, if any. `environ`: None for the
    environment of the process. `flags`: option name -> text or value; None means not given.
    Raises `ConfigError` listing every mistake at once, one a line.
    """
    environ = variables() if environ is None else environ
    if toml_path is None and environ.get(CONFIG_FILE_VARIABLE):
        toml_path = Path(environ[CONFIG_FILE_VARIABLE])
    errors: list[str] = []
    values: dict[str, Any] = {}
    by_name = {known.name: known for known in _OPTIONS}
    sources = (
        read_toml(toml_path, {name: _names(kind) for name, kind in SECTIONS.items()}, errors),
        read_environment(environ, ignored=CONFIG_FILE_VARIABLE),
        (
            (f"--{name.replace('_', '-')}", name, value)
            for name, value in (flags or {}).items()
            if value is not None
        ),
    )
    for source in sources:
        for where, name, value in source:
            known = by_name.get(name)
            if known is None:
                errors.append(f"{where}: no such option{suggestion(name, by_name)}")
                continue
            try:
                values[name] = convert(known, value)
            except ValueError as error:
                errors.append(f"{where}: {error}")
    if errors:
        raise ConfigError("\n".join(errors))
    sections = {
        section: kind(**{f.name: values[f.name] for f in fields(kind) if f.name in values})
        for section, kind in SECTIONS.items()
    }
    return Config(**sections)


def _names(section: type[Any]) -> list[str]:
    return [declaration.name for declaration in fields(section)]


_OPTIONS = tuple(
    declared(section, declaration, typing.get_type_hints(kind)[declaration.name])
    for section, kind in SECTIONS.items()
    for declaration in fields(kind)
)
