"""Back ends: the ways to reach an engine that speaks sentences, all behind the port `streamer.synthesis`."""
