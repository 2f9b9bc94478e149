"""Workers in Ray Serve: the application that `deploy/ray/serve.yaml` names, and the command `streamer ray`."""

from __future__ import annotations

import argparse
import functools
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from streamer.commands.flags import MODEL_OPTIONS, add_options, read_settings
from streamer.commands.process import SWITCH_INTERVAL_S, tell
from streamer.config import Config, load_config
from streamer.errors import ConfigError, InvalidParameterError
from streamer.worker_config import read_token

if TYPE_CHECKING:
    from ray import serve

    from streamer.backends.workers.worker_server import WorkerServer

_OPTIONS: Final = (
    *MODEL_OPTIONS, "num_slots", "max_waiting", "generate_ahead_s", "hang_limit_s", "max_load", "cuda_graphs",
    "worker_token_file", "drain_timeout_s", "log_level", "log_format",
)  # fmt: skip
MAX_LOCAL_REPLICAS: Final = 64
MAX_GPUS: Final = 64
_EVERY_ADDRESS: Final = ("0.0.0.0", "::", "[::]")


def application(settings: dict[str, Any]) -> serve.Application:
    """Return the application for Ray Serve; `settings` are its `args` in the declarative file: options by their names.

    A replica listens on the address of its node and on a free port, unless `worker_host` or `worker_port` say
    otherwise. Raises `ConfigError`.
    """
    return _create_application(settings)


def add_ray_command(commands: Any) -> None:
    """Add the command to the parser's subcommands."""
    ray = commands.add_parser("ray", help="start workers in Ray Serve on this machine, to try it (extra ray)")
    ray.add_argument("--num-replicas", type=int, default=2, help="number of workers (default: 2)")
    ray.add_argument(
        "--gpus-per-replica",
        type=float,
        default=0.0,
        help="GPUs, or part of one, for each worker (default: 0)",
    )
    ray.add_argument(
        "--ray-port", type=int, default=8000, help="TCP port of Ray Serve's proxy (default: 8000)"
    )
    add_options(ray, _OPTIONS)
    ray.set_defaults(run=_run_local_cluster)


def _run_local_cluster(parsed: argparse.Namespace) -> int:
    if not 1 <= parsed.num_replicas <= MAX_LOCAL_REPLICAS:
        raise InvalidParameterError(f"--num-replicas {parsed.num_replicas}: use 1 to {MAX_LOCAL_REPLICAS}")
    if not 1 <= parsed.ray_port <= 65535:
        raise InvalidParameterError(f"--ray-port {parsed.ray_port}: use 1 to 65535")
    if not 0 <= parsed.gpus_per_replica <= MAX_GPUS:
        raise InvalidParameterError(f"--gpus-per-replica {parsed.gpus_per_replica}: use 0 to {MAX_GPUS}")
    config = read_settings(parsed)
    built = _create_application(
        _settings_of(config) | {"worker_host": "127.0.0.1"},
        num_replicas=parsed.num_replicas,
        ray_actor_options={"num_cpus": 0, "num_gpus": parsed.gpus_per_replica},
    )
    from streamer.backends.ray.local_cluster import local_cluster

    token_file = config.workers.worker_token_file
    with local_cluster(built, parsed.ray_port) as address:
        flags = "" if token_file is None else f" --worker-token-file {token_file}"
        tell(f"ready: streamer serve --backend ray --ray-address {address}{flags}")
        _wait_for_signal()
    return 0


def _wait_for_signal() -> None:
    """Return at SIGINT or SIGTERM; a second SIGINT interrupts what follows."""
    is_stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        is_stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    is_stopping.wait()


def _create_application(settings: Mapping[str, Any], **engine_options: Any) -> serve.Application:
    """Return the application; `engine_options` are those of its replicas in Ray. Raises `ConfigError`."""
    if find_spec("ray") is None:
        raise ConfigError("the package `ray` is not installed: pip install 'bark-streamer[ray]'")
    config = load_config(flags=settings)
    read_token(config.workers)
    if settings.get("worker_host") in _EVERY_ADDRESS:
        raise ConfigError(
            "front ends connect to worker_host: leave it out for the address of each node",
            param="worker_host",
        )
    from streamer.backends.ray.application import create_application

    return create_application(
        functools.partial(_open_server, dict(settings)),
        functools.partial(_read_token, dict(settings)),
        drain_timeout_s=config.limits.drain_timeout_s,
        **engine_options,
    )


def _open_server(settings: Mapping[str, Any], node_address: str) -> WorkerServer:
    """Return the server of a replica, in its process."""
    from streamer.assembly import build_worker
    from streamer.telemetry.logs import configure_logging

    sys.setswitchinterval(SWITCH_INTERVAL_S)
    config = load_config(flags={"worker_host": node_address, "worker_port": 0} | dict(settings))
    configure_logging(config.log.log_level, config.log.log_format)
    return build_worker(config)


def _read_token(settings: Mapping[str, Any]) -> str:
    return read_token(load_config(flags=settings).workers)


def _settings_of(config: Config) -> dict[str, Any]:
    """Return the options that a replica has, as they would stand in a file; it runs in another folder."""
    values = {name: value for section in asdict(config).values() for name, value in section.items()}
    given = {name: "none" if values[name] is None else values[name] for name in _OPTIONS}
    return {
        name: str(value.absolute() if value.exists() else value) if isinstance(value, Path) else value
        for name, value in given.items()
    }
