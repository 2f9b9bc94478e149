"""The native protocol, version 1: docs/protocol.md is its contract."""
