"""OpenAI's library asks for single models: those of the list, and those that this server stands in for, are there."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from streamer.synthesis import ModelInfo
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import configured, running


class _Bark(FakeSynthesizer):
    """Has a model whose name has a slash, as on Hugging Face."""

    @property
    def info(self) -> ModelInfo:
        return ModelInfo("suno/bark", 24_000, "tone", ("tone",), ("en",), (), 200)


@pytest.mark.parametrize(
    "name",
    ["suno/bark", "tts-1", "tts-1-hd", "gpt-4o-mini-tts", "gpt-4o-mini-tts-2025-12-15", "gpt-realtime"],
)
@pytest.mark.parametrize("safe", ["/", ""])
async def test_a_model_is_described_as_in_the_list(name: str, safe: str) -> None:
    """Under the name that it was asked for by, whether or not the slash is escaped."""
    async with running(synthesizer=_Bark()) as server:
        (listed,) = json.loads((await server.get("/v1/models"))[2])["data"]
        status, _, body = await server.get(f"/v1/models/{quote(name, safe=safe)}")
    assert status == 200 and json.loads(body) == listed | {"id": name}


@pytest.mark.parametrize(
    "name", ["nobody", "whisper-1", "tts-10", "bark", "suno", "suno/bark/small", "..", "%00"]
)
async def test_an_unknown_model_is_404_in_openais_shape(name: str) -> None:
    """OpenAI's library makes its `NotFoundError` of it, with the code and the parameter."""
    async with running(synthesizer=_Bark()) as server:
        status, _, body = await server.get(f"/v1/models/{name}")
    error = json.loads(body)["error"]
    assert status == 404
    assert {**error, "message": ""} == {
        "message": "",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }
    assert "suno/bark" in error["message"]


async def test_it_needs_a_key_where_the_lists_do(tmp_path: Path) -> None:
    """What is wrong with the key is told in OpenAI's shape, too."""
    keys = tmp_path / "keys"
    keys.write_text("one\n")
    async with running(configured(server={"api_keys_file": keys, "list_access": "key"})) as server:
        status, _, body = await server.get("/v1/models/tts-1")
        assert status == 401 and json.loads(body)["error"]["code"] == "invalid_api_key"
        request = b"GET /v1/models/tts-1 HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer one\r\n\r\n"
        assert (await server.http(request))[0] == 200
        assert (await server.http(request.replace(b"GET", b"DELETE")))[0] == 405
