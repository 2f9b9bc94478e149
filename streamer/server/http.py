"""The plain HTTP on the server's port: the player, probes, figures and lists; every answer is one small body.

`listener` hands requests that are not WebSocket handshakes to `Routes.respond`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from importlib import resources
from typing import Final

from websockets.datastructures import Headers
from websockets.http11 import Response

STREAM_PATH: Final = "/v1/stream"
_JSON: Final = "application/json; charset=utf-8"
_TEXT: Final = "text/plain; charset=utf-8"
_CONTENT_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".wasm": "application/wasm",
}
_PAGE_HEADERS: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    (
        "Content-Security-Policy",
        "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data: blob:; "
        "media-src 'self' blob:; style-src 'self' 'unsafe-inline'; "
        "script-src 'self' 'wasm-unsafe-eval' blob:; worker-src 'self' blob:; frame-ancestors 'none'",
    ),
)
Answer = Callable[[], Response]


def response(
    status: HTTPStatus,
    body: bytes,
    content_type: str = _TEXT,
    headers: tuple[tuple[str, str], ...] = (),
) -> Response:
    """A complete answer after which the connection closes."""
    fields = [
        ("Date", formatdate(usegmt=True)),
        ("Connection", "close"),
        ("Content-Length", str(len(body))),
        ("Content-Type", content_type),
        ("Cache-Control", "no-cache"),
        *headers,
    ]
    return Response(status.value, status.phrase, Headers(fields), body)


def json_response(status: HTTPStatus, value: object, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """`value` as a JSON body."""
    return response(status, json.dumps(value).encode(), _JSON, headers)


def refusal(status: HTTPStatus, code: str, message: str, retry_after_s: float | None = None) -> Response:
    """An error with the stable code that the WebSocket's errors use too."""
    headers = (("Retry-After", str(max(1, round(retry_after_s)))),) if retry_after_s is not None else ()
    return json_response(status, {"error": {"code": code, "message": message}}, headers)


class Routes:
    """A fixed table from method and path to an answer. Nothing a client sends ever becomes a file name."""

    def __init__(self) -> None:
        self._answers: dict[str, Answer] = {}
        for path, answer in _player_files().items():
            self.get(path, answer)

    def get(self, path: str, answer: Answer) -> None:
        """Answer GET and HEAD of `path`."""
        self._answers[path] = answer

    def respond(self, method: str, path: str) -> Response:
        """The answer to a request, without its body for HEAD; 404, 405 or 426 where there is none."""
        answered = self._answer(method, path.partition("?")[0])
        if method == "HEAD":
            answered.body = b""
        return answered

    def _answer(self, method: str, path: str) -> Response:
        if path == STREAM_PATH:
            message = "this address speaks WebSocket; connect with the subprotocol streamer.v1"
            return json_response(
                HTTPStatus.UPGRADE_REQUIRED if method in ("GET", "HEAD") else HTTPStatus.METHOD_NOT_ALLOWED,
                {"error": {"code": "upgrade_required", "message": message}},
                (("Upgrade", "websocket"), ("Allow", "GET")),
            )
        answer = self._answers.get(path)
        if answer is None:
            return refusal(HTTPStatus.NOT_FOUND, "not_found", "there is nothing at this address")
        if method not in ("GET", "HEAD"):
            return json_response(
                HTTPStatus.METHOD_NOT_ALLOWED,
                {"error": {"code": "method_not_allowed", "message": f"only GET and HEAD, not {method[:16]}"}},
                (("Allow", "GET, HEAD"),),
            )
        return answer()


def _player_files() -> dict[str, Answer]:
    """The page's files, read once: `/` is index.html, the others are under `/player/`."""
    answers: dict[str, Answer] = {"/favicon.ico": lambda: response(HTTPStatus.NO_CONTENT, b"")}
    folder = resources.files("streamer.server") / "player"
    if not folder.is_dir():
        return answers
    for file in folder.iterdir():
        suffix = "." + file.name.rpartition(".")[2]
        if file.is_file() and suffix in _CONTENT_TYPES:
            answers[f"/player/{file.name}"] = _page(file.read_bytes(), _CONTENT_TYPES[suffix])
    if "/player/index.html" in answers:
        answers["/"] = answers["/player/index.html"]
    return answers


def _page(body: bytes, content_type: str) -> Answer:
    return lambda: response(HTTPStatus.OK, body, content_type, _PAGE_HEADERS)
