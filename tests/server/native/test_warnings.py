"""What a client is warned of."""

from __future__ import annotations

from tests.server.speaking import running


async def test_a_tag_the_model_does_not_know_is_a_warning() -> None:
    """It is told once, with the utterance's id, and the text is spoken all the same."""
    async with running() as server, server.client() as client:
        await client.say("speak", id="a", text="Well [laughs] yes. And [laughs] again.")
        assert (await client.until("done"))["reason"] == "completed"
        assert [(w["code"], w["param"], w["id"]) for w in client.messages("warning")] == [
            ("unsupported_tag", "[laughs]", "a")
        ]


async def test_words_of_a_language_the_model_does_not_speak_are_a_warning() -> None:
    """They are told once per utterance, by the language, and spoken all the same."""
    async with running() as server, server.client() as client:
        text = "Ich weiß nicht, ob das auch so ist. Aber wir werden es morgen sehen, wenn er da ist. "
        await client.say("speak", id="a", text=text * 2)
        assert (await client.until("done"))["reason"] == "completed"
        assert [(w["code"], w["param"], w["id"]) for w in client.messages("warning")] == [
            ("unsupported_language", "de", "a")
        ]


async def test_letters_the_model_does_not_read_are_a_warning() -> None:
    """A text in another script is told once, and the utterance ends as usual."""
    async with running() as server, server.client() as client:
        await client.say("speak", id="a", text="Добрый день. Ещё раз.")
        assert (await client.until("done"))["reason"] == "completed"
        assert [(w["code"], w["param"]) for w in client.messages("warning")] == [
            ("unsupported_language", "CYRILLIC")
        ]
