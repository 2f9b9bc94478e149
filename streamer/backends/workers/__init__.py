"""A front end over engines on other machines: each runs behind a WebSocket, and sound travels over nothing else."""
