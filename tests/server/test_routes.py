"""What is answered beside speech: the page's files, with headers that keep foreign scripts out, probes and lists."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import pytest

from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import configured, running


async def test_the_player_is_served_as_it_is_packaged() -> None:
    """`/` is the page, each of its files has an address and a type, and nothing may frame it."""
    folder = resources.files("streamer.server") / "player"
    async with running() as server:
        for file in folder.iterdir():
            if file.name.rpartition(".")[2] in ("js", "css"):
                status, head, body = await server.get(f"/player/{file.name}?version=1")
                assert status == 200 and body == file.read_bytes()
                assert b"frame-ancestors 'none'" in head
        assert (await server.get("/"))[2] == (folder / "index.html").read_bytes()


async def test_probes_and_lists_are_answered() -> None:
    """They need no key, and HEAD is answered without a body."""
    async with running() as server:
        assert (await server.get("/livez"))[0] == 200
        assert (await server.get("/readyz"))[0] == 200
        voices = json.loads((await server.get("/v1/voices"))[2])
        assert voices == {
            "voices": [
                {"name": "tone", "default": True, "language": "en"},
                {"name": "other", "default": False, "language": "en"},
            ],
            "default": "tone",
        }
        listed = json.loads((await server.get("/v1/models"))[2])
        assert listed["default"] == "fake" and listed["models"][0]["chunk_schedule"] is None
        status, _, body = await server.get("/metrics")
        assert status == 200 and b"tts_connections" in body
        assert (await server.get("/v1/stream"))[0] == 426
        for path in ("/nothing", "/player/../app.py", "/player/%2e%2e/app.py", "//etc/passwd", "/player/"):
            assert (await server.get(path))[0] == 404


async def test_models_are_listed_for_openais_clients_too() -> None:
    """`data` holds what their library reads, beside what ours do."""
    async with running() as server:
        listed = json.loads((await server.get("/v1/models"))[2])
    (model,) = listed["data"]
    assert model.pop("created") > 1_700_000_000
    assert model == {"id": "fake", "object": "model", "owned_by": "streamer"}
    assert listed["object"] == "list" and listed["models"][0]["id"] == "fake"


@pytest.mark.parametrize("path", ["/v1/voices", "/v1/models", "/v1/audio/voices", "/v1/audio/models"])
@pytest.mark.parametrize(("access", "status"), [("public", 200), ("key", 401)])
async def test_the_operator_says_who_may_read_lists(
    path: str, access: str, status: int, tmp_path: Path
) -> None:
    """All of them need a key, or none does."""
    keys = tmp_path / "keys"
    keys.write_text("one\n")
    async with running(configured(server={"api_keys_file": keys, "list_access": access})) as server:
        assert (await server.get(path))[0] == status
        request = f"GET {path} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer one\r\n\r\n"
        assert (await server.http(request.encode()))[0] == 200


async def test_voices_are_listed_with_the_language_their_names_tell() -> None:
    """A voice's language is null if the model has several and the voice's name begins with none."""
    synthesizer = FakeSynthesizer(languages=("en", "de"), voices=("announcer", "v2/de_speaker_3", "marie"))
    async with running(synthesizer=synthesizer) as server:
        listed = json.loads((await server.get("/v1/voices"))[2])["voices"]
    assert [(voice["name"], voice["language"]) for voice in listed] == [
        ("announcer", "en"),
        ("v2/de_speaker_3", "de"),
        ("marie", None),
    ]


async def test_no_client_makes_new_series() -> None:
    """Paths, types, voices and ids of any kind leave the number of series as it was."""
    async with running() as server:

        async def ask(number: int) -> None:
            await server.get(f"/path{number}")
            async with server.client(f"?voice=v{number}&unknown{number}=1") as client:
                await client.say(f"type{number}")
                await client.say("speak", id=f"id{number}", text="Hi there.", voice=f"voice{number}")
                await client.pong()

        await ask(0)
        before = server.server.metrics.render().count(b"\n")
        for number in range(1, 20):
            await ask(number)
        assert server.server.metrics.render().count(b"\n") == before
