"""What the stages need of a device: sampling, noise, transfers and recorded graphs."""
