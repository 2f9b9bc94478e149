"""The network side: the native protocol over WebSocket, and a little HTTP on the same port."""
