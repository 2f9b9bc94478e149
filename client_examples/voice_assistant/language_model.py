"""What the assistant answers: a few rules, or any OpenAI-compatible server; both write piece by piece."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator

History = list[dict[str, str]]
"""The conversation so far, in the messages of OpenAI's chat completions."""


async def from_rules(history: History) -> AsyncIterator[str]:
    """Yield an answer to the last question, word by word, as a language model writes it."""
    question = history[-1]["content"].strip()
    asked = question.lower()
    if "time" in asked:
        answer = time.strftime("It is %H:%M.")
    elif "story" in asked:
        answer = (
            "Once upon a time there was a small voice in a large machine. Every morning it read the news to "
            "the fans, and every evening the fans sang for it. One day somebody interrupted."
        )
    elif asked.startswith(("hi", "hello")):
        answer = "Hello! Ask me for the time, or for a story."
    else:
        answer = f"You said: {question} I know the time and a story."
    for word in answer.split():
        yield word + " "
        await asyncio.sleep(0.03)


async def from_model(history: History, url: str, model: str) -> AsyncIterator[str]:
    """Yield the answer of the server at `url` in the pieces in which it arrives."""
    try:
        from openai import AsyncOpenAI, OpenAIError
    except ImportError:
        raise RuntimeError("a language model needs openai: pip install openai") from None
    try:
        async with AsyncOpenAI(base_url=url, api_key=os.environ.get("OPENAI_API_KEY", "none")) as client:
            answer = await client.chat.completions.create(model=model, messages=history, stream=True)
            async for chunk in answer:
                if chunk.choices and (piece := chunk.choices[0].delta.content):
                    yield piece
    except OpenAIError as error:
        raise RuntimeError(f"the language model: {error}") from error
