"""Deepgram's text to speech, over WebSocket and HTTP: docs/integrations/deepgram.md says what of it is supported."""
