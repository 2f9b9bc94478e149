"""The back ends: ways to reach an engine that speaks sentences, all of them behind the port `streamer.synthesis`."""
