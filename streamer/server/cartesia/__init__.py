"""Cartesia's text to speech, over WebSocket and HTTP: docs/integrations/cartesia.md says what of it is supported."""
