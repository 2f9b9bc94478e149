"""The engine: slots, a scheduler, and one thread that steps the stages of a model it knows nothing about."""
