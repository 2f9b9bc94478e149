"""The command `streamer worker`: the engine of this machine for the front ends of others."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from streamer.commands.flags import MODEL_OPTIONS, add_options, read_settings
from streamer.commands.process import SWITCH_INTERVAL_S, ending_at_once, tell

if TYPE_CHECKING:
    from streamer.backends.workers.worker_server import WorkerServer

_OPTIONS = (
    *MODEL_OPTIONS, "num_slots", "max_waiting", "generate_ahead_s", "hang_limit_s", "max_load", "cuda_graphs",
    "worker_host", "worker_port", "worker_metrics_port", "worker_token_file", "tls_cert", "tls_key",
    "drain_timeout_s", "log_level", "log_format", "trace_endpoint", "trace_ratio", "trace_step_ratio",
)  # fmt: skip


def add_worker_command(commands: Any) -> None:
    """Add the command to the parser's subcommands."""
    worker = commands.add_parser("worker", help="make speech for the front ends of other machines")
    add_options(worker, _OPTIONS)
    worker.set_defaults(run=_run_worker)


def _run_worker(parsed: argparse.Namespace) -> int:
    with ending_at_once("stopped while loading the model") as end:
        from streamer.telemetry.logs import configure_logging

        config = read_settings(parsed)
        configure_logging(config.log.log_level, config.log.log_format)
        from streamer.assembly import build_worker

        asyncio.run(_serve(build_worker(config), end))
    return 0


async def _serve(server: WorkerServer, end: Callable[[int], None]) -> None:
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    await server.start()
    tell(f"ready: front ends may use --worker {server.address}")
    await server.run_until_stopped()
