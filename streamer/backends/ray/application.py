"""The application for Ray Serve: replicas that each run a worker, and the directory in which front ends find them.

Sound passes neither Ray's object store nor its proxies: a front end connects to the port of the replica.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import ray
from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.requests import Request
from starlette.responses import Response

from streamer.backends.ray.directory import WorkerDirectory
from streamer.backends.ray.replica import Replica
from streamer.backends.workers.worker_server import WorkerServer

ENGINE: Final = "Engine"
DIRECTORY: Final = "Directory"
"""The names of the deployments, by which `deploy/ray/serve.yaml` sets them up."""
HEALTH_CHECK_PERIOD_S: Final = 2.0
HEALTH_CHECK_TIMEOUT_S: Final = 5.0
STOPPING_MARGIN_S: Final = 20.0
"""How much longer than a worker's drain Ray Serve waits before it kills a replica."""


class DirectoryHandle:
    """Announces a replica to the application's directory."""

    def __init__(self) -> None:
        self._handle: DeploymentHandle[Any] = serve.get_deployment_handle(DIRECTORY)

    async def announce(self, address: str) -> None:
        await self._handle.announce.remote(address)

    async def withdraw(self, address: str) -> None:
        await self._handle.withdraw.remote(address)


class Engine:
    """A replica whose methods have the names that Ray Serve calls."""

    _replica: Replica | None = None

    async def __init__(self, open_server: Callable[[str], WorkerServer]) -> None:  # type: ignore[misc]
        """`open_server` returns a worker's server for a host; it is imported by its name on the replica's node."""
        self._replica = Replica(open_server(ray.util.get_node_ip_address()), DirectoryHandle())
        await self._replica.start()

    async def check_health(self) -> None:
        assert self._replica is not None
        self._replica.check_health()

    async def record_autoscaling_stats(self) -> dict[str, float]:
        assert self._replica is not None
        return self._replica.autoscaling_stats()

    async def __del__(self) -> None:
        """Drain. Ray Serve calls and awaits it when it stops the replica."""
        if self._replica is not None:
            await self._replica.stop()


class Directory:
    """The application's directory, and what its address answers over HTTP."""

    def __init__(self, read_token: Callable[[], str], engine: DeploymentHandle[Any]) -> None:
        """`engine` belongs to the application because it is given here; replicas call the directory, not it them."""
        del engine
        self._directory = WorkerDirectory(read_token())

    async def announce(self, address: str) -> None:
        self._directory.announce(address)

    async def withdraw(self, address: str) -> None:
        self._directory.withdraw(address)

    async def __call__(self, request: Request) -> Response:
        prefix = request.scope.get("root_path", "").rstrip("/")  # that of the application's route
        path = request.scope["path"].removeprefix(prefix)
        status, body = self._directory.answer(path, request.headers.get("authorization", ""))
        return Response(body, status, media_type="application/json" if status == 200 else "text/plain")


def create_application(
    open_server: Callable[[str], WorkerServer],
    read_token: Callable[[], str],
    *,
    drain_timeout_s: float,
    **engine_options: Any,
) -> serve.Application:
    """Return the application.

    Both functions run where a deployment is placed, so that no secret is given to Ray. `engine_options` are those of
    `ray.serve.deployment` for the replicas.
    """
    options: dict[str, Any] = {
        "health_check_period_s": HEALTH_CHECK_PERIOD_S,
        "health_check_timeout_s": HEALTH_CHECK_TIMEOUT_S,
        "graceful_shutdown_timeout_s": drain_timeout_s + STOPPING_MARGIN_S,
    }
    engine = serve.deployment(Engine, name=ENGINE, **options | engine_options)
    directory = serve.deployment(
        Directory,
        name=DIRECTORY,
        max_ongoing_requests=1000,
        ray_actor_options={"num_cpus": 0},
        logging_config={"enable_access_log": False},  # it would have a line for each announcement
    )
    return directory.bind(read_token, engine.bind(open_server))
