"""From the text a client writes to sentences the synthesizer can take, and from those to a model's tokens."""
