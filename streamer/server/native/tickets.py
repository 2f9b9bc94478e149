"""`POST /v1/tickets`: a key in, a ticket out, with which a page of one origin may connect once."""

from __future__ import annotations

from http import HTTPStatus

from streamer.errors import InvalidMessageError, InvalidParameterError
from streamer.server.http import Exchange, json_answer
from streamer.server.native.decoding import parse_object
from streamer.server.routing import Handle
from streamer.server.service import Service
from streamer.server.tickets import LIFETIME_S


def tickets_handle(service: Service) -> Handle:
    """Return what answers the route."""

    async def handle(exchange: Exchange) -> None:
        ticket = service.tickets.issue(exchange.request.key_name, _read_origin(exchange.request.body))
        answer = {"ticket": ticket, "expires_in_s": LIFETIME_S}
        await exchange.answer(json_answer(HTTPStatus.OK, answer))

    return handle


def _read_origin(body: bytes) -> str:
    try:
        fields, mistakes = parse_object(body.decode())
    except UnicodeDecodeError:
        raise InvalidMessageError("the body is not UTF-8") from None
    if mistakes:
        raise InvalidMessageError(f"the body is not JSON: {mistakes[0]}")
    if unknown := sorted(fields.keys() - {"origin"}):
        raise InvalidParameterError(f"unknown field {unknown[0][:64]!r}", param=unknown[0][:64])
    origin = fields.get("origin")
    if not isinstance(origin, str):
        message = "origin: the web origin of the page that will connect, such as https://app.example.com"
        raise InvalidParameterError(message, param="origin")
    return origin
