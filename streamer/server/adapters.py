"""Finds the protocols that the server speaks: every folder beside this module that has a module `endpoints`.

A protocol is added by adding its folder. `app` calls its `add_ports` and `add_routes`; nothing else of the server knows
of it.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Iterator
from types import ModuleType

from streamer import server
from streamer.config import ServerConfig
from streamer.server.routing import Routes
from streamer.server.service import Service

AddRoutes = Callable[[Routes, Service], None]
"""What a module `endpoints` has under the name `add_routes`: it says at which addresses its protocol is spoken."""


AddPorts = Callable[[Routes, ServerConfig], None]
"""What it may have as `add_ports`: it says which ports the protocol has for itself, before there is a model."""


def add_ports(routes: Routes, config: ServerConfig) -> None:
    """Add the ports that protocols have for themselves. Raises `ConfigError`."""
    for endpoints in _endpoints(routes):
        add: AddPorts | None = getattr(endpoints, "add_ports", None)
        if add is not None:
            add(routes, config)


def add_adapters(routes: Routes, service: Service) -> None:
    """Add the addresses of every protocol, in the order of the folders' names."""
    for endpoints in _endpoints(routes):
        add: AddRoutes | None = getattr(endpoints, "add_routes", None)
        if add is not None:
            add(routes, service)


def _endpoints(routes: Routes) -> Iterator[ModuleType]:
    for module in sorted(pkgutil.iter_modules(server.__path__), key=lambda module: module.name):
        name = f"{server.__name__}.{module.name}.endpoints"
        if module.ispkg and importlib.util.find_spec(name) is not None:
            routes.protocol = module.name
            yield importlib.import_module(name)
