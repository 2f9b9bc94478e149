"""Finds the protocols that the server speaks: every folder beside this module that has a module `endpoints`.

A protocol is added by adding its folder. `app` calls its `add_routes`; nothing else of the server knows of it.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable

from streamer import server
from streamer.server.routing import Routes
from streamer.server.service import Service

AddRoutes = Callable[[Routes, Service], None]
"""What a module `endpoints` has under the name `add_routes`: it says at which addresses its protocol is spoken."""


def add_adapters(routes: Routes, service: Service) -> None:
    """Add the addresses of every protocol, in the order of the folders' names."""
    for module in sorted(pkgutil.iter_modules(server.__path__), key=lambda module: module.name):
        name = f"{server.__name__}.{module.name}.endpoints"
        if module.ispkg and importlib.util.find_spec(name) is not None:
            routes.protocol = module.name
            add_routes: AddRoutes = importlib.import_module(name).add_routes
            add_routes(routes, service)
