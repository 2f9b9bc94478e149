"""The engine: slots, a scheduler and the one thread that steps the model's stages; it knows no model."""
