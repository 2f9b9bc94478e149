"""What stands in docs/integrations/ does what the pages say, with the programs that they are about."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from tests.clients.driving import drive
from tests.clients.venvs import folder_of
from tests.docs.test_integrations import ADDRESS, BLOCKS, VOICES, Block
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import Running, configured, running

TEXT = "How long this is, is how long it has to be."
TEXT_S = 0.02 * len(TEXT)
SENTENCE_PAUSE_S = 0.25


def block_of(page: str, language: str) -> Block:
    """Return the only block of a page in this language."""
    (block,) = (block for block in BLOCKS if (block.page, block.language) == (page, language))
    return block


def services(environment: str) -> list[object]:
    """Return the snippets that make a service, `tts`, in an environment."""
    made = [block for block in BLOCKS if block.environment == environment and "tts = " in block.text]
    assert made
    return [pytest.param(block, id=f"{block.page}:{block.line}") for block in made]


@contextlib.asynccontextmanager
async def speaking() -> AsyncIterator[tuple[Running, str]]:
    """Run a server with the voices of the pages; yields it with its address.

    It waits longer for text than usual, because a busy machine may let a client pause in the middle of a sentence.
    """
    config = configured(speech={"max_buffer_ms": 10_000})
    async with running(config, FakeSynthesizer(voices=VOICES)) as server:
        yield server, f"127.0.0.1:{server.server.port}"


@pytest.mark.clients
@pytest.mark.parametrize("rate_hz", [8000, 16_000, 24_000])
@pytest.mark.parametrize("block", services("pipecat"))
async def test_pipecat_at_every_rate(block: Block, rate_hz: int) -> None:
    """The sound is as long as its text in a pipeline of any rate, by the rate that is written on its frames."""
    async with speaking() as (server, address):
        snippet = block.text.replace(ADDRESS, address)
        report = await drive(
            "pipecat_page", "pipecat", server.server, snippet=snippet, rate_hz=rate_hz, text=TEXT
        )
    # If the end of the turn comes after the sentence was flushed, the pause to a next one has been sent.
    lengths_s = [TEXT_S, TEXT_S + SENTENCE_PAUSE_S]
    assert min(abs(report["length_s"] - length_s) for length_s in lengths_s) < 0.04


@pytest.mark.clients
@pytest.mark.parametrize("block", services("livekit"))
async def test_livekit(block: Block) -> None:
    """The sound is as long as its text."""
    async with speaking() as (server, address):
        snippet = block.text.replace(ADDRESS, address)
        report = await drive("livekit_page", "livekit", server.server, snippet=snippet, text=TEXT)
    assert report["length_s"] == pytest.approx(TEXT_S, abs=0.04)


@pytest.mark.clients
async def test_litellm_in_front(tmp_path: Path) -> None:
    """The proxy with the page's configuration passes sound and errors on, and asks for its own key."""
    block = block_of("litellm.md", "yaml")
    key = {"Authorization": "Bearer sk-0123456789abcdef0123456789abcdef"}
    async with speaking() as (server, address), aiohttp.ClientSession() as session:
        (tmp_path / "config.yaml").write_text(block.text.replace(ADDRESS, address))
        async with litellm_proxy(tmp_path, key["Authorization"].split()[1]) as proxy:
            url, body = f"{proxy}/v1/audio/speech", {"model": "tts-1", "voice": "alloy", "input": TEXT}
            async with session.post(url, json=body | {"response_format": "pcm"}, headers=key) as answer:
                assert answer.status == 200
                assert len(await answer.read()) / 48_000 == pytest.approx(TEXT_S, abs=0.04)
            assert server.synthesizer.requests[-1].voice == "joe"
            async with session.post(url, json=body | {"voice": "nobody"}, headers=key) as answer:
                assert answer.status == 400
                assert "nobody" in (await answer.json())["error"]["message"]
            async with session.post(url, json=body) as answer:
                assert answer.status == 401


@contextlib.asynccontextmanager
async def litellm_proxy(folder: Path, key: str) -> AsyncIterator[str]:
    """Run LiteLLM's proxy with the `config.yaml` of a folder; yields its address when it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        folder_of("litellm") / "bin" / "litellm",
        *("--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port)),
        cwd=folder,
        env={"HOME": str(folder), "LITELLM_MASTER_KEY": key, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        until_s = time.monotonic() + 120  # it imports for half a minute on a busy machine
        async with aiohttp.ClientSession() as session:
            while time.monotonic() < until_s and process.returncode is None:
                with contextlib.suppress(aiohttp.ClientConnectionError):
                    async with session.get(f"http://127.0.0.1:{port}/health/liveliness") as answer:
                        if answer.ok:
                            break
                await asyncio.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def test_open_webui_has_these_settings() -> None:
    """The container's variables lead to the lists and to the speech, as Open WebUI joins them."""
    block = block_of("open-webui.md", "yaml")
    settings: dict[str, str] = yaml.safe_load(block.text)["services"]["open-webui"]["environment"]
    async with speaking() as (server, address), aiohttp.ClientSession() as session:
        base = settings["AUDIO_TTS_OPENAI_API_BASE_URL"].replace("host.docker.internal:8765", address)
        async with session.get(f"{base}/audio/models") as answer:
            assert settings["AUDIO_TTS_MODEL"] in [model["id"] for model in (await answer.json())["models"]]
        payload = {
            "input": TEXT,
            "model": settings["AUDIO_TTS_MODEL"],
            "voice": settings["AUDIO_TTS_VOICE"],
        }
        headers = {"Authorization": f"Bearer {settings['AUDIO_TTS_OPENAI_API_KEY']}"}
        async with session.post(f"{base}/audio/speech", json=payload, headers=headers) as answer:
            assert (answer.status, answer.content_type) == (200, "audio/mpeg")
        assert server.synthesizer.requests[-1].text == TEXT
    assert settings["AUDIO_TTS_ENGINE"] == "openai" and settings["AUDIO_TTS_SPLIT_ON"] == "punctuation"


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
async def test_n8n_sends_this_request() -> None:
    """The node's expression, evaluated as n8n does, is a body that is spoken, whatever signs the text has."""
    block = block_of("http.md", "json")
    (node,) = json.loads(block.text)["nodes"]
    assert node["type"] == "n8n-nodes-base.httpRequest"
    parameters: dict[str, Any] = node["parameters"]
    text = 'He said "yes", twice.'
    async with speaking() as (server, address), aiohttp.ClientSession() as session:
        url = parameters["url"].replace(ADDRESS, address)
        body = await evaluated(parameters["jsonBody"], {"text": text})
        headers = {"Content-Type": "application/json"}
        async with session.request(parameters["method"], url, data=body, headers=headers) as answer:
            assert (answer.status, answer.content_type) == (200, "audio/mpeg")
        assert server.synthesizer.requests[-1].text == text


async def evaluated(expression: str, item: dict[str, str]) -> bytes:
    """Return the value of an n8n expression, `={{ … }}`, for an input item."""
    code = re.fullmatch(r"=\{\{(.*)\}\}", expression)
    assert code is not None
    script = f"const $json = {json.dumps(item)}; process.stdout.write({code[1]})"
    process = await asyncio.create_subprocess_exec("node", "-e", script, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output
