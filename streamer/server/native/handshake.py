"""Makes the native protocol of a client that was let in, from the query of its handshake."""

from __future__ import annotations

from streamer.errors import StreamerError
from streamer.server.client_protocol import Send
from streamer.server.native.decoding import read_query
from streamer.server.native.defaults import StreamDefaults
from streamer.server.native.messages import encode
from streamer.server.native.protocol import NativeProtocol
from streamer.server.native.replies import error_message, unknown_field
from streamer.server.service import Service
from streamer.server.upgrade import Upgrade


def create_protocol(
    upgrade: Upgrade, service: Service, kind: type[NativeProtocol] = NativeProtocol
) -> NativeProtocol:
    """Return the client's protocol. A mistake in its query is reported after the greeting."""
    defaults = StreamDefaults.of_server(lambda: service.synthesizer.info, service.config.speech)
    remarks: list[Send] = []
    is_framed = True
    try:
        settings, framing, unknown = read_query(upgrade.query)
        defaults = defaults.merged(settings)
        is_framed = framing == "framed"
        remarks = [Send(encode(unknown_field(name))) for name in unknown]
    except StreamerError as error:
        remarks = [Send(encode(error_message(error, "message")), error)]
    return kind(
        defaults,
        service.config,
        needs_key=service.keys.are_required and upgrade.key_name is None,
        is_framed=is_framed,
        remarks=remarks,
    )
