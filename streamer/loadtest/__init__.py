"""The open-loop load test behind `streamer bench`."""
