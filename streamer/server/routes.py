"""What the server answers over plain HTTP beside speech: the player, probes, and lists of what there is."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from http import HTTPStatus
from importlib import resources
from pathlib import Path
from typing import Final

from streamer.config import ServerConfig
from streamer.server.http import TEXT, Answer, Exchange, Fields, json_answer
from streamer.server.openai_names import describe_model
from streamer.server.routing import Access, Routes
from streamer.server.service import Service
from streamer.server.status import Status
from streamer.voices.presets import language_of

_CONTENT_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".txt": TEXT,
}
_SCRIPT_OF_PAGE: Final = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def add_player(routes: Routes) -> None:
    """Add the page's files, read once: `/` is index.html, the others are below `/player/`."""
    _add(routes, "/favicon.ico", lambda: Answer(HTTPStatus.NO_CONTENT))
    folder = resources.files("streamer.server") / "player"
    if not folder.is_dir():
        return
    files = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    headers = _page_headers(_SCRIPT_OF_PAGE.findall(files["index.html"]))
    for name, body in files.items():
        if content_type := _CONTENT_TYPES.get(Path(name).suffix):
            page = Answer(HTTPStatus.OK, body, content_type, headers)
            path = "/" if name == "index.html" else f"/player/{name}"
            _add(routes, path, lambda page=page: page)  # type: ignore[misc]


def _page_headers(scripts: list[bytes]) -> Fields:
    """Allow the page its own files, the scripts written into it and WebAssembly, and no other site to frame it."""
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'" for script in scripts]
    policy = (
        "default-src 'none'; connect-src 'self'; img-src 'self'; style-src 'self'; "
        f"script-src 'self' 'wasm-unsafe-eval' {' '.join(hashes)}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return (
        ("Referrer-Policy", "no-referrer"),
        ("Content-Security-Policy", policy),
    )


def add_probes(routes: Routes, service: Service, status: Status) -> None:
    """Add `/livez` and `/readyz`, which a full server answers too."""

    def probe(is_well: bool) -> Answer:
        status = HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE
        health = service.synthesizer.health()
        told = "ok" if is_well else health.reason or "not ready"
        if is_well and (workers := health.workers) is not None:
            told = f"ok: of {workers.num_all} workers {workers.num_answering} answer"
        return Answer(status, f"{told}\n".encode())

    _add(routes, "/livez", lambda: probe(service.synthesizer.health().alive), "probe")
    _add(routes, "/readyz", lambda: probe(status.is_ready), "probe")


def add_lists(routes: Routes, service: Service) -> None:
    """Add `/v1/voices` and `/v1/models`; the model must have been read."""
    access = list_access(service.config.server)
    _add(routes, "/v1/voices", lambda: _voices(service), access)
    _add(routes, "/v1/models", lambda: _models(service), access)


def list_access(config: ServerConfig) -> Access:
    """Return who may read the lists of models and voices."""
    return "key" if config.list_access == "key" else "public"


def _voices(service: Service) -> Answer:
    info = service.synthesizer.info
    default = service.default_voice
    voices = [
        {"name": name, "default": name == default, "language": language_of(name, info.languages)}
        for name in info.voices
    ]
    return json_answer(HTTPStatus.OK, {"voices": voices, "default": default})


def _models(service: Service) -> Answer:
    """Return the list of our clients and, as `data`, that of OpenAI's."""
    info = service.synthesizer.info
    as_openai = describe_model(info.name, service.created_s)
    model = {
        "id": info.name,
        "sample_rate": info.sample_rate_hz,
        "languages": list(info.languages),
        "tags": list(info.tags),
        "default_voice": info.default_voice,
        "max_text_tokens": info.max_text_tokens,
        "note": info.note,
        "chunk_schedule": info.chunk_schedule,
    }
    return json_answer(
        HTTPStatus.OK, {"object": "list", "data": [as_openai], "models": [model], "default": info.name}
    )


def _add(routes: Routes, path: str, answer: Callable[[], Answer], access: Access = "public") -> None:
    async def handle(exchange: Exchange) -> None:
        await exchange.answer(answer())

    routes.add("GET", path, handle, access=access)
