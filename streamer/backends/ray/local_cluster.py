"""A Ray cluster of this machine alone, to try an application in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import ray
from ray import serve

from streamer.errors import ConfigError

NAME = "streamer"
"""The application's name in Ray Serve."""


@contextlib.contextmanager
def local_cluster(application: serve.Application, port: int) -> Iterator[str]:
    """Start Ray and Ray Serve, run the application, and yield its address once every replica is ready.

    `port` is that of Ray Serve's proxy. At the end the replicas drain, and everything is stopped. Raises `ConfigError`
    if the application does not start; what its replicas said of that is among Ray's lines.
    """
    ray.init(address="local", include_dashboard=False)
    try:
        serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})
        try:
            serve.run(application, name=NAME, route_prefix="/")
        except RuntimeError as error:
            reason = next(iter(str(error).splitlines()), "")
            raise ConfigError(f"the application did not start: {reason}") from error
        yield f"http://127.0.0.1:{port}"
    finally:
        serve.shutdown()
        ray.shutdown()
