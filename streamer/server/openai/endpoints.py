"""The addresses of OpenAI's speech API, and what its clients read of models and voices; `/v1/models` is in `routes`."""

from __future__ import annotations

from http import HTTPStatus

from streamer.server.http import Exchange, json_answer
from streamer.server.openai.messages import shape_error
from streamer.server.openai.speech import speech_handle
from streamer.server.openai_names import MODEL_ALIASES, REALTIME_ALIASES, check_model, describe_model
from streamer.server.routes import list_access
from streamer.server.routing import Routes
from streamer.server.service import Service


def add_routes(routes: Routes, service: Service) -> None:
    """Add the route that speaks, two lists, and a single model."""

    async def models(exchange: Exchange) -> None:
        listed = [{"id": name} for name in (service.synthesizer.info.name, *MODEL_ALIASES)]
        await exchange.answer(json_answer(HTTPStatus.OK, {"models": listed}))

    async def model(exchange: Exchange) -> None:
        name = exchange.request.parameters["id"]
        check_model(name, service.synthesizer.info.name, REALTIME_ALIASES)
        await exchange.answer(json_answer(HTTPStatus.OK, describe_model(name, service.created_s)))

    async def voices(exchange: Exchange) -> None:
        listed = [{"id": name, "name": name} for name in service.synthesizer.info.voices]
        await exchange.answer(json_answer(HTTPStatus.OK, {"voices": listed}))

    access = list_access(service.config.server)
    routes.add("POST", "/v1/audio/speech", speech_handle(service), shape_error=shape_error)
    routes.add("GET", "/v1/models/{id:path}", model, access=access, shape_error=shape_error)
    routes.add("GET", "/v1/audio/models", models, access=access, shape_error=shape_error)
    routes.add("GET", "/v1/audio/voices", voices, access=access, shape_error=shape_error)
