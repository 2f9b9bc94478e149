"""OpenAI's voice names always find a voice of the model, and the lists name what can be asked for."""

from __future__ import annotations

import json

import pytest

from streamer.errors import ConfigError, VoiceNotFoundError
from streamer.server.openai_names import NAMES, check_mapping, find_voice, read_mapping
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.openai.test_speech import asked
from tests.server.speaking import configured, running


def _found(
    voices: tuple[str, ...], languages: tuple[str, ...] = ("en",), default: str | None = None
) -> list[str]:
    info = FakeSynthesizer(voices=voices, languages=languages).info
    return [find_voice(name, {}, info, default or info.default_voice) for name in NAMES]


def test_the_names_are_spread_over_the_voices() -> None:
    """In a fixed order from the default voice on; `random`, which is another speaker in each sentence, is left out."""
    assert len(NAMES) == 13
    assert _found(("joe", "random")) == ["joe"] * 13
    assert _found(("joe", "ann", "random"), default="ann") == ["ann", "joe"] * 6 + ["ann"]
    many = tuple(f"v2/en_speaker_{number}" for number in range(20))
    assert _found(many) == list(many[:13])


def test_the_names_speak_the_default_voices_language() -> None:
    """A client that asks for `alloy` does not hear Chinese."""
    voices = ("v2/zh_speaker_0", "v2/en_speaker_0", "v2/de_speaker_0", "v2/en_speaker_1")
    assert set(_found(voices, ("en", "de", "zh"), "v2/en_speaker_1")) == {
        "v2/en_speaker_0",
        "v2/en_speaker_1",
    }


def test_a_voice_of_the_model_and_the_operators_choice_come_first() -> None:
    """In this order; a name that the operator left out is spread as before."""
    info = FakeSynthesizer(voices=("joe", "ann", "echo")).info
    mapping = read_mapping(("alloy=ann", " nova = ann ", "echo=joe"))
    assert [
        find_voice(name, mapping, info, "joe") for name in ("alloy", "nova", "echo", "ash", "ann", None)
    ] == [
        "ann",
        "ann",
        "echo",
        "ann",
        "ann",
        "joe",
    ]


@pytest.mark.parametrize("pair", ["alloy", "alloy=", "=joe", "joe=alloy", "Alloy=joe", "alloy:joe"])
def test_a_mapping_that_is_none_stops_the_start(pair: str) -> None:
    """The message names it."""
    with pytest.raises(ConfigError, match="openai_voices"):
        check_mapping(read_mapping((pair,)), ("joe", "alloy"))


@pytest.mark.parametrize("name", NAMES)
def test_a_name_whose_voice_is_gone_falls_back(name: str) -> None:
    """It is spread like the names that the operator left out, and counts again when the voice is back."""
    mapping = read_mapping([f"{name}=ann"])
    with pytest.raises(ConfigError, match="no voice is named 'ann'"):
        check_mapping(mapping, ("joe", "zoe"))
    without = FakeSynthesizer(voices=("joe", "zoe")).info
    assert find_voice(name, mapping, without, "joe") == find_voice(name, {}, without, "joe")
    assert find_voice(name, mapping, FakeSynthesizer(voices=("joe", "ann")).info, "joe") == "ann"


@pytest.mark.parametrize("name", ["Alloy", "nobody", "random"])
def test_an_unknown_voice_is_refused(name: str) -> None:
    """Rather than spoken by another."""
    with pytest.raises(VoiceNotFoundError):
        find_voice(name, {}, FakeSynthesizer().info, "tone")


async def test_the_chosen_voice_speaks() -> None:
    """By option, and by default."""
    config = configured(speech={"openai_voices": ("alloy=other",)})
    async with running(config) as server:
        for voice in ("alloy", "ballad", "tone"):
            assert (await asked(server, voice=voice, input="Hi."))[0] == 200
        assert [request.voice for request in server.synthesizer.requests] == ["other", "tone", "tone"]


async def test_an_option_that_names_no_voice_stops_the_start() -> None:
    """The operator learns of it before a client does."""
    with pytest.raises(ConfigError, match="nobody"):
        async with running(configured(speech={"openai_voices": ("alloy=nobody",)})):
            pass


async def test_lists_have_the_shapes_that_clients_read() -> None:
    """Voices have an `id` and a `name`; the aliases of the model are listed beside it."""
    async with running() as server:
        voices = json.loads((await server.get("/v1/audio/voices"))[2])
        assert voices == {"voices": [{"id": "tone", "name": "tone"}, {"id": "other", "name": "other"}]}
        models = json.loads((await server.get("/v1/audio/models/"))[2])["models"]
        assert [model["id"] for model in models] == ["fake", "tts-1", "tts-1-hd", "gpt-4o-mini-tts"]
