"""The options of a front end and its workers on other machines, which `config` takes in as a section."""

# ruff: noqa: RUF009  (see `config`)
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from streamer.errors import ConfigError
from streamer.options import option

MIN_TOKEN_CHARS: Final = 16
MAX_TOKEN_CHARS: Final = 4096


@dataclass(frozen=True, slots=True)
class WorkersConfig:
    """Which workers a front end uses, where a worker listens, and what they know each other by."""

    worker: tuple[str, ...] = option(
        (), "for backend workers: addresses of workers, ws://HOST:PORT or wss://…; the flag may be repeated"
    )
    ray_address: str | None = option(
        None, "for backend ray: where Ray Serve answers for the application of workers, http://HOST:8000"
    )
    worker_host: str = option(
        "127.0.0.1", "address that a worker listens on; beyond this machine it needs worker_token_file"
    )
    worker_port: int = option(
        8766, "TCP port that a worker listens on; 0 picks a free one", minimum=0, maximum=65535
    )
    worker_metrics_port: int | None = option(
        None,
        "TCP port, on worker_host, where a worker tells its figures to everyone who asks; none: it does not",
        minimum=0,
        maximum=65535,
    )
    worker_token_file: Path | None = option(
        None, "file with the secret that a front end and its workers share; none: this machine only"
    )


def read_worker_addresses(config: WorkersConfig) -> tuple[str, ...]:
    """Return the addresses of the workers. Raises `ConfigError` if there are none, or for what is no address."""
    if not config.worker:
        raise ConfigError("backend workers needs a worker: --worker ws://HOST:PORT", param="worker")
    if wrong := [address for address in config.worker if not is_worker_address(address)]:
        raise ConfigError(f"worker {wrong[0]!r} is no address: write ws://HOST:PORT", param="worker")
    return config.worker


def is_worker_address(address: str) -> bool:
    """Return whether a front end can connect to a worker there."""
    return _is_address(address, ("ws", "wss"))


def read_ray_address(config: WorkersConfig) -> str:
    """Return the address of the application in Ray Serve. Raises `ConfigError` if there is none, or it is none."""
    address = config.ray_address
    if address is None:
        raise ConfigError(
            "backend ray needs the application: --ray-address http://HOST:8000", param="ray_address"
        )
    if not _is_address(address, ("http", "https")):
        raise ConfigError(
            f"ray_address {address!r} is no address: write http://HOST:8000", param="ray_address"
        )
    return address


def _is_address(address: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(address)
        is_place = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return is_place and "@" not in address and not parts.query and not parts.fragment


def read_token(config: WorkersConfig) -> str:
    """Return the secret that a front end and its workers share, empty if none is set. Raises `ConfigError`."""
    path = config.worker_token_file
    if path is None:
        return ""
    try:
        token = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"worker_token_file {path}: {error.strerror}", param="worker_token_file") from None
    except UnicodeDecodeError:
        raise ConfigError(f"worker_token_file {path} is not UTF-8", param="worker_token_file") from None
    if not MIN_TOKEN_CHARS <= len(token) <= MAX_TOKEN_CHARS:
        raise ConfigError(
            f"worker_token_file {path} holds {len(token)} characters; write {MIN_TOKEN_CHARS} to {MAX_TOKEN_CHARS}, "
            "for instance those of `openssl rand -base64 32`",
            param="worker_token_file",
        )
    return token
