"""What the operator has installed, models and voices, by name: found on a hub, fetched, checked, kept."""
