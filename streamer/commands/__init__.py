"""The command `streamer`: flags, output for people, and exit statuses; above everything else in the package."""
