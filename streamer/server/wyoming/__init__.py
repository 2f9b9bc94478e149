"""Wyoming, the protocol of Home Assistant, over TCP: docs/integrations/home-assistant.md says what is supported."""
