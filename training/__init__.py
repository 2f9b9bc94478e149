"""The programs that made the built-in voice, from data to card; they import streamer, never the reverse."""
