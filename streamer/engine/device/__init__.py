"""What the stages need on a device: sampling, noise, transfers and recorded graphs; the engine's loop needs none."""
