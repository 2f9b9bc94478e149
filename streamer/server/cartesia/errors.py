"""Cartesia's errors, which have another shape in each version of its API: over HTTP, in messages and in events."""

from __future__ import annotations

import json
import secrets
from http import HTTPStatus
from typing import Any, Final

from streamer.errors import OverloadedError, RateLimitedError, StreamerError, VoiceNotFoundError
from streamer.server.cartesia.version import read_version
from streamer.server.http import TEXT, Answer, Request, error_answer, json_answer

_TOO_MUCH: Final = "concurrency_limited"
"""Cartesia's code where our clients are told `overloaded` or `rate_limited`."""


def shape_error(request: Request, answer: Answer) -> Answer:
    """Return an error's answer as Cartesia's clients read it."""
    error = json.loads(answer.body)["error"]
    code, status = _renamed(error["code"], answer.status)
    if not read_version(request.query, request.headers).has_structured_errors:
        return Answer(status, f"{_title(code)}: {error['message']}".encode(), TEXT, answer.headers)
    request_id = secrets.token_hex(8)
    shaped = _fields(code, error["message"], request_id)
    return json_answer(status, shaped, (*answer.headers, ("X-Request-Id", request_id)))


def error_message(
    error: StreamerError, request_id: str, *, is_structured: bool = True, **names: Any
) -> dict[str, Any]:
    """Return the message or event that reports an error and ends what the `names` name."""
    code, status = _renamed(error.code, error_answer(error).status)
    fields = {"error": f"{_title(code)}: {error.message}"}
    if is_structured:
        fields = _fields(code, error.message, request_id)
    return {"type": "error", "done": True, "status_code": status.value, **fields, **names}


def _renamed(code: str, status: HTTPStatus) -> tuple[str, HTTPStatus]:
    """Return Cartesia's code and status for ours; the other codes are the server's own."""
    if code in (OverloadedError.code, RateLimitedError.code):
        return _TOO_MUCH, HTTPStatus.TOO_MANY_REQUESTS
    return code, HTTPStatus.NOT_FOUND if code == VoiceNotFoundError.code else status


def _fields(code: str, message: str, request_id: str) -> dict[str, str]:
    return {"error_code": code, "title": _title(code), "message": message, "request_id": request_id}


def _title(code: str) -> str:
    return code.replace("_", " ").capitalize()
