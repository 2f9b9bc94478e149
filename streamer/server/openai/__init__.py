"""OpenAI's speech API over HTTP: docs/integrations/openai.md says what of it is supported."""
