"""Realtime APIs as readers of text, OpenAI's and the text buffers of others: docs/integrations/realtime.md."""
