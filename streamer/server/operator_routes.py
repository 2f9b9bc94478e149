"""What the server answers to its operator: metrics, its status, and on a port of their own what changes its state.

Where keys have scopes, a key with the scope of the route has to come with each request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from streamer.config import ServerConfig
from streamer.errors import ConfigError
from streamer.server.access import is_local, is_of_this_machine
from streamer.server.http import Answer, Exchange, Request, json_answer
from streamer.server.keys import ApiKeys
from streamer.server.reloading import Results
from streamer.server.routing import Routes
from streamer.server.service import Service
from streamer.server.status import Status


def check_admin_host(config: ServerConfig, keys: ApiKeys) -> None:
    """Raise `ConfigError` for an operator's port that others could reach and use."""
    if config.admin_port is not None and not is_local(config.admin_host) and not keys.have_scopes:
        message = (
            f"admin_host {config.admin_host!r}: everyone who reaches it could stop this server; use 127.0.0.1, or an "
            "api_keys_file in TOML, with a key for the operator: streamer keys new operator --scopes metrics,admin"
        )
        raise ConfigError(message, param="admin_host")


def add_views(routes: Routes, service: Service, status: Status) -> None:
    """Add `/metrics` and `/v1/status`, which a full server answers too.

    Where keys have no scopes both are open to everyone who reaches the port; whether they tell where workers are is
    `_may_see_addresses`' to say.
    """

    async def metrics(exchange: Exchange) -> None:
        accepted = ",".join(exchange.request.headers.get_all("Accept"))
        shows_workers = _may_see_addresses(exchange.request, service)
        body, content_type = service.metrics.negotiated(accepted, shows_workers=shows_workers)
        await exchange.answer(Answer(HTTPStatus.OK, body, content_type, (("Vary", "Accept"),)))

    async def describe(exchange: Exchange) -> None:
        told = status.describe(shows_addresses=_may_see_addresses(exchange.request, service))
        await exchange.answer(json_answer(HTTPStatus.OK, told))

    routes.add("GET", "/metrics", metrics, access="metrics")
    routes.add("GET", "/v1/status", describe, access="admin")


def _may_see_addresses(request: Request, service: Service) -> bool:
    """Whether a request may be told addresses of the operator's network.

    It may if its key had the scope that the route needs, and on the operator's port, which others reach with such a
    key only. Without keys and without that port, programs of this machine may if the server listens for them alone:
    where it serves others, its peer may be a forwarder that says nothing of its clients, and the `Host` is theirs.
    """
    config = service.config.server
    if request.key_name is not None or config.admin_port is not None:
        return True
    return not service.keys.are_required and is_local(config.host) and is_of_this_machine(request)


def add_actions(
    routes: Routes, service: Service, reload: Callable[[], Awaitable[Results]], drain: Callable[[], None]
) -> None:
    """Add `/v1/reload`, which does what SIGHUP does, and `/v1/drain`, which does what the first SIGTERM does."""

    async def reload_files(exchange: Exchange) -> None:
        results = await reload()
        failed = {name: reason for name, reason in results.items() if reason is not None}
        reloaded = [name for name in results if name not in failed]
        status = HTTPStatus.INTERNAL_SERVER_ERROR if failed else HTTPStatus.OK
        await exchange.answer(json_answer(status, {"reloaded": reloaded, "failed": failed}))

    async def begin_to_drain(exchange: Exchange) -> None:
        drain()
        answer = {"state": "draining", "drain_timeout_s": service.config.limits.drain_timeout_s}
        await exchange.answer(json_answer(HTTPStatus.ACCEPTED, answer))

    routes.add("POST", "/v1/reload", reload_files, access="admin")
    routes.add("POST", "/v1/drain", begin_to_drain, access="admin")
