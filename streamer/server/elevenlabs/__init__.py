"""ElevenLabs' speech API over WebSocket and HTTP: docs/integrations/elevenlabs.md says what of it is supported."""
