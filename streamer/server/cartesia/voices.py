"""`GET /voices` and `GET /voices/{id}`: the model's voices as Cartesia's clients read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl

from streamer.errors import InvalidParameterError
from streamer.server.http import Exchange, json_answer
from streamer.server.routing import Handle
from streamer.server.service import Service
from streamer.server.voice_choice import find_voice
from streamer.voices.presets import language_of

MAX_PAGE: Final = 100
"""The most voices of one page."""
DEFAULT_PAGE: Final = 10


def list_handle(service: Service) -> Handle:
    """Return what answers `/voices`: a page of those that the query asks for.

    All are the operator's own, and of a voice nothing is known but its name and its language.
    """
    since = datetime.now(UTC)

    async def handle(exchange: Exchange) -> None:
        given = dict(parse_qsl(exchange.request.query))
        wanted = given.get("q", "").lower()
        names = [name for name in service.synthesizer.info.voices if wanted in name.lower()]
        if given.get("is_owner") == "false" or "gender" in given:
            names = []
        page, has_more = _page(names, given)
        data = [_voice(name, service, since) for name in page]
        await exchange.answer(json_answer(HTTPStatus.OK, {"data": data, "has_more": has_more}))

    return handle


def voice_handle(service: Service) -> Handle:
    """Return what answers `/voices/{id}`."""
    since = datetime.now(UTC)

    async def handle(exchange: Exchange) -> None:
        asked = exchange.request.parameters["id"]
        name = find_voice(asked, service.synthesizer.info, service.config.speech, param="id")
        await exchange.answer(json_answer(HTTPStatus.OK, _voice(name, service, since)))

    return handle


def _page(names: Sequence[str], given: Mapping[str, str]) -> tuple[Sequence[str], bool]:
    """Return the names of a page, and whether more follow in the direction that is asked for."""
    text = given.get("limit", str(DEFAULT_PAGE))
    if not (text.isascii() and text.isdecimal() and len(text) <= 3 and 1 <= int(text) <= MAX_PAGE):
        raise InvalidParameterError(f"limit {text[:64]!r} is not from 1 to {MAX_PAGE}", param="limit")
    limit = int(text)
    if (after := given.get("starting_after")) is not None:
        names = names[_position(names, after, "starting_after") + 1 :]
    elif (before := given.get("ending_before")) is not None:
        names = names[: _position(names, before, "ending_before")]
        return names[-limit:], len(names) > limit
    return names[:limit], len(names) > limit


def _position(names: Sequence[str], name: str, param: str) -> int:
    if name not in names:
        raise InvalidParameterError(f"{param} {name[:64]!r} is none of these voices", param=param)
    return names.index(name)


def _voice(name: str, service: Service, since: datetime) -> dict[str, Any]:
    """Return a voice. `since`: when the server was started, because a voice's own age is not known."""
    languages = service.synthesizer.info.languages
    language = language_of(name, languages) or next(iter(languages), "en")
    return {
        "id": name,
        "name": name,
        "tagline": "",
        "description": f"A voice of the model {service.synthesizer.info.name}",
        "language": language,
        "locales": [{"locale": language, "is_native": True}],
        "is_owner": True,
        "is_public": True,
        "access": "public",
        "visibility": "all",
        "created_at": since.isoformat(timespec="seconds"),
    }
