"""OpenAI's speech API over HTTP: docs/openai.md says what of it is supported."""
