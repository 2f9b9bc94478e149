"""The stages: the only place that knows how Bark turns text into codes and codes into audio."""
