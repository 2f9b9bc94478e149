"""The load test behind `streamer bench`: a client of the native protocol, and nothing of the server's code."""
