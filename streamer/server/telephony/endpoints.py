"""The addresses of telephony: one for media streams, one for the programs that drive a call."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from streamer.server.client_protocol import ClientProtocol
from streamer.server.routing import Routes
from streamer.server.service import Service
from streamer.server.upgrade import Upgrade

if TYPE_CHECKING:
    from streamer.server.telephony.calls import Calls


def add_routes(routes: Routes, service: Service) -> None:  # noqa: ARG001
    """Add both; what is behind them is imported with the first call."""

    @functools.cache
    def calls() -> Calls:
        from streamer.server.telephony.calls import Calls

        return Calls()

    def create_stream(upgrade: Upgrade, service: Service) -> ClientProtocol:
        from streamer.server.telephony.media_stream import MediaStreamProtocol

        return MediaStreamProtocol(upgrade, service, calls())

    def create_control(upgrade: Upgrade, service: Service) -> ClientProtocol:
        from streamer.server.telephony.control import ControlProtocol

        return ControlProtocol(upgrade, service, calls())

    routes.websocket("/v1/telephony", create_stream, key_may_follow=True)
    routes.websocket("/v1/telephony/calls/{sid}", create_control)
