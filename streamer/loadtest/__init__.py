"""The open-loop load test behind `streamer bench` and the benchmarks; it knows a server by its protocol alone."""
