"""How the built-in voice was made, from data to card; imports streamer, never the reverse."""
